"""Who finds and follows the masks of a page: what is at hand, what is usual, what it costs."""

from __future__ import annotations

from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.finders import finders, usual
from regrain.ui.session.layers import FINDERS


def title(name: str) -> str:
    """What people call who found a mask; empty for nobody."""
    return FINDERS.get(name) or title_of(name)


def usual_finder(drawn: bool, fallback: str) -> str:
    """Who finds masks on a clip unless a region chooses another: on real ones a published SAM, or cuts."""
    return fallback if drawn else usual(drawn, lambda one: "points" in one.takes).name


def finder_by_words(drawn: bool) -> str | None:
    """Who finds things by words on a clip: a SAM 3 on real ones; None where nobody at hand can."""
    if drawn or not any("words" in one.takes for one in finders().values()):
        return None
    return usual(drawn, lambda one: "words" in one.takes).name
