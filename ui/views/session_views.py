"""The clip, masks, words and cards of a session, and the examples, as values that JSON
can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import localtime, strftime

import numpy as np
from PIL import Image

from regrain.editing.media.images import GREY, WHITE, read_picture
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.outputs import EDITS
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.models.finders import CUTS
from regrain.ui.server.media import data_url
from regrain.ui.session.build_request import composed
from regrain.ui.session.clip_files import MAX_ARCHIVE, MAX_VIDEO
from regrain.ui.session.clips import MAX_FRAMES, OpenedClip
from regrain.ui.session.examples import Examples
from regrain.ui.session.mask_edits import MAX_PATH, finder_of
from regrain.ui.session.projects import Projects
from regrain.ui.session.region_pictures import FIELD, as_seen, picture_of
from regrain.ui.session.session import Session
from regrain.ui.values.cutout import LARGE, Cutout
from regrain.ui.values.layers import Key
from regrain.ui.values.mask_models import (
    click_models,
    title,
    trackers,
)
from regrain.ui.values.state import MAX_REGIONS
from regrain.ui.views.shown import (
    CanvasGone,
    CanvasView,
    CardsView,
    ClipView,
    Cutting,
    EditView,
    ExampleView,
    FinderView,
    GalleryView,
    MaskFinders,
    MasksShown,
    MaskView,
    PlayerView,
    PromptPiece,
    PromptView,
    RecentProject,
    RecentView,
    RegionCard,
    TrackerView,
)
from regrain.ui.work.wording import size

MAX_WHOLE = 32  # frames with whole masks in one view
MAX_RUNS = 100_000  # characters of their run lengths
_HINTS = {
    "sam": "Find masks with the small built-in network, which knows drawn things best",
    CUTS: "Find masks by colour, place and motion, without a network; made for real clips",
}


def gallery(examples: Examples, chosen: str | None) -> GalleryView:
    """Show the examples as pictures."""
    items = []
    for name, example in examples.items():
        opened = example.opened
        shown = ExampleView(
            name=name,
            title=opened.title,
            picture=example.thumbnail,
            after=example.after,
            videos=[str(opened.source), opened.made.edits[0]] if opened.made else [],
            change=example.change,
            hint=" / ".join(opened.request.targets),
        )
        items.append(shown)
    return GalleryView(chosen, items, MAX_VIDEO // 10**6, MAX_ARCHIVE // 10**6)


def recent(
    projects: Projects,
    paths: bool = False,
    failed: str = "",
    page: str | None = None,
) -> RecentView:
    """Show the projects of this machine, or of a page, and where they are.

    `paths` tells whether files may be opened by their path.
    """
    items = []
    for one in projects.listed(page):
        used = strftime("%Y-%m-%d %H:%M", localtime(one.used))
        room = size(one.size)
        items.append(
            RecentProject(one.key, one.title, one.picture, room, used, one.problem)
        )
    folder = str(projects.root) if projects.root else ""
    return RecentView(folder, paths, projects.any_size, items, failed, projects.unkept)


def edits(request: EditRequest, files: Mapping[str, str]) -> list[EditView]:
    """List the videos of a run's edits and the prompt of each."""
    paths = [files[name] for name in EDITS if name in files]
    return [EditView(*pair) for pair in zip(request.targets, paths, strict=True)]


def player(
    opened: OpenedClip,
    edits: Sequence[EditView] = (),
    reconstruction: str | None = None,
) -> PlayerView:
    """Show the source clip, the edits beside it, and its reconstruction from the
    inversion."""
    clip = opened.request.clip
    width, height = clip.size
    tried = opened.attempt and edits
    return PlayerView(
        source=str(opened.source),
        edits=[*edits],
        reconstruction=reconstruction,
        width=width,
        height=height,
        frames=len(clip),
        fps=float(clip.fps),
        names=None,
        caption="Try" if tried else None,
        note=opened.attempt if tried else None,
    )


