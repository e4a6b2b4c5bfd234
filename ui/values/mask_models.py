"""The mask models at hand on a page: which answer clicks and tracking, and which are
usual."""

from __future__ import annotations

from collections.abc import Mapping

from regrain.editing.errors import RequestError, suggest
from regrain.masks.models.checkpoints import title_of
from regrain.masks.models.finders import MaskModel, finders


def title(name: str) -> str:
    """Return the name that people know of the model that found a mask; empty for
    none."""
    known = finders().get(name)
    return known.title if known else title_of(name)


def click_models(fallback: str) -> dict[str, MaskModel]:
    """Return the models that answer clicks on a page, by name; published ones first.

    `fallback`: see `Session`.
    """
    able = sorted(_here(), key=lambda model: model.checkpoint is None)
    return {
        model.name: model for model in able if model.name != "sam" or fallback == "sam"
    }


def trackers() -> dict[str, MaskModel]:
    """Return the models that follow masks, by name."""
    return {model.name: model for model in _here() if model.follows}


def _here() -> list[MaskModel]:
    return [model for model in finders().values() if not model.missing]


def choose(field: str, name: object, able: Mapping[str, MaskModel]) -> MaskModel:
    """Look one of these up; a RequestError about `field` if there is none of that
    name."""
    if not isinstance(name, str) or name not in able:
        said = str(name)[:60]
        raise RequestError(field, f"{said!r} was not found. {suggest(said, able)}")
    return able[name]
