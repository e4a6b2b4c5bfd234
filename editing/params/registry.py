"""The methods, one record each; a method's code is imported when it first runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from regrain.editing.errors import (
    ModelError,
    RequestError,
    from_validation,
    shorten,
    suggest,
)
from regrain.editing.media.lazy_frames import Texts
from regrain.editing.params.base import MethodParams
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.params.flow_regions import FlowRegionsParams
from regrain.editing.params.fresco import FrescoParams
from regrain.editing.params.infedit import InfEditParams
from regrain.editing.params.instruct_pix2pix import InstructPix2PixParams
from regrain.editing.params.sdedit import SDEditParams
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.params.vace import VaceParams
from regrain.editing.params.vid2vid_zero import Vid2VidZeroParams
from regrain.editing.params.videograin import VideoGrainParams
from regrain.editing.storage.texts import Content, Values

log = logging.getLogger(__name__)
Resolved = dict[str, Content]

OFFERS: Mapping[str, str] = {
    "inversion": "noise levels that can be inverted",
    "image_unet": "a UNet for single images",
    "flow": "the model Wan 2.1 or 2.2",
    "vace": "the control blocks of VACE",
    "first_frame": "a place for a first frame, as Wan 2.2 5B has",
    "source": "a view of the source, as InstructPix2Pix has",
    "features": "features that can be taken from the source",
    "control": "control networks",
}
"""Features that a model may offer and a method may need, as named in errors."""
CHANGES: Mapping[str, str] = {
    "kind": "A thing’s kind",
    "colour": "Its colour or cloth",
    "look": "The whole look",
    "picture": "Like a picture",
    "shape": "Shape, like a new thing",
}
"""What an edit may change, as shown to users."""
SUPPORTED = "a Stable Diffusion 1.x, 2.x or XL model, or Wan 2.1 or 2.2"


@dataclass(frozen=True)
class Method:
    """One way to edit.

    Attributes:
        name: As written in project.json.
        title: As shown to users.
        paper: Where it comes from.
        does: What it does, in a sentence for users.
        Params: Its parameters.
        needs: What the request has (regions, or masks if they are optional,
            source_prompt, and seed if it always acts) and the model must offer (keys of
            `OFFERS`). Of single parameters: `Params.NEEDS`.
        stages: Stages of a window, in order, tuning before them. The runner adds
            loading and measuring.
        entry: `module:function` of the recipe, a generator of events; by default `run`
            of its own module.
        several: Whether one run can make several edits, one per prompt.
        anchors: Frames of earlier windows that a window needs: 2, or 0 if frames are
            edited alone.
        setup: `module:function` of a generator of events that runs once before the
            windows of a clip and returns the model to edit with; empty for none.
        changes: What it changes well (keys of `CHANGES`), the best first.
        sees_pictures: Whether it sees pictures by itself, without a picture adapter.
    """

    name: str
    title: str
    paper: str
    Params: type[MethodParams]
    needs: frozenset[str]
    stages: Texts = ("inverting", "editing", "decoding")
    entry: str = ""
    several: bool = False
    anchors: int = 2
    setup: str = ""
    does: str = ""
    changes: Texts = ()
    sees_pictures: bool = False

    @property
    def run(self) -> Callable[..., Iterator[Any]]:
        """The recipe `(backbone, request, params, window)`; imports it, and torch with
        it."""
        return _imported(self.entry or f"regrain.editing.methods.{self.name}:run")

    @property
    def prepare(self) -> Callable[..., Generator[Any, None, Any]] | None:
        """The setup `(backbone, request, params)`, if there is one; imports it, and
        torch with it."""
        return _imported(self.setup) if self.setup else None


def add_methods(methods: dict[str, Method]) -> None:
    """Add the methods of other packages; one that cannot be used is logged in one line
    and left out."""
    for point in entry_points(group="regrain.methods"):  # each is a `Method`
        problem = ""
        try:
            method = point.load()
        except Exception as error:  # anything can be wrong in another package
            problem = f"cannot be imported ({type(error).__name__}: {error})"
        else:
            if not isinstance(method, Method):
                problem = "is not a regrain.Method"
            elif method.name in methods:
                problem = f"has a name that is taken, {method.name}"
            else:
                methods[method.name] = method
        if problem:
            log.warning(
                "method %s of %s %s; it is left out",
                point.name,
                point.value,
                shorten(problem),
            )


def _imported(entry: str) -> Any:
    module, function = entry.split(":")
    return getattr(import_module(module), function)


BY_WORDS = frozenset({"masks", "source_prompt", "inversion", "image_unet"})
"""Needs of an edit by two prompts that inverts; regions are optional."""
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="videograin",
            title="VideoGrain",
            paper="Yang et al. 2025, arXiv:2502.17258",
            does="Edits each region with its own words, all in one run.",
            Params=VideoGrainParams,
            changes=("kind", "picture"),
            needs=frozenset({"regions", "inversion", "image_unet"}),
        ),
        Method(
            name="fatezero",
            title="FateZero",
            paper="Qi et al. 2023, arXiv:2303.09535",
            does="Takes over the attention of the source: shapes and motion stay, looks change.",
            Params=FateZeroParams,
            changes=("look", "colour"),
            needs=BY_WORDS,
            several=True,
        ),
        Method(
            name="vid2vid_zero",
            title="vid2vid-zero",
            paper="Wang et al. 2023, arXiv:2303.17599",
            does="Swaps words while the source runs along, and looks across all frames for steadiness.",
            Params=Vid2VidZeroParams,
            changes=("kind", "look"),
            needs=BY_WORDS,
            several=True,
        ),
        Method(
            name="tune_a_video",
            title="Tune-A-Video",
            paper="Wu et al. 2022, arXiv:2212.11565",
            does="First tunes the model on this clip, which takes minutes; then other words move like it.",
            Params=TuneAVideoParams,
            changes=("shape", "look"),
            needs=BY_WORDS,
            stages=("tuning", "inverting", "editing", "decoding"),
            several=True,
            setup="regrain.editing.methods.tune_a_video:prepare",
        ),
        Method(
            name="fresco",
            title="FRESCO",
            paper="Yang et al. 2024, arXiv:2403.12962",
            does="Redraws the frames, held together along the motion between them.",
            Params=FrescoParams,
            changes=("look",),
            needs=frozenset({"masks", "seed", "image_unet"}),
            stages=("editing", "decoding"),
        ),
        Method(
            name="sdedit",
            title="SDEdit",
            paper="Meng et al. 2022, arXiv:2108.01073",
            does="Redraws each frame from a noisy copy; the noise says how much may change.",
            Params=SDEditParams,
            changes=("look",),
            needs=frozenset({"masks", "seed", "image_unet"}),
            stages=("editing", "decoding"),
            several=True,
            anchors=0,
        ),
        Method(
            name="infedit",
            title="InfEdit",
            paper="Xu et al. 2024, arXiv:2312.04965",
            does="Swaps words in few steps, without inverting the clip first.",
            Params=InfEditParams,
            changes=("kind", "colour"),
            needs=frozenset({"masks", "source_prompt", "seed", "image_unet"}),
            stages=("editing", "decoding"),
        ),
        Method(
            name="instruct_pix2pix",
            title="InstructPix2Pix",
            paper="Brooks et al. 2023, arXiv:2211.09800",
            does="Draws anew by a model that sees the source: where each thing stands, how it moves.",
            Params=InstructPix2PixParams,
            changes=("kind", "look", "colour"),
            needs=frozenset({"masks", "seed", "image_unet", "source"}),
            stages=("editing", "decoding"),
            several=True,
        ),
        Method(
            name="flow_regions",
            title="Flow with regions",
            paper="Kulikov et al. 2024, arXiv:2412.08629",
            does="Leads the clip from one description to another, straight along a video model's flow.",
            Params=FlowRegionsParams,
            changes=("kind", "shape"),
            needs=frozenset({"masks", "source_prompt", "seed", "flow"}),
            stages=("editing", "decoding"),
            anchors=0,
        ),
        Method(
            name="vace",
            title="VACE",
            paper="Jiang et al. 2025, arXiv:2503.07598",
            does="Draws what masks cover anew, by words and pictures; shape and motion may change freely.",
            Params=VaceParams,
            changes=("shape", "picture", "kind"),
            needs=frozenset({"masks", "seed", "flow", "vace"}),
            stages=("editing", "decoding"),
            anchors=0,
            sees_pictures=True,
        ),
    )
}
add_methods(METHODS)


def find_method(name: str) -> Method:
    """Look a method up by name; RequestError if none has it."""
    if name not in METHODS:
        raise RequestError(
            "method", f"{shorten(name)} was not found. {suggest(str(name), METHODS)}"
        )
    return METHODS[name]


def check_params(method: str, given: Values) -> MethodParams:
    """Validate parameters and fill in the method's defaults.

    Raises:
        RequestError: Unknown method or parameter, or a value out of range; the field is
            `params.NAME`.
    """
    record = find_method(method)
    if not isinstance(given, Mapping):
        raise RequestError(
            "params", f"Expected an object of names and values, got {shorten(given)}."
        )
    try:
        return record.Params.model_validate(dict(given))
    except ValidationError as error:
        raise from_validation(error, record.Params, "params.") from None


def check_needs(
    method: str,
    values: Values,
    offers: Collection[str],
    model: str,
    kind: str = "",
) -> None:
    """Check that a model offers everything that the method and these parameters need.

    `values` are parameters by name; one that is 0 or empty needs nothing. `offers` are
    keys of `OFFERS`; none if such a model is not supported at all.

    Raises:
        ModelError: It does not; the field is `model`, or `params.NAME` if one parameter
            needs more.
    """
    record = find_method(method)
    shown = shorten(model)
    if not offers:
        which = f"{shown} is {kind}" if kind else shown
        raise ModelError("model", f"{which}, which is not supported. Use {SUPPORTED}.")
    needed = record.needs - set(offers)
    lacking = [title for offer, title in OFFERS.items() if offer in needed]
    if lacking:
        which = f"{shown} ({kind})" if kind else shown
        raise ModelError(
            "model",
            f"“{record.title}” needs {' and '.join(lacking)}, not {which}. "
            f"{_instead(offers)}",
        )
    for name, need in record.Params.NEEDS.items():
        if values.get(name) and need not in offers:
            raise ModelError(
                f"params.{name}",
                f"{shown} does not have {OFFERS[need]}. Remove it or use another model.",
            )


_NAMED = 3  # methods in an error


def _instead(offers: Collection[str]) -> str:
    """Name the methods that a model with these offers can be used with, first those
    that take most of them."""
    fitting = []
    for name, record in METHODS.items():
        if not (record.needs & set(OFFERS)) - set(offers):
            fitting.append(name)
    fitting.sort(key=lambda name: -len(METHODS[name].needs & {*offers}))
    if not fitting:
        return "Use another model or method."
    *some, last = fitting[:_NAMED]
    named = f"{', '.join(some)} or {last}" if some else last
    return f"Use {named}, or another model."


def resolve_params(
    method: str, given: Values, recommended: Values
) -> tuple[MethodParams, Resolved]:
    """Decide every parameter: method default < recommendation of the model < named
    preset < given.

    A `preset` among the user's values sets all other parameters to that preset's.

    Returns:
        The parameters; and of each the value and its source: method, model, preset or
        given.

    Raises:
        RequestError: A given name or value is not allowed, alone or with the others.
        ModelError: A recommended name or value is not allowed.
    """
    defaults = check_params(method, {}).model_dump()
    check_params(method, given)
    try:
        check_params(method, recommended)
    except RequestError as error:
        raise ModelError(
            "defaults.json", f"{error} Correct the model's recommendations."
        ) from None
    preset: Values = {}
    if "preset" in given:
        presets = find_method(method).Params.PRESETS
        preset = {**defaults, **presets[str(given["preset"])]}
    layers = {
        "method": defaults,
        "model": recommended,
        "preset": preset,
        "given": given,
    }
    resolved: Resolved = {}
    for source, layer in layers.items():
        for name, value in layer.items():
            resolved[name] = {"value": value, "source": source}
    params = check_params(
        method, {name: entry["value"] for name, entry in resolved.items()}
    )
    params.check_together()
    plain = params.model_dump()
    for name, entry in resolved.items():
        # A list given for a parameter that is written as a text is told as that text.
        if not isinstance(entry["value"], str | int | float | None):
            entry["value"] = plain[name]
    return params, resolved