def begun_player(opened: OpenedClip, path: str, frames: int) -> PlayerView:
    """Show the first frames of an edit that goes on, beside the same frames of the
    source clip."""
    shown = player(opened, [EditView("", path)])
    unfinished = f"Frames 1–{frames} of {shown.frames}, more to come"
    return replace(shown, frames=frames, unfinished=unfinished)


def canvas(
    session: Session,
    since: int = -1,
    note: str | None = "",
    alarm: bool = False,
    frame: int = 0,
    wanted: Collection[int] = (),
) -> CanvasView:
    """Show the frames and masks of a page that changed after revision `since`, all of
    them for -1.

    Masks come whole on the frames next to `frame`, and on wanted ones; of others that
    changed, the numbers are given (`wanting`) and the page asks for them when it shows
    them. The kinds of a region's masks on all frames (`lanes`) are always there.

    Args:
        since: The revision the page has; an answer may be lost, so each holds all that
            is newer.
        note: Said below the frame; None leaves what is said there.
        alarm: Whether the note is about something that went wrong.
        frame: The one the page shows, from 0.
        wanted: Further frames whose masks the page has asked for.
    """
    layers = session.state.layers
    regions = session.state.regions
    fresh = {at for at, changed in session.changed.items() if changed > since}
    nearest = sorted(fresh.union(wanted), key=lambda at: abs(at - frame))
    changes = _whole_masks(session, nearest)
    wanting = [at for at in sorted(fresh) if str(at) not in changes]
    return CanvasView(
        id=session.id,
        rev=session.rev,
        clip=_clip(session.opened),
        changes=changes,
        wanting={str(at): session.changed[at] for at in wanting},
        lanes={str(label): _lane(session, label) for label in layers},
        labels=[*regions],
        finders={str(label): finder_of(session, label) for label in layers},
        who=_mask_models(session),
        feathers={str(label): region.feather for label, region in regions.items()},
        stale=session.state.to_track(),
        tracking=session.tracking,
        followed=session.followed and [*session.followed],
        found=None if session.found is None else [*session.found],
        acknowledged=[*session.acknowledged],
        note=note,
        alarm=alarm,
        undo=bool(session.steps.past),
        redo=bool(session.steps.future),
    )


def _mask_models(session: Session) -> MaskFinders:
    """Show the models that find and follow masks, and which of them do."""
    choices = []
    for model in click_models(session.fallback).values():
        hint = _HINTS.get(model.name, f"Find masks with {model.title}")
        choices.append(
            FinderView(model.name, model.title, model.cost(), hint, model.built_in)
        )
    following = [TrackerView(model.name, model.title) for model in trackers().values()]
    return MaskFinders(choices, following, session.tracker, session.finder)


def _clip(opened: OpenedClip) -> ClipView:
    clip = opened.request.clip
    width, height = opened.size
    return ClipView(
        title=opened.title,
        own=opened.own,
        drawn=opened.drawn,
        total=opened.total,
        start=opened.start,
        stride=opened.stride,
        folder=str(opened.folder),
        count=len(opened.frames),
        width=width,
        height=height,
        size="{}×{}".format(*clip.size),
        fps=float(clip.fps),
        most=MAX_FRAMES,
        most_places=MAX_PATH,
        most_masks=MAX_WHOLE,
        strip=str(opened.strip) if opened.strip else "",
        made=opened.made is not None,
    )


def _whole_masks(session: Session, frames: Iterable[int]) -> MasksShown:
    """Show the masks on the first of these frames, as many as one view holds."""
    changes: MasksShown = {}
    left = MAX_RUNS
    for frame in frames:
        if left <= 0 or len(changes) >= MAX_WHOLE:
            break
        masks = {}
        for label, layer in session.state.layers.items():
            if frame in layer.keys or frame in layer.track:
                key = layer.keys.get(frame, Key())
                masks[str(label)] = MaskView(
                    runs=session.run_lengths(label, frame),
                    points=[[x, y, int(inside)] for x, y, inside in key.points],
                    key=key.counts,
                    by=title(key.by) if key.found else "",
                )
        changes[str(frame)] = masks
        left -= sum(len(mask.runs) for mask in masks.values())
    return changes


