"""Tune a model on one clip: a few weights learn to denoise it (Tune-A-Video,
arXiv:2212.11565, Sec. 4.2).

Each step noises the clip to one level, the same for all frames, and takes an AdamW step
on the weights of `editing.models.unet.temporal`. Level and noise of a step depend on
the seed and the step's number alone, so a tuning of 300 steps is the beginning of one
of 500: versions on the way are cached, a tuning that was stopped goes on where it was,
and no request tunes twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float32

from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import frames_seen, over_frames
from regrain.editing.attention.layers import AttentionFn
from regrain.editing.diffusion.schedule import (
    FrameLatents,
    Schedule,
    Step,
    add_noise,
    advance,
    combine,
    generator,
    own_noise,
)
from regrain.editing.errors import DivergedError
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.models.adapters import (
    Adapter,
    AdapterFacts,
    clip_sketch,
    learned_frames,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.unet.temporal import untuned, with_weights
from regrain.editing.models.unet.tuned import tuned
from regrain.editing.params.tune_a_video import TuneAVideoParams
from regrain.editing.recipe.events import Event, Losses, Preview, Progress, Steps, Tuned
from regrain.editing.recipe.inversion import clip_key, mean_square
from regrain.editing.recipe.preview import LatentPreview, shown_frames
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import pick
from regrain.editing.storage import cache
from regrain.editing.storage.by_name import Tensors, Weights
from regrain.editing.storage.texts import Content, Values

_DECAY, _LARGEST_NORM = 1e-2, 1.0
_MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim.AdamW names its state
_PREVIEW_STEPS = 8


@torch.no_grad()
def learn_clip(
    backbone: Backbone, request: EditRequest, params: TuneAVideoParams
) -> Steps[Adapter]:
    """Tune on a clip, or return the cached result. Closing the generator keeps what was
    learned.

    Args:
        backbone: The model, without an adapter.
        request: The model learns to draw its source prompt; previews show its prompt.
            Of a long clip 32 frames are learned, evenly spread.
    Raises:
        DivergedError: The loss or a gradient is NaN or Inf.
    """
    tuning = Tuning(backbone, request, learned_clip(backbone, request), params)
    kept = cache.load(state_key(tuning.inputs, "version", params.tune_steps))
    learner = Learner.of(kept or tuning.begin(), params.learning_rate)
    if kept:
        yield Progress("tuning", params.tune_steps, params.tune_steps)
    try:
        yield from tuning.preview(learner)
        while learner.steps < params.tune_steps:
            learner.descend(*tuning.gradients(learner))
            yield Progress("tuning", learner.steps, params.tune_steps)
            yield Losses(learner.curve)
            yield from tuning.keep(learner)
            yield from tuning.preview(learner)
    finally:
        tuning.store(learner)
    adapter = tuning.adapter(learner)
    yield Tuned(adapter, learner.curve)
    return adapter


def learned_clip(backbone: Backbone, request: EditRequest) -> ResizedClip:
    """Read the frames of a clip on which a model is tuned, at its working size."""
    numbers = learned_frames(len(request.clip))
    return working_clip(backbone, pick(request, numbers), WindowFrames(numbers))


def sparse_causal(frames: int, device: torch.device) -> AttentionFn:
    """Return the attention of tuning and editing: each frame sees the first and the
    previous one."""
    seen = frames_seen(("first", "previous"), frames, device)
    return over_frames(frames, seen)


def drawn(
    schedule: Schedule, latents: FrameLatents, seed: int, index: int
) -> tuple[Step, FrameLatents]:
    """Draw the noise level and the noise of a tuning step, from the seed and the step's
    number alone."""
    fresh = generator(seed, index)
    level = int(torch.randint(len(schedule.alphas_cumprod), (), generator=fresh))
    return schedule.at(level), own_noise(latents, fresh)


class Learner:
    """The weights being tuned, one float32 copy, with AdamW's state: enough to continue
    a tuning.

    Attributes:
        weights: The weights by name, sorted.
        losses: The loss of every step so far.
    """

    def __init__(
        self, weights: Weights, losses: list[float], learning_rate: float
    ) -> None:
        # Sorted: the length of a gradient, summed in another order, has other last
        # bits.
        self.weights = {
            name: weights[name].clone().requires_grad_(True) for name in sorted(weights)
        }
        self.losses = losses
        self._updating = False
        self._adamw = torch.optim.AdamW(
            self.weights.values(), lr=learning_rate, weight_decay=_DECAY
        )

    @classmethod
    def of(cls, state: Weights, learning_rate: float) -> Learner:
        """Restore a learner from `state`; without moments, AdamW begins anew."""
        others = ("losses", *_MOMENTS)
        own = {
            name: value for name, value in state.items() if not name.startswith(others)
        }
        learner = cls(own, state["losses"].tolist(), learning_rate)
        for name, weight in learner.weights.items():
            if f"{_MOMENTS[0]}.{name}" not in state:
                continue
            kept = {"step": torch.tensor(float(learner.steps))}
            for moment in _MOMENTS:
                kept[moment] = state[f"{moment}.{name}"].clone()
            learner._adamw.state[weight] = kept
        return learner

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self.losses)

    @property
    def curve(self) -> Float32[np.ndarray, "steps"]:
        """Losses as events carry them."""
        return np.array(self.losses, np.float32)

    def descend(self, loss: float, gradients: Weights) -> None:
        """Take one step.

        Raises:
            DivergedError: The loss or a gradient is NaN or Inf; nothing has changed.
        """
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), _LARGEST_NORM)
        if not np.isfinite(loss) or not norm.isfinite():
            raise _diverged(self.steps, self._adamw.defaults["lr"])
        self._updating = True
        self._adamw.step()
        self.losses.append(loss)
        self._updating = False

    @property
    def sound(self) -> bool:
        """True if all weights are finite and of the same step, also after an
        interruption."""
        if self._updating:
            return False
        finite = [weight.isfinite().all() for weight in self.weights.values()]
        return bool(torch.stack(finite).all())

    @property
    def can_go_on(self) -> bool:
        """True if AdamW's state is known, so that further steps are those of an
        uninterrupted tuning."""
        return not self.losses or bool(self._adamw.state)

    def state(self) -> Tensors:
        """Return weights, losses and moments as tensors by name."""
        state = self.version()
        for name, weight in self.weights.items():
            known = self._adamw.state.get(weight)
            if known is not None:
                for moment in _MOMENTS:
                    state[f"{moment}.{name}"] = known[moment]
        return state

    def version(self) -> Tensors:
        """Return the weights and the losses."""
        version = {name: weight.detach() for name, weight in self.weights.items()}
        version["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        return version


class Tuning:
    """Everything about a tuning that is decided before its first step.

    Attributes:
        params: Parameters of the run.
        latents: The clip, clean.
        inputs: The cache key of the tuning, apart from the number of steps.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        working: ResizedClip,
        params: TuneAVideoParams,
    ) -> None:
        """Encode the clip and the prompts, once; previews show the prompt."""
        frames = working.frames
        height, width = frames.shape[1:3]
        words = request.description
        prompts = [words, request.negatives, request.targets[0]]
        text = backbone.embed(prompts, ["source_prompt", "negative_prompt", "prompt"])
        self._backbone = backbone
        self.params = params
        self._words = text[0]
        self._shown = text[1:]
        self.latents = backbone.encode(frames)
        self._colors = LatentPreview(self.latents, frames)
        self._numbers = working.window.numbers
        self._facts = AdapterFacts.model_validate(
            {
                "model": backbone.id,
                "sketch": backbone.sketch,
                "clip": clip_sketch(frames),
                "steps": 0,
                "frames": len(frames),
                "width": width,
                "height": height,
                "words": words,
                **_settings(params),
            }
        )
        self.inputs = _inputs(backbone, frames, words, params)

    @property
    def _change(self) -> Intervention:
        """A call without tuned weights."""
        frames = len(self.latents)
        return Intervention(
            sparse_causal(frames, self._backbone.device), (joint_norm(frames),)
        )

    def begin(self) -> Tensors:
        """Return the latest state that is not beyond the steps to take; else the
        untuned weights."""
        latest = _latest(self.inputs, self.params.tune_steps)
        state = cache.load(latest[1]) if latest else None
        if state is None:
            fresh = torch.Generator().manual_seed(self.params.tune_seed)
            state = untuned(self._backbone.unet, self.params.temporal_rank, fresh)
            state = state | {"losses": torch.zeros(0)}
        device = self._backbone.device
        return {
            name: value if name == "losses" else value.to(device)
            for name, value in state.items()
        }

    def gradients(self, learner: Learner) -> tuple[float, Tensors]:
        """Compute the loss of the next step, and its gradient by weight.

        Raises:
            DivergedError: The output of the network is NaN or Inf.
        """
        params = self.params
        backbone = self._backbone
        clean = self.latents
        frames, _, height, width = clean.shape
        step, noise = drawn(backbone.schedule, clean, params.tune_seed, learner.steps)
        wanted = combine(clean, noise, step, backbone.prediction)
        change = with_weights(self._change, learner.weights, frames)
        try:
            with torch.enable_grad():
                x0, eps = backbone.predict(
                    add_noise(clean, noise, step),
                    step,
                    self._words,
                    change,
                    recompute=backbone.activation_bytes(frames, height, width) is None,
                )
                error = combine(x0, eps, step, backbone.prediction) - wanted
            loss, gradients = mean_square(error, list(learner.weights.values()))
        except DivergedError as diverged:
            raise _diverged(learner.steps, params.learning_rate) from diverged
        return loss, dict(zip(learner.weights, gradients, strict=True))

    def adapter(self, learner: Learner) -> Adapter:
        """Return an adapter with the weights learned so far."""
        weights = {
            name: weight.detach().clone() for name, weight in learner.weights.items()
        }
        return Adapter(self._facts.model_copy(update={"steps": learner.steps}), weights)

    def keep(self, learner: Learner) -> Iterator[Event]:
        """Keep a version every few steps, and yield it unless it is the last."""
        if learner.steps % self.params.keep_every:
            return
        self.store(learner)
        if learner.steps < self.params.tune_steps:
            yield Tuned(self.adapter(learner), learner.curve)

    def store(self, learner: Learner) -> None:
        """Cache the version of this step, and the state if a tuning can continue from
        it."""
        if not learner.sound:
            return
        version = state_key(self.inputs, "version", learner.steps)
        if _steps(version) is None:
            cache.store(version, learner.version())
        if not learner.can_go_on:
            return
        latest = state_key(self.inputs, "state")
        kept = _steps(latest)
        asked = self.params.tune_steps
        if kept is None or kept < learner.steps:
            cache.store(latest, learner.state())
        elif learner.steps < asked < kept:
            cache.store(state_key(self.inputs, "state", asked), learner.state())

    def preview(self, learner: Learner) -> Iterator[Preview]:
        """Yield the prompt as drawn by now, from a fixed noise, every few steps;
        without the autoencoder."""
        every = self.params.tune_preview_every
        if not self.params.preview_every or not every or learner.steps % every:
            return
        backbone = tuned(self._backbone, self.adapter(learner))
        batch = Batch(len(self.latents), ("uncond", "cond"))
        fresh = torch.Generator().manual_seed(self.params.tune_seed)
        x = own_noise(self.latents, fresh)
        for step in backbone.schedule.sampling(_PREVIEW_STEPS):
            rows = batch.join({"uncond": x, "cond": x})
            answer = backbone.predict(rows, step, self._shown, self._change)
            x0, eps = batch.guide(answer, self.params.guidance_scale)
            x = advance(x0, eps, step)
        shown = shown_frames(len(x))
        numbers = tuple(self._numbers[place] for place in shown)
        yield Preview(self._colors(x[list(shown)]), numbers, {})


