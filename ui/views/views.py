"""What the page's components show, as values that JSON can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from regrain.editing.errors import EditingError
from regrain.editing.pipeline.outputs import EDITS
from regrain.editing.request.compose import Composed
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.masks.models.finders import CUTS
from regrain.ui.session.build_request import composed
from regrain.ui.session.clips import MAX_FRAMES, ClipSession
from regrain.ui.session.examples import Example
from regrain.ui.session.mask_edits import finder_of
from regrain.ui.session.mask_models import click_models, title, trackers
from regrain.ui.session.method_choice import View
from regrain.ui.session.region_pictures import as_seen
from regrain.ui.session.session import Session
from regrain.ui.session.state import MAX_REGIONS

MAX_WHOLE, MAX_RUNS = (
    32,
    100_000,
)  # frames with whole masks in one view, characters of their run lengths
# What the page calls a request's fields.
_FIELDS = {
    "source_prompt": "The clip shows",
    "prompt": "It should show",
    "negative_prompt": "Avoid",
    "more_prompts": "It should show",
    "adapter": "Tuned model",
    "picture_adapter": "Picture adapter",
}
_HINTS = {
    "sam": "Find masks with the small built-in SAM, which knows drawn things best",
    CUTS: "Find masks by colour, place and motion, without a network; made for real clips",
}
_KEYS = {
    "prompt": "Change to",
    "source": "Now",
    "negative": "Avoid",
    "picture": "Picture",
}  # of a region
_OF_CARD = (
    "label",
    "name",
    "color",
    "source",
    "prompt",
    "negative",
    "margin",
    "strength",
    "picture_scale",
)


def gallery(examples: Mapping[str, Example], chosen: str | None) -> View:
    """The examples as pictures."""
    items = [
        {
            "name": name,
            "title": one.opened.title,
            "picture": one.thumbnail,
            "after": one.after,
            "videos": [str(one.opened.source), one.opened.made.edits[0]] if one.opened.made else [],
            "change": one.change,
            "hint": " / ".join(one.request.targets),
        }
        for name, one in examples.items()
    ]
    return {"chosen": chosen, "items": items}


def edits(request: EditRequest, files: Mapping[str, str]) -> list[View]:
    """The videos of a run's edits and the prompt of each."""
    paths = (files[name] for name in EDITS if name in files)
    return [
        {"prompt": text, "path": path} for text, path in zip(request.targets, paths, strict=True)
    ]


def player(
    opened: ClipSession, edits: Sequence[View] = (), reconstruction: str | None = None
) -> View:
    """The source clip, the edits beside it, and its reconstruction from the inversion."""
    clip = opened.request.clip
    note = {"caption": "Try", "note": opened.attempt} if opened.attempt and edits else {}
    return note | {
        "source": str(opened.source),
        "edits": list(edits),
        "reconstruction": reconstruction,
        "width": clip.size[0],
        "height": clip.size[1],
        "frames": len(clip),
        "fps": float(clip.fps),
        "names": None,
    }


def begun_player(opened: ClipSession, path: str, frames: int) -> View:
    """The first frames of an edit that goes on, beside the same frames of the source clip."""
    shown = player(opened, [{"prompt": "", "path": path}])
    unfinished = f"Frames 1–{frames} of {shown['frames']}, more to come"
    return shown | {"frames": frames, "unfinished": unfinished}


def canvas(
    session: Session,
    since: int = -1,
    note: str | None = "",
    alarm: bool = False,
    frame: int = 0,
    wanted: Collection[int] = (),
) -> View:
    """The frames and masks of a page: those that changed after revision `since`, all of them for -1.

    Masks come whole on the frames next to `frame`, and on wanted ones; of others that changed, the numbers
    are given (`wanting`) and the page asks for them when it shows them. What a region is on each frame
    (`lanes`) is always there.

    Args:
        since: The revision the page has; an answer may be lost, so each holds all that is newer.
        note: Said below the frame; None leaves what is said there.
        alarm: Whether the note is about something that went wrong.
        frame: The one the page shows, from 0.
        wanted: Further frames whose masks the page has asked for.
    """
    layers = session.state.layers
    fresh = {at for at, changed in session.changed.items() if changed > since}
    changes = _whole_masks(session, sorted(fresh.union(wanted), key=lambda at: abs(at - frame)))
    return {
        "id": session.id,
        "rev": session.rev,
        "clip": _clip(session.opened),
        "changes": changes,
        "wanting": {str(at): session.changed[at] for at in sorted(fresh) if str(at) not in changes},
        "lanes": {str(label): _lane(session, label) for label in layers},
        "labels": list(session.state.regions),
        "finders": {str(label): finder_of(session, label) for label in layers},
        "who": _mask_models(session),
        "feathers": {str(n): region.feather for n, region in session.state.regions.items()},
        "stale": session.state.to_track(),
        "tracking": session.tracking,
        "followed": session.followed and list(session.followed),
        "found": None if session.found is None else list(session.found),
        "acknowledged": list(session.acknowledged),
        "note": note,
        "alarm": alarm,
        **session.can,
    }


