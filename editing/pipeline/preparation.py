"""Prepare a run: check what can be checked without the model, load it, and decide the
parameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from regrain.editing.errors import ModelError, RequestError, shorten
from regrain.editing.models.adapters import (
    AdapterFacts,
    check_fits,
    find_adapter,
    is_of_clip,
    load_adapter,
)
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import parse_lora
from regrain.editing.models.files.words import check_words
from regrain.editing.params.base import MethodParams
from regrain.editing.params.registry import (
    OFFERS,
    Resolved,
    check_needs,
    resolve_params,
)
from regrain.editing.pipeline.clocks import RunClock
from regrain.editing.pipeline.focus import (
    Placed,
    find_cuts,
    focus_warnings,
    placed_edits,
)
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.request.boxes import read_focus
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import adapter_facts
from regrain.editing.request.usual import picture_doubts, reference_doubts
from regrain.editing.storage.memory import reset_peak
from regrain.editing.verdict.crop_reader import CropReader

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures


class PreparedRun(NamedTuple):
    """A model, ready for a run of a request.

    Attributes:
        backbone: The model, with the adapters of the request.
        resolved: Value and source of each parameter of its method.
        adapter: Facts about its tuned adapter; None without one.
        pictures: Its pictures as the model sees them; None without any.
        request: For the whole frame, with the margins of the edits.
        edits: What is edited, and where.
        warnings: What a user should know about adapter, pictures and boxes.
    """

    backbone: Backbone
    resolved: Resolved
    adapter: AdapterFacts | None
    pictures: Pictures | None
    request: EditRequest
    edits: Sequence[Placed]
    warnings: Sequence[str]


def prepare_run(
    request: EditRequest, backbone: Backbone | None, clock: RunClock
) -> Steps[PreparedRun]:
    """Load the model of a request, unless one is given, and decide the parameters;
    yields the stage.

    Raises:
        EditingError: The model is missing, or does not fit the request.
    """
    adapter = adapter_facts(request)
    if request.reader:
        CropReader(request.reader).check()  # before anything is edited
    if backbone is None:
        _check_model(request)
    # words that a small model does not know are refused before loading it
    words = backbone.words if backbone else facts_of(request.model).words
    for field, text in request.texts():
        check_words(words, text, field)
    clock.enter("loading")
    yield Stage("loading")
    if backbone is None:
        from regrain.editing.models.loading.load import load_backbone

        backbone = load_backbone(
            request.model, request.loras, prediction=request.prediction
        )
    _check_loras(request, backbone)
    _check_addons(request, backbone.offers, backbone.id)
    if request.motion:
        from regrain.editing.models.unet.motion_modules import load_motion, moving

        motion = parse_lora(request.motion, "motion", 0.0)
        adds = load_motion(motion.model, backbone)
        backbone = moving(backbone, adds, motion.weight)
    clock.device = backbone.device
    reset_peak(backbone.device)
    recommended = backbone.defaults.get(request.method, {})
    params, resolved = resolve_params(request.method, request.params, recommended)
    if recommended:  # which may say what is drawn anew of a region
        request = replace(request, params=params.model_dump())
    check_needs(
        request.method,
        params.model_dump(),
        backbone.offers,
        backbone.id,
        backbone.few_step,
    )
    fields, texts = zip(*request.texts(), strict=True)
    backbone.check_prompts(texts, fields)
    pictures = _seen_pictures(request, backbone, params)
    # Boxes depend on cuts, which are looked for.
    has_boxes = read_focus(request.focus).kind != "off" and request.edited
    if has_boxes and params.cuts is None:
        cuts = yield from find_cuts(request.clip)
        params = params.model_copy(update={"cuts": cuts})
    request, edits = placed_edits(backbone, request, params)
    warnings: list[str] = []
    if adapter:
        backbone, warnings = use_adapter(backbone, tuned_on(edits).request)
    if pictures:
        warnings += pictures.warnings
    warnings += focus_warnings(request, edits)
    warnings += picture_doubts(request.asked, request.regions)
    warnings += reference_doubts(request)
    return PreparedRun(
        backbone,
        resolved,
        adapter,
        pictures,
        request,
        edits,
        warnings,
    )


def _seen_pictures(
    request: EditRequest, backbone: Backbone, params: MethodParams
) -> Pictures | None:
    """Load the pictures of a request as its adapter sees them; None if it has none, or
    its method sees them by itself."""
    asked = list(request.pictures)
    if not asked or request.sees_by_itself:
        return None
    from regrain.editing.models.pictures.adapter import load_pictures

    adapter = request.picture_adapter
    return load_pictures(adapter, asked, backbone)


def tuned_on(edits: Sequence[Placed]) -> Placed:
    """Return the edit whose clip, or boxes, a model is tuned on.

    Raises:
        RequestError: There are boxes of several regions.
    """
    if len(edits) > 1:
        raise RequestError(
            "focus",
            "A model is tuned on one clip, but each region has a box of its own. "
            "Set focus to on, or give a box.",
        )
    return edits[0]


def use_adapter(backbone: Backbone, request: EditRequest) -> tuple[Backbone, list[str]]:
    """Return a view of a model with the adapter of a request, and warnings; ModelError
    if it does not fit."""
    from regrain.editing.methods.tuning import learned_clip
    from regrain.editing.models.unet.temporal import tunable_shapes
    from regrain.editing.models.unet.tuned import tuned

    adapter = load_adapter(find_adapter(request.adapter))
    shapes = tunable_shapes(backbone.unet, adapter.facts.rank)
    size = backbone.fit(*request.clip.size, request.size)
    check_fits(adapter, backbone, shapes, size)
    warnings = []
    frames = learned_clip(backbone, request).frames
    if not is_of_clip(adapter.facts, frames):
        warnings.append("The adapter was tuned on another clip or other frames of it.")
    return tuned(backbone, adapter), warnings


def _check_model(request: EditRequest) -> None:
    """Refuse a model that the method cannot use before loading it, if its configuration
    is present, and parameters that do not fit together."""
    facts = facts_of(request.model)
    family = facts.family_with(request.loras)
    if family:
        check_needs(
            request.method, request.params, family.offers, request.model, family.title
        )
        _check_addons(request, family.offers, request.model)
    if facts.source.kind != "hub":
        usual = facts.recommended(request.loras)
        resolve_params(request.method, request.params, usual.get(request.method, {}))


def _check_loras(request: EditRequest, backbone: Backbone) -> None:
    """Refuse a model that was given without what the request adds to it."""
    for lora in request.loras:
        if lora not in backbone.loras:
            raise ModelError(
                "loras",
                f"The model given was loaded without {shorten(lora)}. Give "
                "load_backbone the request's loras, too, or give no model.",
            )


def _check_addons(request: EditRequest, offers: Collection[str], model: str) -> None:
    """Refuse adapters for image models where the model is none."""
    if "image_unet" in offers:
        return
    for field, adapter in (("motion", request.motion), ("adapter", request.adapter)):
        if adapter:
            raise ModelError(
                field,
                f"It is made for {OFFERS['image_unet']}, which {shorten(model)} does "
                "not have. Remove it or use another model.",
            )
