"""The way in which a model edits, where nothing else is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from regrain.editing.media.images import read_picture
from regrain.editing.media.lazy_frames import Texts
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import (
    BUILT_IN_FAST,
    BUILT_IN_MODEL,
    BUILT_IN_MOTION,
    suits,
)
from regrain.editing.models.files.lora_file import fast_lora, lora_facts
from regrain.editing.models.files.offers import Family
from regrain.editing.params.registry import METHODS, OFFERS
from regrain.editing.params.written import split_weight
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region

# The first that a model can be used with is its usual one: it edits region by region,
# in few steps, or a video model.
_BEST = (Edit().method, "instruct_pix2pix", "infedit", "vace", "flow_regions")
_HEEDED = 3  # pictures
_WHITE = 240  # of 255, on average around a thing that is cut out


class Way(NamedTuple):
    """A method, and what is added to the model for it, as in `Edit`."""

    method: str
    loras: Texts = ()
    motion: str = ""

    @property
    def added(self) -> list[str]:
        """Names of all that is added."""
        return [*self.loras, *filter(None, [self.motion])]


def usual_way(model: str, method: str = "") -> Way:
    """Return how a model edits regions best, or with a method.

    One that comes with a LoRA for few steps is edited by it, with the method that it
    was made for; with other methods the built-in model has its motion adapter.

    Raises:
        ModelError: The model is unknown.
    """
    fast = fast_lora(model)
    if fast:
        made_for = next(iter(lora_facts(fast).defaults))
        if method in ("", made_for):
            return Way(made_for, (fast,))
    motion = BUILT_IN_MOTION if model == BUILT_IN_MODEL else ""
    return Way(method or _best_method(model), (), motion)


def _best_method(model: str) -> str:
    """Return the method that edits regions best of those that a model can be used
    with."""
    family = facts_of(model).family
    if family is None:
        return Edit().method
    able = (name for name in _BEST if not lacking(name, family))
    return next(able, Edit().method)


def lacking(method: str, family: Family) -> frozenset[str]:
    """Return what a method needs of a model that a family does not offer."""
    return (METHODS[method].needs & set(OFFERS)) - family.offers


def for_model(
    method: str, added: Sequence[str], before: str, model: str
) -> tuple[str, list[str]]:
    """Return method and additions for another model than before: its own usual ones,
    if those of the other were used, else what can be of both."""
    kept = [name for name in added if suits(model, name)]
    old = usual_way(before)
    names = {split_weight(name)[0] for name in added}
    if method != old.method or not names.issuperset(old.loras):
        return method, kept
    new = usual_way(model)
    return new.method, [*dict.fromkeys((*kept, *new.added))]


def for_method(added: Sequence[str], model: str, before: str, method: str) -> list[str]:
    """Return what is added to a model for another method than before: what is usual
    for the one makes room for what is usual for the other."""
    old, new = (usual_way(model, name).added for name in (before, method))
    if old == new:
        return [*added]
    kept = [name for name in added if split_weight(name)[0] not in old]
    return [*kept, *new]


def picture_doubts(edit: Edit, regions: Iterable[Region]) -> list[str]:
    """Say that regions have pictures which the built-in LoRA for few steps draws as
    patterns: it was made without a picture adapter."""
    names = {split_weight(name)[0] for name in edit.loras}
    seeing = [region.name for region in regions if region.picture]
    if not seeing or BUILT_IN_FAST not in names:
        return []
    return [
        f"By {BUILT_IN_FAST}, what should look like a picture ({seeing[0]}) becomes a "
        "pattern. Use VideoGrain, without it."
    ]


def reference_doubts(request: EditRequest) -> list[str]:
    """Say what a method that sees pictures by itself may not heed of them: more than a
    few, or what is around a thing."""
    if not METHODS[request.method].sees_pictures:
        return []
    pictures = list(request.pictures)
    said = []
    if len(pictures) > _HEEDED:
        said.append(
            f"There are {len(pictures)} pictures; such models seldom heed more than "
            f"{_HEEDED}."
        )
    for one in pictures:
        pixels = read_picture(one.path, one.field)
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        edge = np.concatenate(edges)
        opaque = edge[edge[:, 3] > 0, :3]
        if len(opaque) > len(edge) / 2 and opaque.mean() < _WHITE:
            whose = f"of {one.name!r}" if one.name else "of the clip"
            said.append(
                f"The picture {whose} shows more than a thing on white, which is drawn, "
                "too. Cut the thing out."
            )
    return said
