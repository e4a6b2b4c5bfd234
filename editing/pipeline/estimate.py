"""What can be said before a run, loading nothing: how long it takes, what fits, how much memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regrain.editing.errors import ModelError
from regrain.editing.models.adapters import check_facts
from regrain.editing.models.files.configs import (
    WAN_SIZE,
    TransformerConfig,
    UNetConfig,
    read_config,
)
from regrain.editing.models.files.location import ModelLocation, find
from regrain.editing.models.files.offers import family_of
from regrain.editing.models.loading.load import loaded_backbone
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.params.registry import check_params, find_method
from regrain.editing.params.written import KeyChoice
from regrain.editing.request.runnable import adapter_facts
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.memory import (
    FRAMES_AT_ONCE,
    MOST_WINDOW,
    autoencoder_bytes,
    call_bytes,
    count_weights,
    free_memory,
    weights_dtype,
)

if TYPE_CHECKING:
    import numpy as np

    from regrain.editing.models.backbone import Backbone
    from regrain.editing.params.tune_a_video import TuneAVideoParams
    from regrain.editing.request.edit_request import EditRequest

_STEP = 3.3  # passes that a tuning step takes, forward and backward
_CONTROLLED = 1.5  # times as much where a control network looks at each frame, too: half a UNet
_RECOMPUTED = 1.0  # one more where activations are recomputed
# Operations of one pass, by weight and latent cell, counted without attention between frames: 0.29 of the
# built-in model, 0.18 of Stable Diffusion 1.5. Of decoding and measuring, by pixel of the clip.
_PER_WEIGHT, _PER_PIXEL = 0.2, 25_000
_PREVIEW_PASSES = 2 * 8  # both halves of guidance, at as many steps as a preview has
_STATE_BYTES = 4 * 4  # weight, gradient and AdamW's two moments, in single precision
_QUICK, _TRIES = (
    1.0,
    2,
)  # seconds; a clip that takes less is timed whole, since the first call is slow

_seconds: dict[tuple[object, ...], float] = {}


@dataclass(frozen=True)
class Estimate:
    """What a tuning takes.

    Attributes:
        steps: Steps to take; those that are cached are not among them.
        taken: Steps that are cached.
        seconds: Until the tuning is done; None if unknown.
        memory: Bytes beside the model's weights; None if unknown.
    """

    steps: int
    taken: int = 0
    seconds: float | None = None
    memory: int | None = None


def estimate_tuning(
    request: EditRequest, params: TuneAVideoParams, measure: bool = True
) -> Estimate:
    """Estimate what the tuning of a run takes; only its steps are known before the model is loaded.

    Of the request, clip, size, source prompt, model and LoRAs count. If it may `measure`, the model is timed,
    which takes it one call; else only known times count. An unknown model is a ModelError.
    """
    backbone = loaded_backbone(request.model, request.loras)
    if backbone is None:
        return Estimate(params.tune_steps)
    from regrain.editing.methods.tuning import learned_clip, steps_taken

    working = learned_clip(backbone, request)
    taken = steps_taken(backbone, working.frames, request.source_prompt, params)
    steps = params.tune_steps - taken
    if not steps:
        return Estimate(0, taken, 0.0, 0)
    frames, height, width = working.grid
    kept = backbone.activations_fit(frames, height, width)
    one = _seconds_per_pass(backbone, working.frames, measure)
    passes = (
        steps * (_STEP if kept else _STEP + _RECOMPUTED)
        + _previews(taken, params) * _PREVIEW_PASSES
    )
    state = _STATE_BYTES * sum(map(prod, backbone.tunable_shapes(params.temporal_rank).values()))
    return Estimate(
        steps,
        taken,
        None if one is None else one * passes,
        state + backbone.activation_bytes(frames, height, width) if kept else None,
    )


def frame_passes(request: EditRequest, tuned: bool = False) -> float:
    """How often a run passes a frame through the model, as far as that is known without model and cache.

    `tuned` leaves the tuning out, if there is one.
    """
    method, params = find_method(request.method), check_params(request.method, request.params)
    inverts = "inversion" in method.needs
    branches = (1 if inverts else 0) + 2 * len(
        request.targets
    )  # source; each edit with and without words
    # Where an edit begins in the middle of the schedule, only `strength` of it is run.
    passes = params.steps * getattr(params, "strength", 1.0) * (branches + (1 if inverts else 0))
    passes += getattr(params, "steps_again", 0) * branches
    passes *= 2 * getattr(params, "averages", 0.5)  # of each noise, the source and the edit
    passes *= _CONTROLLED if getattr(params, "control", ()) else 1.0
    if method.setup and not (tuned or request.adapter):
        passes += getattr(params, "tune_steps", 0) * (_STEP + _RECOMPUTED)
    return float(passes * _edited(params.keyframes, len(request.clip)))


def _edited(choice: KeyChoice, frames: int) -> int:
    """How many frames are key frames; about as many where they are chosen by how much changes."""
    if choice.frames:
        return len({0, *choice.frames, frames - 1})
    apart = choice.every or (choice.least + choice.most) / 2
    return min(frames, ceil((frames - 1) / apart) + 1)


def work(request: EditRequest) -> float | None:
    """Operations of a run without tuning, roughly: what two runs take on a machine is in their proportion.

    Every parameter of the request counts as it is. None if the model's files are not here; an EditingError if
    they cannot be read, or a parameter is wrong.
    """
    if (sizes := _sizes(request)) is None:
        return None
    width, height = request.clip.size
    one = _PER_WEIGHT * sizes.numbers * sizes.pixels // sizes.factor**2
    return frame_passes(request, tuned=True) * one + _PER_PIXEL * len(request.clip) * width * height


def counted(request: EditRequest, itemsize: int = 0) -> tuple[int, int] | None:
    """Short side at which a run edits, and bytes of its weights and its largest call.

    Counted by the rules of `editing.storage.memory` from the model's files, with numbers of `itemsize` bytes
    in UNet and text encoders, 0 for what this machine takes; neither tuning nor what else a method keeps.
    None and errors as for `work`.
    """
    if (sizes := _sizes(request)) is None:
        return None
    method, params = find_method(request.method), check_params(request.method, request.params)
    window = getattr(params, "frames_at_once", 0) or getattr(params, "window", 0) or MOST_WINDOW
    frames = min(len(request.clip), window)
    rows = 2 + 2 * len(request.targets) if method.several else 2
    itemsize = itemsize or _itemsize(sizes.numbers)
    whole = itemsize * sizes.numbers + (4 - itemsize) * count_weights(sizes.weights / "vae")
    rows = frames * rows if sizes.frames_per_latent == 1 else 1 + frames // sizes.frames_per_latent
    call = call_bytes(rows, sizes.pixels // sizes.factor**2, sizes.channels, itemsize)
    kept, read = 0, 0  # of what sees pictures: an encoder is gone before the first call
    if any(request.pictures):
        try:
            kept, read = PictureFile(request.picture_adapter, sizes.cross, fetch=False).weights()
        except ModelError:
            return None
    most = max(call, autoencoder_bytes(min(frames, FRAMES_AT_ONCE), sizes.pixels), itemsize * read)
    return sizes.side, whole + itemsize * kept + most


class _Sizes(NamedTuple):
    """Of a model and of the frames it works on; `clip` is the (width, height) of these in their file."""

    clip: tuple[int, int]
    weights: Path  # its files
    numbers: int  # in them
    factor: int  # pixels of a latent cell's side
    channels: int  # as in `halves_fit`
    side: int  # pixels of the short side
    cross: int = 0  # numbers of a token of the text
    frames_per_latent: int = 1

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.side**2 * max(self.clip) // min(self.clip)


def _sizes(request: EditRequest) -> _Sizes | None:
    source, clip = find(request.model), request.clip.size
    place = configurations(source)
    if place is None:
        return None
    weights = place if source.kind == "hub" else Path(source.location)
    vae = read_config(place / "vae" / "config.json", request.model)
    transformer = place / "transformer" / "config.json"
    if transformer.is_file():  # Wan; its text encoder leaves before the rest works
        wan = TransformerConfig.model_validate(read_config(transformer, request.model))
        stages = vae.get("temperal_downsample", (False, True, True))
        factor = 2 ** len(stages)
        side = request.size or (wan.sample_size * factor if wan.sample_size else WAN_SIZE)
        channels = max(
            1, wan.num_attention_heads * wan.attention_head_dim // wan.patch_size[-1] ** 2
        )
        numbers = sum(count_weights(weights / part) for part in ("transformer", "vae"))
        return _Sizes(
            clip, weights, numbers, factor, channels, side, frames_per_latent=2 ** sum(stages)
        )
    unet = read_config(place / "unet" / "config.json", request.model)
    known = UNetConfig.model_validate(unet)
    kinds = known.down_block_types or ["CrossAttnDownBlock2D"]
    level = next((level for level, kind in enumerate(kinds) if "Attn" in kind), 0)
    factor = 2 ** (len(vae.get("block_out_channels") or vae["encoder_block_out_channels"]) - 1)
    channels = max(1, known.block_out_channels[level] // 4**level)
    side, cross = (
        request.size or (known.sample_size or 0) * factor,
        int(unet.get("cross_attention_dim") or 0),
    )
    return _Sizes(clip, weights, count_weights(weights), factor, channels, side, cross)


def _itemsize(numbers: int) -> int:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return weights_dtype(device, numbers, free_memory(device)).itemsize


def configurations(source: ModelLocation) -> Path | None:
    """A folder with the configurations of a model; of a single file, those of its family."""
    if source.kind == "hub":
        from huggingface_hub import try_to_load_from_cache

        names = (f"{part}/config.json" for part in ("unet", "transformer"))
        found = (try_to_load_from_cache(source.location, name) for name in names)
        return next((Path(name).parents[1] for name in found if isinstance(name, str)), None)
    if source.kind == "folder":
        return Path(source.location)
    family = family_of(source)
    return ASSETS / "checkpoints" / ("sdxl" if family and family.title == "SDXL" else "sd1")


def check_known(request: EditRequest) -> None:
    """Refuse an adapter by a ModelError if it is missing or, as far as its header says, does not fit the clip
    or, if that is in memory, the model, which is not loaded for it.
    """
    facts = adapter_facts(request)
    backbone = loaded_backbone(request.model, request.loras)
    if facts is not None and backbone is not None:
        check_facts(facts, backbone, backbone.fit(*request.clip.size, request.size))


def _previews(taken: int, params: TuneAVideoParams) -> int:
    every = params.tune_preview_every
    return sum(step % every == 0 for step in range(taken, params.tune_steps + 1)) if every else 0


def _seconds_per_pass(backbone: Backbone, frames: np.ndarray, measure: bool) -> float | None:
    """Seconds of a bare call of the model for a clip, timed once per model and size.

    A single frame is timed, so that this takes long nowhere; only where that is quick, all of them.
    """
    key = (backbone.fingerprint, *frames.shape)
    if key not in _seconds and measure:
        found = len(frames) * _timed(_bare_call(backbone, frames[:1]))
        if found < _QUICK:
            call = _bare_call(backbone, frames)
            found = min(_timed(call) for _ in range(_TRIES))
        _seconds[key] = found
    return _seconds.get(key)


def _bare_call(backbone: Backbone, frames: np.ndarray) -> Callable[[], Any]:
    import torch

    with torch.no_grad():
        x, text = backbone.encode(frames), backbone.embed([""])
    step = backbone.schedule.sampling(1)[0]

    def call() -> None:
        with torch.no_grad():
            x0, _ = backbone.predict(x, step, text)
            x0.sum().item()  # waits for the device

    return call


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