def _mask_models(session: Session) -> View:
    """What can find masks and follow them, and what does."""
    shown = lambda one: {"name": one.name, "title": one.title, "cost": one.cost()}  # noqa: E731
    return {
        "choices": [
            shown(one) | {"hint": _HINTS.get(one.name, f"Find masks with {one.title}")}
            for one in click_models(session.fallback).values()
        ],
        "trackers": [shown(one) for one in trackers().values()],
        "tracker": session.tracker,
        "usual": session.finder,
    }


def _clip(opened: ClipSession) -> View:
    clip = opened.request.clip
    own = {
        key: getattr(opened, key) for key in ("title", "own", "drawn", "total", "start", "stride")
    }
    return own | {
        "folder": str(opened.folder),
        "count": len(opened.frames),
        "width": clip.size[0],
        "height": clip.size[1],
        "fps": float(clip.fps),
        "most": MAX_FRAMES,
        "strip": str(opened.strip) if opened.strip else "",
        "made": opened.made is not None,
    }


def _whole_masks(session: Session, frames: Iterable[int]) -> View:
    """The masks on the first of these frames, as many as one view holds."""
    changes: View = {}
    left = MAX_RUNS
    for frame in frames:
        if left <= 0 or len(changes) >= MAX_WHOLE:
            break
        changes[str(frame)] = entries = {
            str(label): _masked(session, label, frame)
            for label, layer in session.state.layers.items()
            if frame in layer.keys or frame in layer.track
        }
        left -= sum(len(entry["runs"]) for entry in entries.values())
    return changes


def _lane(session: Session, label: int) -> str:
    """What a region is on each frame, a character each; see `_cell`."""
    count = len(session.opened.frames)
    if session.state.layers[label].rest:
        return "9" * count
    return "".join(_cell(session, label, frame) for frame in range(count))


def _cell(session: Session, label: int, frame: int) -> str:
    """Drawn "k", drawn empty "e", clicked "c"; tracked 0 to 9 (tenths of how sure), not found "-"; or " "."""
    layer = session.state.layers[label]
    key = layer.keys.get(frame)
    if key is None and frame not in layer.track:
        return " "
    masked = session.masked(label, frame)
    if key and key.counts:
        return "e" if not masked else "c" if key.clicked else "k"
    if not masked:
        return " " if key and key.points else "-"
    return str(min(9, max(0, int(10 * layer.score.get(frame, 0.0)))))


def _masked(session: Session, label: int, frame: int) -> View:
    layer = session.state.layers[label]
    key = layer.keys.get(frame)
    return {
        "runs": session.run_lengths(label, frame),
        "points": [[x, y, int(inside)] for x, y, inside in key.points] if key else [],
        "key": key is not None and key.counts,
        "by": title(key.by) if key and key.found else "",
        "score": 1.0 if key and key.counts else round(layer.score.get(frame, 0.0), 3),
    }


def place(field: str) -> str:
    """What the page calls a request's field: `regions.left.prompt` is "Left: Change to"."""
    parts = field.split(".")
    if parts[0] == "regions" and len(parts) > 2:
        name, key = ".".join(parts[1:-1]), parts[-1]
        where = f"{name}: {_KEYS.get(key, key)}"
    elif parts[0] == "params":
        where = ".".join(parts[1:]).replace("_", " ")
    else:
        where = _FIELDS.get(field, parts[0] if parts[0] == "clip" else field)
    return capital(where)


def capital(text: str) -> str:
    """The text with a large first letter."""
    return text[:1].upper() + text[1:]


def sentence(error: EditingError) -> str:
    """An error in one line: what the page calls the field, and what is wrong."""
    return f"{place(error.field)}: {error.message}"


def lost(note: str) -> View:
    """A page that shows what is not there any more."""
    return {"gone": True, "note": note, "alarm": True}


def cards(session: Session, blind: Mapping[str, str] | None = None) -> View:
    """One card per region, uppermost first; `blind` is `Catalogue.blind`, where it may be new."""
    return {
        "id": session.id,
        "have": session.rev,
        **{key: getattr(session, key) for key in ("source_prompt", "prompt", "negative_prompt")},
        "rest": session.state.rest or 0,
        "blind": blind,
        "full": len(session.state.regions) >= MAX_REGIONS,
        "regions": [
            {key: getattr(region, key) for key in _OF_CARD} | {"picture": as_seen(region.picture)}
            for region in session.state.regions.values()
        ],
    }


def prompts(session: Session) -> View:
    """The composed prompts in pieces; a region's own words carry its label and colour."""
    regions = session.state.regions
    return {"prompts": [parts for one in composed(session) if (parts := _pieces(one, regions))]}


def _pieces(composed: Composed, regions: Mapping[int, Region]) -> list[View]:
    text, spans = composed
    parts, done = [], 0
    for (start, stop), label in sorted((span, label) for label, span in spans.items() if span):
        region = regions[label]
        own = {
            "label": label,
            "color": region.color,
            "kept": not (region.prompt.strip() or region.picture),
        }
        parts += [{"text": text[done:start]}, {"text": text[start:stop]} | own]
        done = stop
    return [part for part in (*parts, {"text": text[done:]}) if part["text"]]