def steps_taken(
    backbone: Backbone,
    frames: RgbFrames,
    words: str,
    params: TuneAVideoParams,
) -> int:
    """Count the cached steps of a tuning, which a run does not take again; at most
    `params.tune_steps`.

    The clip's `frames` are at the working size; `words` are its source prompt.
    """
    inputs = _inputs(backbone, frames, words, params)
    if _steps(state_key(inputs, "version", params.tune_steps)) is not None:
        return params.tune_steps
    latest = _latest(inputs, params.tune_steps)
    return latest[0] if latest else 0


def _latest(inputs: Values, steps: int) -> tuple[int, Content] | None:
    """Find the latest cached state that is not beyond so many steps; return its steps
    and its key."""
    found = []
    for of in (None, steps):
        key = state_key(inputs, "state", of)
        taken = _steps(key)
        if taken is not None and taken <= steps:
            found.append((taken, key))
    return max(found, key=lambda one: one[0], default=None)


def _steps(key: Values) -> int | None:
    """Read the steps of a cached version or state, without its weights; None if there
    is none."""
    found = cache.shape(key, "losses")
    return found[0] if found else None


def _settings(params: TuneAVideoParams) -> Content:
    return {
        "learning_rate": params.learning_rate,
        "seed": params.tune_seed,
        "rank": params.temporal_rank,
    }


def _inputs(
    backbone: Backbone, frames: np.ndarray, words: str, params: TuneAVideoParams
) -> Content:
    return clip_key(backbone, frames, kind="tuning", words=words, **_settings(params))


def state_key(inputs: Values, kind: str, steps: int | None = None) -> Content:
    """Make the cache key of the version ("version") or state ("state") after a number
    of steps.

    Without `steps`, it is the key of the latest state. A tuning of fewer steps than
    that keeps its state under their number.
    """
    return {**inputs, "kind": "tuning", "kept": kind, "steps": steps}


def _diverged(step: int, learning_rate: float) -> DivergedError:
    return DivergedError(
        "params.learning_rate",
        f"The loss is NaN or Inf in tuning step {step + 1}. Lower the learning rate (now {learning_rate:g}); "
        "versions kept before remain.",
    )
