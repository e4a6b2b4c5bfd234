"""The work of a page as a file of its project folder: everything that `Session` has of
one clip.

`project.json` beside it says the same for the command line, as far as that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from regrain.editing.errors import RequestError, shorten
from regrain.editing.params.registry import METHODS
from regrain.editing.request.boxes import read_focus
from regrain.masks.models.finders import usual_tracker
from regrain.ui.session.session import Session, Words
from regrain.ui.values.kept import MASKS, Content, KeptRegions, MaskFiles, damaged
from regrain.ui.values.layers import KeptLayer, MaskLayer
from regrain.ui.values.mask_models import trackers
from regrain.ui.values.state import Shape, State, Undo

_STEPS = 20  # that undo and redo keep


@dataclass(frozen=True)
class _State:
    """A state of undo; its layers are numbers of those of all states."""

    regions: KeptRegions
    layers: Mapping[int, int]


@dataclass(frozen=True)
class _Steps:
    """The states before and after the present one; a layer that several of them have
    is there once."""

    past: tuple[_State, ...]
    future: tuple[_State, ...]
    cut: bool
    layers: tuple[KeptLayer, ...]


@dataclass(eq=False, kw_only=True)
class _Work(Words):
    """The work, without fields, clip and results."""

    id: str
    rev: int
    found: tuple[int, ...] | None = None
    shape: Shape
    regions: KeptRegions
    layers: Mapping[int, KeptLayer]
    undo: _Steps | None = None  # older folders have none


_WORK = TypeAdapter(_Work)


def describe_work(session: Session, masks: MaskFiles) -> Content:
    """Return the content of the file, but for fields, results and clip."""
    state = session.state
    work = _Work(
        **session.words,
        id=session.id,
        rev=session.rev,
        found=session.found,
        shape=state.shape,
        regions=tuple(state.regions.values()),
        layers=state.layers,
        undo=_steps(session.steps),
    )
    return _WORK.dump_python(work, mode="json", context=masks)


def take_work(session: Session, content: Content, masks: MaskFiles) -> None:
    """Put the content of a file back into the session of its clip.

    Raises:
        RequestError: It is damaged.
    """
    try:
        # projects of earlier versions have none
        content = {"focus": session.focus, **content}
        work = _WORK.validate_python(content, context=masks)
        read_focus(work.focus)
        steps = _undo(work.undo, work.shape) if work.undo else Undo()
    except OSError as error:
        lost = Path(error.filename).name
        raise RequestError(
            "project",
            f"{shorten(f'{MASKS}/{lost}')} is missing from its folder. Put it back, from a "
            "copy of the project.",
        ) from error
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        raise damaged() from error
    if work.shape != session.state.shape or work.method not in METHODS:
        raise damaged()
    session.state = _state(work.shape, work.layers, work.regions)
    vars(session).update(work.words)
    if session.tracker not in trackers():  # one of an earlier version, or gone
        session.tracker = usual_tracker(session.opened.drawn)
    session.steps = steps
    session.found = work.found
    session.rev = work.rev
    session.mark(range(work.shape[0]))


def _state(
    shape: Shape,
    layers: Mapping[int, MaskLayer],
    regions: KeptRegions,
) -> State:
    return State(shape, layers, {region.label: region for region in regions})


def _steps(steps: Undo) -> _Steps:
    known: dict[int, tuple[int, MaskLayer]] = {}  # by identity

    def kept(state: State) -> _State:
        numbers = {}
        for label, layer in state.layers.items():
            numbers[label], _ = known.setdefault(id(layer), (len(known), layer))
        return _State(tuple(state.regions.values()), numbers)

    past = tuple(map(kept, steps.past[-_STEPS:]))
    future = tuple(map(kept, steps.future[-_STEPS:]))
    layers = tuple(layer for _, layer in known.values())
    return _Steps(past, future, steps.cut or len(past) < len(steps.past), layers)


def _undo(steps: _Steps, shape: Shape) -> Undo:
    def state(kept: _State) -> State:
        layers = {label: steps.layers[number] for label, number in kept.layers.items()}
        return _state(shape, layers, kept.regions)

    return Undo(
        tuple(map(state, steps.past)), tuple(map(state, steps.future)), steps.cut
    )
