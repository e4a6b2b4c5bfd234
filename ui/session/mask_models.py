"""The mask models at hand on a page: which answer clicks, words and tracking, and which is usual."""

from __future__ import annotations

from collections.abc import Mapping

from regrain.editing.errors import RequestError, suggest
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.finders import MaskModel, finders, usual


def title(name: str) -> str:
    """What people call the model that found a mask; empty for none."""
    return {"sam": "SAM", "cuts": "cuts"}.get(name) or title_of(name)


def usual_finder(drawn: bool, fallback: str) -> str:
    """What finds masks on a clip unless a region chooses another: on real ones a published SAM, or cuts."""
    return fallback if drawn else usual(drawn, lambda one: "points" in one.takes).name


def finder_by_words(drawn: bool) -> str | None:
    """What finds things by words on a clip: a SAM 3 on real ones; None where none is at hand."""
    if drawn or not any("words" in one.takes for one in finders().values()):
        return None
    return usual(drawn, lambda one: "words" in one.takes).name


def click_models(fallback: str) -> dict[str, MaskModel]:
    """What can be asked for masks on a page, by name; published ones first. `fallback`: see `Session`."""
    able = [one for one in finders().values() if "points" in one.takes and not one.missing]
    able = [one for one in able if one.name != "sam" or fallback == "sam"]
    return {one.name: one for one in sorted(able, key=lambda one: one.checkpoint is None)}


def trackers() -> dict[str, MaskModel]:
    """What can follow masks, by name."""
    return {one.name: one for one in finders().values() if one.follows and not one.missing}


def choose(field: str, name: object, able: Mapping[str, MaskModel]) -> MaskModel:
    """Look one of these up; a RequestError about `field` if there is none of that name."""
    if not isinstance(name, str) or name not in able:
        raise RequestError(
            field, f"{str(name)[:60]!r} was not found. {suggest(str(name)[:60], able)}"
        )
    return able[name]
