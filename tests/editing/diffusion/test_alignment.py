"""Which tokens of one prompt stand for which of another, with OpenAI's CLIP
vocabulary."""

import pytest
import torch

from regrain.editing.diffusion.text import (
    _word_tokens,
    find_words,
    is_swap,
    new_words,
    refine_map,
    replace_map,
    words,
)

DOG, SHIBA = "a dog is eating a watermelon", "a Shiba-Inu is eating a watermelon"
RABBIT = "a rabbit is eating a watermelon"
JEEP = "a silver jeep driving down a curvy road in the countryside"


def entries(mapper, rows):
    """Column and weight of what is not zero in each of `rows`."""
    return {
        row: {int(c): round(float(mapper[row, c]), 6) for c in mapper[row].nonzero()}
        for row in rows
    }


def test_words_are_compared_without_case_and_punctuation():
    assert [w.text for w in words("  A Spider-Man  rides, down the road... (don't)")] == [
        "a", "spider-man", "rides", "down", "the", "road", "don't",
    ]  # fmt: skip
    joined = words("cat,dog.Fox the girl’s hot‑dog at f/1.8 -- dogs’ 1,000")
    assert [word.text for word in joined] == [
        "cat", "dog", "fox", "the", "girl's", "hot-dog", "at", "f/1.8", "dogs", "1,000",
    ]  # fmt: skip
    assert new_words(f"{JEEP},", f"watercolor Painting of {JEEP}.") == (
        (),
        ("watercolor", "painting"),
    )
    assert new_words(RABBIT, "a rabbit is eating an orange") == (
        ("watermelon",),
        ("orange",),
    )
    assert new_words("a cat", "the cat") == (("a",), ("the",))
    assert new_words(DOG, DOG) == ((), ())


@pytest.mark.parametrize(
    ("target", "swap"),
    [(RABBIT, True), ("a cat is eating an orange", True), ("a watermelon is eating a dog", True),
     ("a big dog is eating watermelon", False), (f"{DOG} there", False)],
)  # fmt: skip
def test_words_are_swapped_in_their_places(target, swap):
    """As many words are not enough: one that is inserted and another that is lost move
    those between."""
    assert is_swap(DOG, target) == swap


def test_find_words(tiny):
    phrases = {"Dog": (2,), "a": (1, 5), "eating a": (4, 5), "watermelon.": (6,)}
    assert {
        phrase: find_words(tiny.embed([DOG]), phrase) for phrase in phrases
    } == phrases


def test_replace_as_published_and_mended(tiny):
    original, fixed = (
        replace_map(tiny.embed([DOG]), tiny.embed([SHIBA]), v)
        for v in ("original", "fixed")
    )
    spread = {0: {0: 1}, 1: {1: 1}, 2: dict.fromkeys(range(2, 7), 0.2)}
    assert entries(original, range(3)) == entries(fixed, range(3)) == spread
    nothing, same = (
        dict.fromkeys(range(3, 7), {}),
        {row: {row: 1} for row in range(7, 77)},
    )
    assert entries(original, range(3, 77)) == nothing | same
    assert entries(fixed, range(3, 73)) == {row: {row + 4: 1} for row in range(3, 73)}
    # Many tokens replaced by one: its column gathers all five; what follows is shifted
    # and counted twice.
    original = replace_map(tiny.embed([SHIBA]), tiny.embed([DOG]), "original")
    assert float(original[:, 2].sum()) == 5
    assert [float(row.sum()) for row in original[3:7]] == [2] * 4
    # Up to the last changed word, what follows one is shifted; after it, no more.
    both = tiny.embed([SHIBA.replace("watermelon", "orange")])
    original = replace_map(tiny.embed([DOG]), both, "original")
    shifted = {row: {row + 4: 1} for row in range(3, 7)}
    assert entries(original, range(3, 6)).items() <= shifted.items()


def test_replacing_loses_and_doubles_no_attention(tiny):
    pairs = [(SHIBA, DOG), (DOG, SHIBA), (f"{JEEP},", JEEP), (JEEP, f"{JEEP}, ...")]
    for source, target in [*pairs, ("a dog, a cat!", "A cat; a Shiba-Inu")]:
        mapper = replace_map(tiny.embed([source]), tiny.embed([target]))
        torch.testing.assert_close(mapper.sum(1), torch.ones(77))


def test_a_comma_makes_no_edited_word(tiny):
    """The published code compares "countryside," with "countryside" and edits it; a
    source comma is gone."""
    source, target = tiny.embed([f"{JEEP},"]), tiny.embed([JEEP])
    mapper = replace_map(source, target)
    last = source.lengths[0] - 3
    # and the comma's share goes to the word it follows
    same = {i: {i: 1} for i in range(last + 1)}
    assert entries(mapper, range(last + 3)) == same | {
        last + 1: {last: 1},
        last + 2: {last + 1: 1},
    }


@pytest.mark.parametrize(
    ("source", "target", "start"),
    [
        ("a black swan", "a blackswan on a lake", [0, 1, -1, 3, -1, -1, -1, 4]),
        ("a blackswan on a lake", "a black swan", [0, 1, -1, 3, 7]),
        ("an iron ship", "an ironclad ship", [0, 1, -1, -1, 3, 4]),
        ("black beside a blackswan", "black", [0, 1, 6]),
        ("a jeep", "a jeep jeep", [0, 1, 2, -1, 3]),  # of equals the gap comes late
        ("a cat dog", "a dog cat", [0, 1, 3, -1, 4]),
        ("A Black SWAN, on ice", "a black swan on ICE", [0, 1, 2, 3, 5, 6, 7]),
        (RABBIT, "a rabbit is eating an orange", [0, 1, 2, 3, 4, -1, -1, 7]),
        (
            "a man is surfing",
            "a boy is surfing in the desert",
            [0, 1, -1, 3, 4, -1, -1, -1, 5],
        ),
        (JEEP, f"watercolor painting of {JEEP}", [0, -1, -1, -1, *range(1, 13)]),
    ],
)
@pytest.mark.parametrize("variant", ["fixed", "original"])
def test_refine_compares_tokens_of_the_vocabulary(tiny, source, target, start, variant):
    """`black` that ends a word and `black` that begins one have the same letters and
    different ids."""
    source, target = tiny.embed([source]), tiny.embed([target])
    indices, aligned = refine_map(source, target, variant)
    assert indices[: len(start)].tolist() == start
    assert aligned.tolist() == [float(i >= 0) for i in indices]
    # As published, padding stands for what is at the same place in the source.
    first = len(start) if variant == "original" else source.lengths[0]
    pads = torch.arange(77 - len(start)) + first
    assert torch.equal(indices[len(start) :], pads.clamp(max=76))


@pytest.mark.parametrize(
    ("variant", "prompt", "expected"),
    [
        # shifted
        ("original", "A Spider-Man  rides a wooden", {"wooden": (), "rides": (6, 7)}),
        ("fixed", "A Spider-Man  rides a wooden", {"wooden": (7,), "rides": (5,)}),
        ("original", f"{JEEP},", {"countryside": None}),  # hidden by the comma
    ],
)
def test_words_after_double_spaces_and_before_commas(tiny, variant, prompt, expected):
    by_word = dict(_word_tokens(tiny.embed([prompt]), variant))
    assert {word: by_word.get(word) for word in expected} == expected
