"""Which tokens a phrase became, with OpenAI's CLIP vocabulary, and phrases spliced into
a sentence."""

import pytest
import torch

from regrain.editing.diffusion.text import spans, splice

IRON = "Iron Man and Spiderman are jogging under cherry blossoms"


@pytest.mark.parametrize(
    ("prompt", "phrase", "expected"),
    [
        (IRON, "Iron Man", (1, 2)),
        (IRON, "Spiderman", (4,)),
        (IRON, "cherry blossoms", (8, 9)),
        (
            "An Iron Man and a Stormtrooper on moss covered stone bridge",
            "An Iron Man",
            (1, 2, 3),
        ),
        ("a dog is eating a watermelon", "watermelon", (6,)),
        ("a Shiba-Inu is eating a watermelon", "Shiba-Inu", (2, 3, 4, 5, 6)),
        ("a rabbit,  eating: 12 melons", "eating", (4,)),
        ("a rabbit,  eating: 12 melons", "12", (6, 7)),
        ("Iron  Man\nand a café", "café", (5,)),
    ],
)
def test_spans(tiny, prompt, phrase, expected):
    start = prompt.index(phrase)
    assert spans(tiny.embed([prompt]), start, start + len(phrase)) == expected


def test_a_partly_covered_token_counts_and_spaces_are_none_in_one_prompt(tiny):
    text = tiny.embed(["a cat", IRON])
    given = [(2, 6), (4, 5), (5, 5), (len(IRON), len(IRON) + 9)]
    assert [spans(text[1], *span) for span in given] == [(1, 2), (), (), ()]
    assert spans(text[1], 0, 4) == spans(text[-1], 0, 4) == (1,)


def test_prompts_are_padded_to_the_limit(tiny):
    text = tiny.embed(["", "a cat"])
    assert text.vectors.shape == (2, 77, 32)
    assert text.lengths == (2, 4)
    assert text.prompts == ("", "a cat")
    assert text.offsets[1][:5] == ((0, 0), (0, 1), (2, 5), (0, 0), (0, 0))


def test_splice_of_the_whole_prompt_is_the_prompt(tiny):
    text = tiny.embed(["a cat"])
    assert torch.equal(splice(text, {(1, 2): text}).vectors, text.vectors)
    assert torch.equal(splice(text, {}).vectors, text.vectors)
