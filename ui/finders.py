"""Who finds and follows the masks of a page: what is at hand, what is usual, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from editing.errors import RequestError, suggest
from masks.checkpoints import title_of
from masks.finders import CUTS, Finder, finders, usual
from ui.layers import FINDERS

if TYPE_CHECKING:
    from ui.document import Document

_HINTS = {
    "sam": "Find masks with the small built-in SAM, which knows drawn things best",
    CUTS: "Find masks by colour, place and motion, without a network; made for real clips",
    "grabcut": "Find masks by colour (GrabCut), from clicks and strokes; use it where SAM fails",
}


def title(name: str) -> str:
    """What people call who found a mask; empty for nobody."""
    return FINDERS.get(name) or title_of(name)


def finders_at_hand(document: Document) -> dict[str, Finder]:
    """Who can be asked for masks on a page, by name; published ones first."""
    able = [one for one in finders().values() if "points" in one.takes and not one.missing]
    able = [one for one in able if one.name != "sam" or document.fallback == "sam"]
    return {one.name: one for one in sorted(able, key=lambda one: one.checkpoint is None)}


def usual_finder(drawn: bool, fallback: str) -> str:
    """Who finds masks on a clip unless a region chooses another: on real ones a published SAM, or cuts."""
    return fallback if drawn else usual(drawn, lambda one: "points" in one.takes).name


def finder_by_words(drawn: bool) -> str | None:
    """Who finds things by words on a clip: a SAM 3 on real ones; None where nobody at hand can."""
    if drawn or not any("words" in one.takes for one in finders().values()):
        return None
    return usual(drawn, lambda one: "words" in one.takes).name


def choose_tracker(document: Document, name: object) -> str:
    """Choose who follows the masks of a page; what to say of it.

    Raises:
        RequestError: There is no such tracker here.
    """
    able = {one.name: one for one in finders().values() if one.follows and not one.missing}
    if not isinstance(name, str) or name not in able:
        raise RequestError("tracker", f"{str(name)[:60]!r} was not found. {suggest(str(name)[:60], able)}")
    document.tracker = name
    said = able[name].cost()
    return f"{able[name].title} takes {said}." if said else ""


def finders_view(document: Document) -> dict[str, Any]:
    """The choices as the canvas shows them: finders, trackers and who follows."""
    trackers = [one for one in finders().values() if one.follows and not one.missing]
    return {
        "choices": [
            {
                "name": one.name,
                "title": one.title,
                "hint": _HINTS.get(one.name, f"Find masks with {one.title}"),
                "cost": one.cost(),
            }
            for one in finders_at_hand(document).values()
        ],
        "trackers": [{"name": one.name, "title": one.title, "cost": one.cost()} for one in trackers],
        "tracker": document.tracker,
        "usual": document.finder,
    }
