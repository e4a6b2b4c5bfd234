"""From what a page works on to what is run: prompts and the request, checked by
field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.labels import Extents, Labels, flattened
from regrain.editing.params.written import write_cuts
from regrain.editing.request.compose import Composed, compose
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import Draft, EditRequest
from regrain.editing.request.region import Region
from regrain.masks.io.files import Masks, overlap
from regrain.ui.session.clips import OpenedClip
from regrain.ui.session.session import Session
from regrain.ui.values.fields import Values
from regrain.ui.values.focus import extents_of
from regrain.ui.values.method_choice import uses
from regrain.ui.values.plates import focus_in, region_in

MAX_TEXT = 1000  # characters of a text of a region


def composed(session: Session) -> tuple[Composed, ...]:
    """Return the prompts a run would use, one per edit."""
    regions: tuple[Region, ...] = ()
    if uses(session.method).regions != "ignored":
        regions = tuple(session.state.regions.values())
    prompts = own_prompts(session, session.method)
    return tuple(compose(session.source_prompt, prompt, regions) for prompt in prompts)


def build_request(session: Session, asked: Edit, masked: bool = True) -> EditRequest:
    """Return what a run would be given now.

    Args:
        session: Its words, regions, masks and tuned model are taken.
        asked: Everything else.
        masked: Whether regions need masks. If not, no mask is read, and the request is
            only for checks.

    Raises:
        RequestError: See `region_errors`; a bad parameter.
    """
    regions = _regions(session, asked.method)
    if masked:
        for error in region_errors(session, asked.method):
            raise error
    return EditRequest(**vars(draft(session, asked, regions, masked)))


def draft(
    session: Session, asked: Edit, regions: list[Region], masked: bool = False
) -> Draft:
    """Return what a run of these regions would be given, unchecked; see
    `build_request`."""
    prompt, *more = own_prompts(session, asked.method)
    sees = asked.picture != "" or any(region.picture for region in regions)
    own = {
        "source_prompt": session.source_prompt,
        "prompt": prompt,
        "more_prompts": tuple(more),
        "negative_prompt": session.negative_prompt,
        "picture_adapter": asked.picture_adapter if sees else "",
        "adapter": session.adapters.path,
    }
    return Draft(
        session.opened.request.clip,
        _flatten(session, regions, masked) if regions else None,
        tuple(_requested(region, session) for region in regions),
        **vars(_placed(session, asked)) | own,
    )


def _requested(region: Region, session: Session) -> Region:
    """Return a region of the clip with the frames whose masks a person has made, by hand
    and by clicks."""
    layer = session.state.layers[region.label]
    clicked = frozenset(layer.clicked)
    drawn = frozenset(layer.drawn) - clicked
    return replace(
        _of_clip(region, session.opened),
        prompt=region.prompt.strip(),
        drawn=tuple(sorted(drawn)),
        clicked=tuple(sorted(clicked)),
    )


def _of_clip(region: Region, opened: OpenedClip) -> Region:
    """Return a region in pixels of the clip: as its project has it, unless that was
    changed."""
    size = opened.request.clip.size
    for said in opened.request.regions:
        same = replace(region, margin=said.margin, feather=said.feather)
        unchanged = region_in(same, size, opened.size) == region
        if said.label == region.label and unchanged:
            return same
    return region_in(region, opened.size, size)


def _placed(session: Session, asked: Edit) -> Edit:
    """Return what is asked with its boxes in pixels of the clip: as its project has
    them, unless that was changed."""
    opened = session.opened
    clip = opened.request.clip
    focus = opened.request.focus
    if focus_in(focus, len(clip), clip.size, opened.size) != asked.focus:
        focus = focus_in(asked.focus, len(clip), opened.size, clip.size)
    return replace(asked, focus=focus)


def whole_masks(session: Session, request: EditRequest) -> Masks | None:
    """Return whole masks of a request's regions by label, bool [frames, height, width],
    if some overlap on what is shown."""
    labels = [region.label for region in request.regions]
    if not overlap({label: session.state.masks(label) for label in labels}):
        return None
    return {label: session.masks(label) for label in labels}


def build_box_request(session: Session, asked: Edit) -> EditRequest:
    """Return the request of a run as far as it decides where that works, with its clip
    and regions; no mask is read, and no word is checked.

    Raises:
        RequestError: `focus` has boxes that are not of the clip.
    """
    regions = _regions(session, asked.method)
    return EditRequest(
        session.opened.request.clip,
        _flatten(session, regions, read_masks=False) if regions else None,
        tuple(_of_clip(region, session.opened) for region in regions),
        **vars(_placed(session, asked)),
    )


def planned(
    session: Session,
    model: str,
    params: Values,
    added: Values = MappingProxyType({}),
) -> EditRequest:
    """Return what a run would be given, as far as it decides its size and where it
    works; `added` to the model, by field of `Edit`.

    Raises:
        RequestError: Prompts are wrong.
    """
    prompt, *more = own_prompts(session, session.method)
    asked = replace(
        session.opened.request.asked,
        method=session.method,
        model=model,
        params=params,
        focus=session.focus,
        source_prompt=session.source_prompt,
        prompt=prompt,
        more_prompts=tuple(more),
        **added,
    )
    return build_box_request(session, asked)


def masks_of(session: Session) -> Masks:
    """Return the masks of all regions that have one by label, the uppermost first; read
    by window."""
    return {
        label: session.masks(label)
        for label in session.state.regions
        if _has_mask(session, label)
    }


def with_cuts(request: EditRequest, session: Session) -> EditRequest:
    """Return the request with the cuts that were found in the clip, unless it has its
    own."""
    if not session.found or "cuts" in request.params:
        return request
    return replace(
        request, params={**request.params, "cuts": write_cuts(session.found)}
    )


def own_prompts(session: Session, method: str) -> tuple[str, ...]:
    """Return what was typed for the whole frame, a line per edit, as a method takes it.

    An empty first line stands for the prompt composed from the regions, where there are
    any with words. Where a method needs regions, only the project's prompt counts, and
    only while its words are unchanged.
    """
    regions = uses(method).regions
    known = session.state.regions.values()
    if regions == "needed":
        base = session.opened.request
        same_words = _words(base.regions) == _words(known)
        is_same = same_words and session.source_prompt == base.source_prompt
        return (base.prompt if is_same else "",)
    first, *more = (line.strip() for line in session.prompt.split("\n"))
    more = [line for line in more if line]
    composes = regions == "taken" and any(
        one.prompt.strip() or one.picture for one in known
    )
    if more and not first and not composes:
        return tuple(more)
    return (first, *more)


def _words(regions: Iterable[Region]) -> list[tuple[int, str, str]]:
    return [(region.label, region.source, region.prompt.strip()) for region in regions]


def length_errors(regions: Iterable[Region]) -> Iterator[RequestError]:
    """Yield an error for each text of a region that is too long for any model."""
    for region in regions:
        for key in ("prompt", "source", "negative"):
            count = len(getattr(region, key))
            if count > MAX_TEXT:
                too_many = f"{count} characters are {count - MAX_TEXT} too many"
                yield RequestError(
                    f"regions.{region.name}.{key}",
                    f"{too_many}. Shorten it to {MAX_TEXT}.",
                )


def region_errors(session: Session, method: str) -> Iterator[RequestError]:
    """Yield what keeps a method from using the regions.

    There are none, two have one name, one has no mask, or a text is too long.
    """
    regions = _regions(session, method)
    if not regions and uses(method).regions == "needed":
        yield RequestError("regions", "No regions yet. Click a thing in the frame.")
    names = set()
    for region in regions:
        if region.name.casefold() in names:
            yield RequestError(
                f"regions.{region.name}.name",
                f"{shorten(region.name)} is used twice. Give each region its own.",
            )
        names.add(region.name.casefold())
        if not _has_mask(session, region.label):
            yield RequestError(
                f"regions.{region.name}.mask",
                "The region has no mask. Click the object or paint it.",
            )
    yield from length_errors(regions)


def _regions(session: Session, method: str) -> list[Region]:
    """Return the regions a method gets: those with words or a mask."""
    if uses(method).regions == "ignored":
        return []
    known = session.state.regions.values()
    return [
        r for r in known if r.prompt.strip() or r.picture or _has_mask(session, r.label)
    ]


def _flatten(session: Session, regions: list[Region], read_masks: bool) -> Labels:
    """Return labels, uint8 [frames, height, width], read by window: earlier regions
    cover later ones."""
    state = session.state
    order = [region.label for region in regions]
    labels = flattened({label: state.masks(label) for label in order})
    present = Labels(labels).present if read_masks else order
    whole = flattened({label: session.masks(label) for label in order})

    def extents() -> Extents:
        ratio = whole.shape[2] / state.size[0]
        found = extents_of(state, session.edges_of)
        return {label: ratio * edges for label, edges in found.items()}

    labels = Labels(whole, present, extents)
    for region in regions:
        if region.label not in labels.present:
            raise RequestError(
                f"regions.{region.name}.mask",
                "Regions above it cover it completely. Move it up or erase part of theirs.",
            )
    return labels


def _has_mask(session: Session, label: int) -> bool:
    layer = session.state.layers[label]
    return layer.rest or any(
        session.masked(label, frame) for frame in {*layer.keys, *layer.track}
    )
