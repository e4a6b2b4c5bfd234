"""One prompt from the words of the regions."""

from regrain.editing.request.compose import compose
from regrain.editing.request.region import Region


def test_a_region_that_says_not_what_it_is_is_appended_and_nothing_is_missed():
    region = Region(name="left", label=1, prompt="a fox")
    composed = compose("a cat walks", "", (region,))
    assert (composed.text, composed.missing) == ("a cat walks, a fox", {})
