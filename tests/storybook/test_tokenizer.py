"""Every word of the world is one token, and phrases keep their character offsets."""

from storybook.tokenizer import MAX_TOKENS, build
from storybook.world import sample_scene, vocabulary


def test_every_word_is_one_token_and_captions_fit_and_keep_offsets(tmp_path):
    tokenizer = build(vocabulary(), tmp_path)
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word
    for seed in range(50):
        for actors in (1, 2, 3):
            caption = sample_scene(seed, actors=actors).caption
            tokens = tokenizer(caption, return_offsets_mapping=True)
            assert len(tokens.input_ids) == len(caption.split()) + 2 <= MAX_TOKENS
            spans = [caption[a:b].strip() for a, b in tokens.offset_mapping[1:-1]]
            assert spans == caption.split()