def _lane(session: Session, label: int) -> str:
    """Return the kinds of a region's masks on all frames, a character each; see
    `_cell`."""
    count = len(session.opened.frames)
    if session.state.layers[label].rest:
        return "9" * count
    return "".join(_cell(session, label, frame) for frame in range(count))


def _cell(session: Session, label: int, frame: int) -> str:
    """Return drawn "k", drawn empty "e", clicked "c", tracked "0" to "9" (tenths), lost
    "-" or " "."""
    layer = session.state.layers[label]
    key = layer.keys.get(frame)
    if key is None and frame not in layer.track:
        return " "
    masked = session.masked(label, frame)
    if key and key.counts:
        if not masked:
            return "e"
        return "c" if key.clicked else "k"
    if not masked:
        return " " if key and key.points else "-"
    tenths = int(10 * layer.score.get(frame, 0.0))
    return str(min(9, max(0, tenths)))


def cutting(session: Session, label: int) -> Cutting:
    """Show how a region's picture is cut out: the whole, what is left out, the
    clicks."""
    path = picture_of(session, label)
    cutout = session.cutouts.get(path, Cutout(path, (), ""))
    whole = Image.fromarray(read_picture(Path(cutout.whole), FIELD))
    ground = Image.new("RGBA", whole.size, (255, 255, 255, 255))
    ground.alpha_composite(whole)
    points = [(x, y, int(inside)) for x, y, inside in cutout.points]
    picture = data_url(np.asarray(ground.convert("RGB")), LARGE)
    return Cutting(label, picture, cutout.veil, points)


def lost(note: str) -> CanvasGone:
    """Tell a page that the server has nothing of it any more."""
    return CanvasGone(note, gone=True, alarm=True)


def cards(
    session: Session,
    blind: str | None = None,
    instructs: bool = False,
    drawn: list[str] | None = None,
) -> CardsView:
    """Show one card per region, uppermost first; `blind`, `instructs` and `drawn` are
    those of `Catalogue`, where they may be new."""
    regions = session.state.regions
    ground = WHITE if METHODS[session.method].sees_pictures else GREY
    shown = [
        RegionCard(
            label=region.label,
            name=region.name,
            color=region.color,
            source=region.source,
            prompt=region.prompt,
            negative=region.negative,
            strength=region.strength,
            picture_scale=region.picture_scale,
            margin=region.effective_margin(session.state.size),
            picture=as_seen(region.picture, ground),
        )
        for region in regions.values()
    ]
    return CardsView(
        id=session.id,
        have=session.rev,
        source_prompt=session.source_prompt,
        prompt=session.prompt,
        negative_prompt=session.negative_prompt,
        rest=session.state.rest or 0,
        blind=blind,
        full=len(regions) >= MAX_REGIONS,
        regions=shown,
        instructs=instructs,
        drawn=drawn,
    )


def prompts(session: Session) -> PromptView:
    """Show the composed prompts in pieces; a region's own words carry its label and
    colour."""
    regions = session.state.regions
    prompts = []
    for text, spans, _ in composed(session):
        placed = sorted((span, label) for label, span in spans.items() if span)
        pieces = []
        done = 0
        for (start, stop), label in placed:
            region = regions[label]
            kept = not (region.prompt.strip() or region.picture)
            pieces.append(PromptPiece(text[done:start]))
            pieces.append(PromptPiece(text[start:stop], label, region.color, kept))
            done = stop
        pieces.append(PromptPiece(text[done:]))
        prompts.append([piece for piece in pieces if piece.text])
    return PromptView([pieces for pieces in prompts if pieces])
