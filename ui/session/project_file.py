"""The work of a page as a file of its project folder: everything that `Session` has of
one clip.

`project.json` beside it says the same for the command line, as far as that needs it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regrain.editing.errors import RequestError
from regrain.editing.params.registry import METHODS
from regrain.editing.request.boxes import read_focus
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region
from regrain.masks.draw import BrushStroke, Rectangle
from regrain.ui.session.history import Choices
from regrain.ui.session.layers import Key, MaskLayer, Reshape
from regrain.ui.session.mask_models import trackers
from regrain.ui.session.session import Session
from regrain.ui.session.state import State, Undo

VERSION = 1
_STEPS = 20  # that undo and redo keep
PICTURES = "pictures"
_WORDS = ("source_prompt", "prompt", "negative_prompt", "method", "tracker")
Content = dict[str, Any]
Keep = Callable[[bytes | None], str | None]
"""Keeps a packed mask, and returns the name by which `Fetch` gives it back."""
Fetch = Callable[[str | None], bytes | None]


def describe_work(session: Session, keep: Keep) -> Content:
    """Return the content of the file, but for fields, results and clip."""
    state = session.state
    content: Content = {name: getattr(session, name) for name in _WORDS}
    content |= {
        "id": session.id,
        "focus": session.focus,
        "rev": session.rev,
        "found": session.found,
        "shape": list(state.shape),
        "regions": [describe_region(region) for region in state.regions.values()],
        "layers": {
            str(label): _describe_layer(layer, keep)
            for label, layer in state.layers.items()
        },
        "undo": _describe_steps(session.steps, keep),
    }
    return content


def take_work(session: Session, content: Content, folder: Path, fetch: Fetch) -> None:
    """Put the content of a file back into the session of its clip.

    Raises:
        RequestError: It is damaged.
    """
    try:
        regions = [read_region(entry, folder) for entry in content["regions"]]
        layers = {
            int(label): _read_layer(entry, fetch)
            for label, entry in content["layers"].items()
        }
        shape = tuple(content["shape"])
        words = {name: str(content[name]) for name in _WORDS}
        # projects of earlier versions have none
        focus = str(content.get("focus", session.focus))
        read_focus(focus)
        found = content.get("found")
        rev = int(content["rev"])
        undo = content.get("undo")  # older folders have none
        steps = _read_steps(undo, shape, folder, fetch) if undo else Undo()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged() from error
    if shape != session.state.shape or words["method"] not in METHODS:
        raise damaged()
    session.state = State(shape, layers, {region.label: region for region in regions})
    if words["tracker"] not in trackers():  # one of an earlier version, or gone
        words["tracker"] = session.tracker
    for name, value in words.items():
        setattr(session, name, value)
    session.steps = steps
    session.focus = focus
    session.found = None if found is None else tuple(found)
    session.rev = rev
    session.mark(range(shape[0]))


def damaged() -> RequestError:
    """Make the error about a project that the page cannot bring back."""
    return RequestError(
        "project",
        "Its file page.json is damaged. Open the folder's project as a zip file instead.",
    )


def describe_region(region: Region) -> Content:
    """Return a region with its picture by its place in the project folder."""
    content = dataclasses.asdict(region)
    content["picture"] = picture_in(region.picture)
    return content


def picture_in(path: str) -> str:
    """Return the place of a picture in a project folder; empty without one."""
    return f"{PICTURES}/{Path(path).name}" if path else ""


def read_region(content: Content, folder: Path) -> Region:
    """Return the region that `describe_region` described, its picture in `folder`."""
    values = _known(content, Region)
    if values.get("picture"):
        values["picture"] = str(folder / values["picture"])
    return Region(**values)


def describe_choices(choices: Choices) -> Content:
    """Return what a run was asked."""
    edit = dataclasses.asdict(choices.edit)
    edit["picture"] = picture_in(choices.edit.picture)
    edit["params"] = dict(choices.edit.params)
    return {
        "edit": edit,
        "regions": [describe_region(region) for region in choices.regions],
        "clip": choices.clip,
        "prompt": choices.prompt,
    }


def read_choices(content: Content, folder: Path) -> Choices:
    """Return the choices that `describe_choices` described."""
    values = _known(content["edit"], Edit)
    if values.get("picture"):
        values["picture"] = str(folder / values["picture"])
    regions = tuple(read_region(entry, folder) for entry in content["regions"])
    return Choices(Edit(**values), regions, content["clip"], content["prompt"])


def _known(content: Content, owner: type) -> dict[str, Any]:
    """Return the values of a dataclass; lists are tuples there."""
    names = {field.name for field in dataclasses.fields(owner)}
    values = {}
    for name, value in content.items():
        if name in names:
            values[name] = tuple(value) if isinstance(value, list) else value
    return values


def mask_name(packed: bytes) -> str:
    """Return the name of a packed mask: its fingerprint, empty for an empty mask."""
    return hashlib.sha256(packed).hexdigest()[:24] if packed else ""


def _describe_steps(steps: Undo, keep: Keep) -> Content:
    """Return the states before and after the present one; a layer that several of them
    have is there once."""
    layers: list[MaskLayer] = []
    places: dict[int, int] = {}  # by identity

    def place(layer: MaskLayer) -> int:
        if id(layer) not in places:
            places[id(layer)] = len(layers)
            layers.append(layer)
        return places[id(layer)]

    def describe(state: State) -> Content:
        return {
            "regions": [describe_region(region) for region in state.regions.values()],
            "layers": {str(label): place(x) for label, x in state.layers.items()},
        }

    past = [describe(state) for state in steps.past[-_STEPS:]]
    future = [describe(state) for state in steps.future[-_STEPS:]]
    return {
        "past": past,
        "future": future,
        "cut": steps.cut or len(past) < len(steps.past),
        "layers": [_describe_layer(layer, keep) for layer in layers],
    }


def _read_steps(
    content: Content, shape: tuple[int, int, int], folder: Path, fetch: Fetch
) -> Undo:
    layers = [_read_layer(entry, fetch) for entry in content["layers"]]

    def read(states: list[Content]) -> tuple[State, ...]:
        read = []
        for one in states:
            regions = [read_region(entry, folder) for entry in one["regions"]]
            own = {int(label): layers[place] for label, place in one["layers"].items()}
            read.append(State(shape, own, {region.label: region for region in regions}))
        return tuple(read)

    past = read(content["past"])
    return Undo(past, read(content["future"]), bool(content["cut"]))


def _describe_layer(layer: MaskLayer, keep: Keep) -> Content:
    return {
        "keys": {str(at): _describe_key(key, keep) for at, key in layer.keys.items()},
        "track": {str(at): keep(mask) for at, mask in layer.track.items()},
        "score": {str(at): round(score, 4) for at, score in layer.score.items()},
        # what is being followed is to be followed again
        "corrected": sorted(layer.corrected | layer.followed),
        "partial": layer.partial,
        "by": layer.by,
        "rest": layer.rest,
    }


def _read_layer(content: Content, fetch: Fetch) -> MaskLayer:
    return MaskLayer(
        keys={int(at): _read_key(key, fetch) for at, key in content["keys"].items()},
        track=_masks(content["track"], fetch),
        score={int(at): float(score) for at, score in content["score"].items()},
        corrected=frozenset(content["corrected"]),
        partial=bool(content["partial"]),
        by=str(content["by"]),
        rest=bool(content["rest"]),
    )


def _masks(names: Mapping[str, str], fetch: Fetch) -> dict[int, bytes]:
    return {int(at): fetch(name) or b"" for at, name in names.items()}


def _describe_key(key: Key, keep: Keep) -> Content:
    return {
        "points": [list(point) for point in key.points],
        "edits": [_describe_edit(edit) for edit in key.edits],
        "found": keep(key.found),
        "by": key.by,
        "box": key.box,
    }


def _read_key(content: Content, fetch: Fetch) -> Key:
    points = tuple((x, y, bool(inside)) for x, y, inside in content["points"])
    box = content["box"]
    return Key(
        points=points,
        edits=tuple(_read_edit(edit) for edit in content["edits"]),
        found=fetch(content["found"]),
        by=content["by"],
        box=None if box is None else tuple(box),
    )


def _describe_edit(edit: BrushStroke | Rectangle | Reshape) -> Content:
    return {"tool": type(edit).__name__, **dataclasses.asdict(edit)}


def _read_edit(content: Content) -> BrushStroke | Rectangle | Reshape:
    values = {name: value for name, value in content.items() if name != "tool"}
    match content["tool"]:
        case "BrushStroke":
            values["points"] = tuple((x, y) for x, y in values["points"])
            return BrushStroke(**values)
        case "Rectangle":
            x0, y0, x1, y1 = values.pop("corners")
            return Rectangle((x0, y0, x1, y1), **values)
        case "Reshape":
            return Reshape(**values)
    raise ValueError(content["tool"])
