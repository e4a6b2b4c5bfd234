"""From what a page works on to what is run: prompts and the request, checked by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.labels import Labels, flatten
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.params.written import write_cuts
from regrain.editing.request.compose import Composed, compose
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.masks.io.files import overlap
from regrain.ui.session.layers import MaskLayer
from regrain.ui.session.method_choice import uses
from regrain.ui.session.session import Session
from regrain.ui.session.state import State

MAX_TEXT = 1000  # characters of a text of a region


def composed(session: Session) -> tuple[Composed, ...]:
    """The prompts a run would use, one per edit."""
    regions = (
        () if uses(session.method).regions == "ignored" else tuple(session.state.regions.values())
    )
    prompts = own_prompts(session, session.method)
    return tuple(compose(session.source_prompt, own, regions) for own in prompts)


class Added(NamedTuple):
    """What is added to a model: LoRA files, a motion and a picture adapter, as in `EditRequest`."""

    loras: tuple[str, ...]
    motion: str
    picture_adapter: str = ""


def build_request(
    session: Session,
    params: Mapping[str, object],
    method: str,
    model: str,
    seed: object = 0,
    added: Added | None = None,
    masked: bool = True,
) -> EditRequest:
    """What a run would be given now; `seed` is as its field has it.

    If regions need not be `masked`, no mask is read, and the request is only for checks.

    Raises:
        RequestError: See `region_errors`; a bad parameter.
    """
    regions = _regions(session, method)
    if masked and (error := next(region_errors(session, method), None)):
        raise error
    prompt, *more = own_prompts(session, method)
    layers = session.state.layers
    return replace(
        session.opened.request,
        regions=tuple(
            replace(r, prompt=r.prompt.strip(), **_made(layers[r.label])) for r in regions
        ),
        labels=_flatten(session.state, regions, masked) if regions else None,
        source_prompt=session.source_prompt,
        prompt=prompt,
        negative_prompt=session.negative_prompt,
        more_prompts=tuple(more),
        method=method,
        params=dict(params),
        model=model,
        loras=added.loras if added else (),
        motion=added.motion if added else "",
        picture_adapter=added.picture_adapter if added and any(r.picture for r in regions) else "",
        adapter=session.shelf.path,
        seed=seed,  # type: ignore[arg-type]  # checked there
    )


def build_discovery(session: Session, model: str) -> EditRequest:
    """The clip and its words, for whoever looks for objects in it.

    Raises:
        RequestError: Nobody said what the clip shows, or no more regions are allowed.
    """
    words, base = session.source_prompt, session.opened.request
    if not words.strip():
        message = "It is empty. Name the objects to find, such as 'a cat and a dog'."
        raise RequestError("The clip shows", message)
    session.state.new_region()  # refused where there are too many
    return EditRequest(base.clip, None, (), words, model=model, size=base.size, method=base.method)


def whole_masks(state: State, request: EditRequest) -> dict[int, LazyFrames] | None:
    """Whole masks of a request's regions by label, bool [frames, height, width]; None: none overlap."""
    whole = {region.label: state.masks(region.label) for region in request.regions}
    return whole if overlap(whole) else None


def masks_of(session: Session) -> dict[int, LazyFrames]:
    """By label, the masks of all regions that have one, the uppermost first; read by window."""
    state = session.state
    return {label: state.masks(label) for label in state.regions if _has_mask(session, label)}


def with_cuts(request: EditRequest, session: Session) -> EditRequest:
    """The request with the cuts that were found in the clip, unless it has its own or there are none."""
    if not session.found or "cuts" in request.params:
        return request
    return replace(request, params={**request.params, "cuts": write_cuts(session.found)})


def _made(layer: MaskLayer) -> dict[str, tuple[int, ...]]:
    """The frames of a region whose masks a person has made, by hand and by clicks."""
    clicked = frozenset(layer.clicked)
    return {"drawn": tuple(sorted({*layer.drawn} - clicked)), "clicked": tuple(sorted(clicked))}


def own_prompts(session: Session, method: str) -> tuple[str, ...]:
    """What was typed for the whole frame, a line per edit; a project's own speaks of its own words.

    An empty first line stands for the prompt composed from the regions, where there are any with words.
    """
    if uses(method).regions != "needed":
        first, *more = (line.strip() for line in session.prompt.split("\n"))
        more = [line for line in more if line]
        words = any(
            region.prompt.strip() or region.picture for region in session.state.regions.values()
        )
        composes = words and uses(method).regions == "taken"
        return tuple(more) if more and not (first or composes) else (first, *more)
    base = session.opened.request
    words = lambda regions: [(r.label, r.source, r.prompt.strip()) for r in regions]  # noqa: E731
    same = words(base.regions) == words(session.state.regions.values())
    return (base.prompt if same and session.source_prompt == base.source_prompt else "",)


def length_errors(regions: Iterable[Region]) -> Iterator[RequestError]:
    """Each text of a region that is too long for any model."""
    for region in regions:
        for key in ("prompt", "source", "negative"):
            if (count := len(getattr(region, key))) > MAX_TEXT:
                message = (
                    f"{count} characters are {count - MAX_TEXT} too many. Shorten it to {MAX_TEXT}."
                )
                yield RequestError(f"regions.{region.name}.{key}", message)


def region_errors(session: Session, method: str) -> Iterator[RequestError]:
    """What keeps a method from using the regions: none, two of one name, one without a mask, a long text."""
    regions, names = _regions(session, method), set()
    if not regions and uses(method).regions == "needed":
        yield RequestError("regions", "No regions yet. Click a thing in the frame.")
    for region in regions:
        if region.name.casefold() in names:
            message = f"{shorten(region.name)} is used twice. Give each region its own."
            yield RequestError(f"regions.{region.name}.name", message)
        names.add(region.name.casefold())
        if not _has_mask(session, region.label):
            message = "The region has no mask. Click the object or paint it."
            yield RequestError(f"regions.{region.name}.mask", message)
    yield from length_errors(regions)


def _regions(session: Session, method: str) -> list[Region]:
    """The regions a method gets: those with words or a mask."""
    if uses(method).regions == "ignored":
        return []
    known = session.state.regions.values()
    return [r for r in known if r.prompt.strip() or r.picture or _has_mask(session, r.label)]


def _flatten(state: State, regions: list[Region], read_masks: bool) -> Labels:
    """Labels, uint8 [frames, height, width], read by window: the earlier regions cover the later."""
    masks = {region.label: state.masks(region.label) for region in regions}
    read = lambda start, stop: flatten({n: mask.read(start, stop) for n, mask in masks.items()})  # noqa: E731
    labels = Labels(LazyFrames(state.shape, np.uint8, read), None if read_masks else masks.keys())
    for region in regions:
        if region.label not in labels.present:
            message = "Regions above it cover it completely. Move it up or erase part of theirs."
            raise RequestError(f"regions.{region.name}.mask", message)
    return labels


def _has_mask(session: Session, label: int) -> bool:
    layer = session.state.layers[label]
    return layer.rest or any(session.masked(label, frame) for frame in {*layer.keys, *layer.track})
