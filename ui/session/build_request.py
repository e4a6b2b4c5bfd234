"""From what a page works on to what is run: prompts and the request, checked by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from regrain.editing.errors import RequestError
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.request.compose import Composed, compose
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.ui.session.layers import MaskLayer, mask_on
from regrain.ui.session.method_choice import uses
from regrain.ui.session.session import MAX_TEXT, Session


def composed(document: Session) -> tuple[Composed, ...]:
    """The prompts a run would use, one per edit."""
    regions = () if uses(document.method).regions == "ignored" else tuple(document.state.regions.values())
    prompts = own_prompts(document, document.method)
    return tuple(compose(document.source_prompt, own, regions) for own in prompts)


def build_request(
    document: Session,
    params: Mapping[str, object],
    method: str,
    model: str,
    seed: object = 0,
    loras: tuple[str, ...] = (),
    masked: bool = True,
) -> EditRequest:
    """What a run would be given now.

    Args:
        document: What the page works on.
        params: The given parameters.
        method: Its name.
        model: Its id.
        seed: As the field has it.
        loras: As in `EditRequest`.
        masked: Whether regions need masks; if not, none is read, and the request is only for checks.

    Raises:
        RequestError: See `region_errors`; a bad parameter.
    """
    regions = _regions(document, method)
    if masked and (error := next(region_errors(document, method), None)):
        raise error
    labels = _flatten(document, regions, masked)
    prompt, *more = own_prompts(document, method)
    layers = document.state.layers
    return replace(
        document.opened.request,
        regions=tuple(replace(r, prompt=r.prompt.strip(), **_made(layers[r.label])) for r in regions),
        labels=labels if regions else None,
        source_prompt=document.source_prompt,
        prompt=prompt,
        negative_prompt=document.negative_prompt,
        more_prompts=tuple(more),
        method=method,
        params=dict(params),
        model=model,
        loras=loras,
        adapter=document.shelf.path,
        seed=seed,  # type: ignore[arg-type]  # checked there
    )


def build_discovery(document: Session, model: str) -> EditRequest:
    """The clip and its words, for whoever looks for objects in it.

    Raises:
        RequestError: Nobody said what the clip shows, or no more regions are allowed.
    """
    if not document.source_prompt.strip():
        raise RequestError(
            "The clip shows", "It is empty. Name the objects to find, such as 'a cat and a dog'."
        )
    document.check_space(document.state.regions)
    base = document.opened.request
    return EditRequest(
        base.clip, None, (), document.source_prompt, model=model, size=base.size, method=base.method
    )


def whole_masks(document: Session, request: EditRequest) -> dict[int, LazyFrames] | None:
    """Whole masks of a request's regions by label, bool [frames, height, width]; None: none overlap."""
    whole = {region.label: _mask_of(document, region.label) for region in request.regions}
    stacks = zip(*whole.values(), strict=True)
    return whole if any((np.sum(stack, axis=0, dtype=np.uint8) > 1).any() for stack in stacks) else None


def masks_of(document: Session) -> dict[int, LazyFrames]:
    """By label, the masks of all regions that have one, the uppermost first; read by window."""
    return {
        label: _mask_of(document, label) for label in document.state.regions if _has_mask(document, label)
    }


def _mask_of(document: Session, label: int) -> LazyFrames:
    """A region's masks as they are now, read by window."""
    layer, size = document.state.layers[label], document.size

    others = [other for other in document.state.layers.values() if not other.rest]

    def read(start: int, stop: int) -> np.ndarray:
        masks = np.empty((stop - start, *size[::-1]), bool)
        for frame in range(start, stop):
            if layer.rest:
                masks[frame - start] = ~np.any([mask_on(other, frame, size) for other in others], axis=0)
            else:
                masks[frame - start] = mask_on(layer, frame, size)
        return masks

    return LazyFrames((len(document.opened.frames), *size[::-1]), bool, read)


def _made(layer: MaskLayer) -> dict[str, tuple[int, ...]]:
    """The frames of a region whose masks a person has made, by hand and by clicks."""
    clicked = frozenset(layer.clicked)
    return {"drawn": tuple(sorted({*layer.drawn} - clicked)), "clicked": tuple(sorted(clicked))}


def own_prompts(document: Session, method: str) -> tuple[str, ...]:
    """What was typed for the whole frame, a line per edit; a project's own speaks of its own words.

    An empty first line stands for the prompt composed from the regions, where there are any with words.
    """
    if uses(method).regions != "needed":
        first, *more = (line.strip() for line in document.prompt.split("\n"))
        more = [line for line in more if line]
        words = any(region.prompt.strip() for region in document.state.regions.values())
        composes = words and uses(method).regions == "taken"
        return tuple(more) if more and not (first or composes) else (first, *more)
    base = document.opened.request
    words = lambda regions: [(r.label, r.source, r.prompt.strip()) for r in regions]  # noqa: E731
    same = words(base.regions) == words(document.state.regions.values())
    return (base.prompt if same and document.source_prompt == base.source_prompt else "",)


def check_lengths(regions: Iterable[Region]) -> None:
    """Refuse words that are too many for any model.

    Raises:
        RequestError: Naming the region and the text.
    """
    for error in length_errors(regions):
        raise error


def length_errors(regions: Iterable[Region]) -> Iterator[RequestError]:
    """Each text of a region that is too long for any model."""
    for region in regions:
        for key in ("prompt", "source", "negative"):
            if (count := len(getattr(region, key))) > MAX_TEXT:
                said = f"{count} characters are {count - MAX_TEXT} too many. Shorten it to {MAX_TEXT}."
                yield RequestError(f"regions.{region.name}.{key}", said)


def region_errors(document: Session, method: str) -> Iterator[RequestError]:
    """What keeps a method from using the regions: there are none, one has no mask, or a text is too long."""
    regions = _regions(document, method)
    if not regions and uses(method).regions == "needed":
        yield RequestError("regions", "No regions yet. Click an object in the frame.")
    for region in regions:
        if not _has_mask(document, region.label):
            said = "The region has no mask. Click the object or paint it."
            yield RequestError(f"regions.{region.name}.mask", said)
    yield from length_errors(regions)


def _regions(document: Session, method: str) -> list[Region]:
    """The regions a method gets: those with words or a mask."""
    if uses(method).regions == "ignored":
        return []
    known = document.state.regions.values()
    return [r for r in known if r.prompt.strip() or _has_mask(document, r.label)]


def _flatten(document: Session, regions: list[Region], read_masks: bool) -> Labels:
    """Labels, uint8 [frames, height, width], read by window: the earlier regions cover the later."""
    masks = {region.label: _mask_of(document, region.label) for region in regions}
    shape = (len(document.opened.frames), *document.size[::-1])

    def read(start: int, stop: int) -> np.ndarray:
        labels = np.zeros((stop - start, *shape[1:]), np.uint8)
        for label, mask in reversed(masks.items()):
            labels[mask.read(start, stop)] = label
        return labels

    labels = Labels(LazyFrames(shape, np.uint8, read), None if read_masks else masks.keys())
    for region in regions:
        if region.label not in labels.present:
            said = "Regions above it cover it completely. Move it up or erase part of theirs."
            raise RequestError(f"regions.{region.name}.mask", said)
    return labels


def _has_mask(document: Session, label: int) -> bool:
    layer = document.state.layers[label]
    return layer.rest or any(document.masked(label, frame) for frame in {*layer.keys, *layer.track})
