"""One prompt from the words of the regions."""

from regrain.editing.request.compose import compose, describe
from regrain.editing.request.region import Region


def test_a_clip_that_is_not_described_is_described_by_its_regions():
    regions = [
        Region("left", 1, prompt="a fox", source="a cat"),
        Region("right", 2, prompt="a robot"),
        Region("rest", 3),
    ]
    assert describe("", regions) == "a cat and a robot"
    assert describe("a cat runs", regions) == "a cat runs"
    made = compose("", "", regions)
    assert made.text == "a fox and a robot"
    assert [made.text[slice(*made.spans[label])] for label in (1, 2)] == [
        "a fox",
        "a robot",
    ]
    assert made.spans[3] is None


def test_a_region_that_says_not_what_it_is_is_appended_and_nothing_is_missed():
    region = Region(name="left", label=1, prompt="a fox")
    composed = compose("a cat walks", "", (region,))
    assert (composed.text, composed.missing) == ("a cat walks, a fox", {})
