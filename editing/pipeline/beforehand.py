"""What is known of a run before it, while nothing is loaded for it: the size at which it
works, the steps of its tuning, and whether its adapter fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import NamedTuple

from regrain.editing.media.lazy_frames import Size
from regrain.editing.models.adapters import check_facts
from regrain.editing.models.files.configs import (
    TransformerConfig,
    UNetConfig,
    image_factor,
    short_side,
    wan_factor,
    wan_side,
    working_size,
)
from regrain.editing.models.files.facts import UNET, ModelFacts, facts_of
from regrain.editing.models.loading.load import loaded_backbone
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.pipeline.focus import box_sizes, placed_edits
from regrain.editing.pipeline.preparation import tuned_on
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import adapter_facts

_STATE_BYTES = 4 * 4  # weight, gradient and AdamW's two moments, in single precision


@dataclass(frozen=True)
class PlannedTuning:
    """What a tuning takes.

    Attributes:
        steps: Steps to take, without those that are cached.
        taken: Steps that are cached.
        memory: Bytes beside the model's weights; None if unknown.
    """

    steps: int
    taken: int = 0
    memory: int | None = None


def plan_tuning(request: EditRequest, params: TuneAVideoParams) -> PlannedTuning:
    """Return what the tuning of a run takes; only its steps are known before the model
    is loaded.

    Args:
        request: Its clip, size, source prompt, model and LoRAs count.
        params: Parameters of the tuning.

    Raises:
        ModelError: The model is unknown.
    """
    backbone = loaded_backbone(request.model, request.loras, request.prediction)
    if backbone is None:
        return PlannedTuning(params.tune_steps)
    from regrain.editing.methods.tuning import learned_clip, steps_taken
    from regrain.editing.models.unet.temporal import tunable_shapes

    # A clip whose cuts are not known counts as one shot.
    known = params.model_copy(update={"cuts": params.cuts or ()})
    _, edits = placed_edits(backbone, request, known)
    working = learned_clip(backbone, tuned_on(edits).request)
    taken = steps_taken(backbone, working.frames, request.description, params)
    steps = params.tune_steps - taken
    if not steps:
        return PlannedTuning(0, taken, 0)
    memory = None
    activations = backbone.activation_bytes(*working.grid)
    if activations is not None:
        shapes = tunable_shapes(backbone.unet, params.temporal_rank).values()
        state = _STATE_BYTES * sum(prod(shape) for shape in shapes)
        memory = state + activations
    return PlannedTuning(steps, taken, memory)


class WorkingSize(NamedTuple):
    """How a model chooses the size at which it works.

    Attributes:
        side: Pixels of the short side.
        multiple: Of which both sides are multiples, in pixels.
    """

    side: int
    multiple: int

    def fit(self, width: int, height: int) -> Size:
        """Return the working size for frames of this size; see `Backbone.fit`."""
        return working_size((width, height), self.side, self.multiple)


def working_size_of(request: EditRequest) -> WorkingSize | None:
    """Return the working size of a request's model; None if its files are not here.

    Raises:
        EditingError: They cannot be read.
    """
    facts = facts_of(request.model)
    if facts.is_video:
        return _size_of_wan(request, facts)
    if facts.source.kind == "hub" and not (facts.folder / UNET).is_file():
        return None
    return _size_of_unet(request, facts)


def _size_of_wan(request: EditRequest, facts: ModelFacts) -> WorkingSize:
    # of two experts, which are alike
    network = facts.networks[0]
    config = TransformerConfig.model_validate(facts.config(f"{network}/config.json"))
    factor = wan_factor(facts.config("vae/config.json"))
    return WorkingSize(
        side=request.size or wan_side(config.sample_size, factor),
        multiple=factor * config.patch_size[-1],
    )


def _size_of_unet(request: EditRequest, facts: ModelFacts) -> WorkingSize:
    config = UNetConfig.model_validate(facts.config(UNET))
    factor = image_factor(facts.config("vae/config.json"))
    side = request.size or facts.side_with(request.loras)
    if facts.head and not side:
        predicts = facts.scheduler.get("prediction_type", request.prediction)
        side = facts.head.side(predicts)
    return WorkingSize(
        side=side or short_side(config.sample_size or 0) * factor,
        multiple=factor * 2 ** (len(config.block_out_channels) - 1),
    )


def check_known(request: EditRequest) -> None:
    """Check an adapter as far as possible without loading a model.

    Raises:
        ModelError: It is missing, or does not fit the clip or, if that is in memory,
            the model.
    """
    facts = adapter_facts(request)
    backbone = loaded_backbone(request.model, request.loras, request.prediction)
    if facts is not None and backbone is not None:
        fit = partial(backbone.fit, size=request.size)
        for size in box_sizes(request, fit):
            check_facts(facts, backbone, backbone.fit(*size, request.size))
