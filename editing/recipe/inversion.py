"""Invert a clip's latents to noise, and learn what guided sampling needs to reconstruct
them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.diffusion.schedule import (
    Answer,
    FrameLatents,
    Step,
    advance,
    guide,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.recipe.events import Progress, Steps
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.window import ResizedClip
from regrain.editing.storage import cache
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.texts import Content, Values

_LEARNING_RATE = 0.01  # of null-text inversion at the first step; it falls to half
Predict = Callable[[Tensor, Step], Answer]
"""(x, step) -> (x0, eps): all that inversion needs of a model."""
PredictWithText = Callable[[Tensor, Step, Tensor], Answer]
"""(x, step, vectors of a text) -> (x0, eps)."""


def ddim_walk(
    latents: Float[Tensor, "*shape"], predict: Predict, steps: Sequence[Step]
) -> Iterator[tuple[Step, Float[Tensor, "*shape"]]]:
    """Walk latents along `steps` without randomness: up to noise (DDIM inversion) or
    down to a clean clip.

    Yields each step and the latents after it. `predict` is the model without guidance.

    Source: Song et al., arXiv:2010.02502, Sec. 4.3.
    """
    for step in steps:
        x0, eps = predict(latents, step)
        latents = advance(x0, eps, step)
        yield step, latents


def null_text(
    pivots: Sequence[FrameLatents],
    predict: PredictWithText,
    predict_source: Predict,
    steps: Sequence[Step],
    empty: Float[Tensor, "1 L d"],
    *,
    guidance_scale: float,
    inner_steps: int,
) -> Iterator[tuple[Step, Float[Tensor, "1 L d"]]]:
    """Learn, step by step, an "empty" text with which guided sampling retraces an
    inversion.

    One text for all frames. Each step starts from the previous text and takes Adam
    steps until its latents are close enough to the pivot. The learned text, its
    gradient and Adam's state are float32 for any model dtype. The gradient is scaled
    inside the model, so that it neither vanishes nor overflows in half precision. A
    step costs 2 + 2 `inner_steps` forward passes, one more per inner step if
    activations are recomputed.

    Args:
        pivots: The N + 1 latents of the inversion, clean ones first.
        predict: (x, step, vectors) -> (x0, eps); gradients must flow to the text.
        predict_source: (x, step) -> (x0, eps) with the source prompt.
        steps: `Schedule.sampling(N)`.
        empty: The encoded text at the start of the first step.
        guidance_scale: Guidance scale of the sampling; at 1 nothing is learned.
        inner_steps: Most Adam steps per step.
    Yields:
        The step and its text.
    Source: Mokady et al., arXiv:2211.09794, Sec. 3.2.
    """
    x = pivots[-1]
    learned = empty.detach().float()
    for step in steps:
        goal = pivots[step.total - 1 - step.index]
        share = step.index / step.total
        reach = partial(
            _reached,
            predict=predict,
            x=x,
            step=step,
            guided=predict_source(x, step),
            guidance_scale=guidance_scale,
        )
        rate = _LEARNING_RATE * (1 - share / 2)
        enough = 1e-5 + 1e-3 * share
        learned = _descend(
            reach,
            learned,
            goal,
            inner_steps,
            rate,
            enough,
        )
        x = reach(learned)
        yield step, learned


def _reached(
    text: Tensor,
    *,
    predict: PredictWithText,
    x: Tensor,
    step: Step,
    guided: Answer,
    guidance_scale: float,
) -> Tensor:
    """Return the latents after a step of guided sampling with a text."""
    unguided = predict(x, step, text)
    x0 = guide(unguided[0], guided[0], guidance_scale)
    eps = guide(unguided[1], guided[1], guidance_scale)
    return advance(x0, eps, step)


def _descend(
    reach: Callable[[Tensor], Tensor],
    text: Tensor,
    goal: Tensor,
    inner_steps: int,
    rate: float,
    enough: float,
) -> Tensor:
    """Take Adam steps on `text` towards `goal`; stop after the step that started close
    enough."""
    text = text.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([text], lr=rate)
    for _ in range(inner_steps):
        with torch.enable_grad():
            error = reach(text) - goal
        loss, (gradient,) = mean_square(error, [text])
        if not loss:
            break
        text.grad = gradient
        adam.step()
        if loss < enough:
            break
    return text.detach()


def mean_square(
    error: Float[Tensor, "*shape"], tensors: Sequence[Tensor]
) -> tuple[float, list[Tensor]]:
    """Return the mean square of an error and its gradients with respect to some
    tensors, float32.

    `error` has a graph back to the tensors.

    The gradient is scaled inside the model, so that it neither vanishes nor overflows
    in half precision.
    """
    own = error.detach()
    loss = float(own.square().mean())
    scale = own.abs().amax()
    if not scale:
        return loss, [torch.zeros_like(x, dtype=torch.float32) for x in tensors]
    gradients = torch.autograd.grad(error, tensors, own / scale)
    return loss, [
        gradient.float() * (2 * scale / error.numel()) for gradient in gradients
    ]


def is_learned(step: Step) -> bool:
    """Check if a step uses the learned text: those of the last half.

    Source: vid2vid-zero as released.
    """
    return not step.within(0.5, begun=True)


def inversion_key(backbone: Backbone, working: ResizedClip, **facts: object) -> Content:
    """Make the cache key of an inversion: everything that it, and anything learned from
    it, depends on."""
    return clip_key(
        backbone, working.frames, kind="inversion", **working.window.cache_key, **facts
    )


def clip_key(backbone: Backbone, frames: np.ndarray, **facts: object) -> Content:
    """Make the cache key of a result that a model computes from a clip."""
    return {
        "clip": hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest(),
        "shape": frames.shape,
        "model": backbone.fingerprint,
        **facts,
    }


def invert_cached(
    backbone: Backbone,
    working: ResizedClip,
    predict: Predict,
    steps: Sequence[Step],
    /,
    *,
    total: int | None = None,
    preview_every: int,
    **facts: object,
) -> Steps[list[FrameLatents]]:
    """Run `ddim_invert`, once for each clip, model and facts; anchors are pinned.

    Args:
        backbone: The model.
        working: The clip.
        predict: The model as it is called, without guidance.
        steps: `Schedule.inversion(...)`.
        total: Units of the stage, if more than these steps.
        preview_every: Steps between previews of the clip on its way to noise; 0 shows
            none.
        facts: All that the inversion depends on beside clip and model: the method, the
            number of steps, the prompt, ...
    """
    key = inversion_key(backbone, working, **facts)
    total = total or len(steps)

    def make() -> Steps[Tensors]:
        latents = yield from ddim_invert(
            backbone, working, predict, steps, total, preview_every
        )
        return {"latents": torch.stack(latents)}

    done = Progress("inverting", len(steps), total)
    kept = yield from cached(key, make, done, backbone.device)
    return working.window.pin_inversion(kept["latents"])


def ddim_invert(
    backbone: Backbone,
    working: ResizedClip,
    predict: Predict,
    steps: Sequence[Step],
    total: int,
    preview_every: int,
) -> Steps[list[FrameLatents]]:
    """Invert a clip and return its latents from clean to noise. Each step is one unit
    of `total`; previews as for `invert_cached`."""
    pin = working.window.pin_anchors
    latents = [pin("inversion", 0, backbone.encode(working.frames))]

    def on_path(x: Tensor, step: Step) -> Answer:
        return predict(pin("inversion", step.index, x), step)

    told = StepEvents(latents[0], working, preview_every, total, "inverting")
    for step, x in ddim_walk(latents[0], on_path, steps):
        latents.append(x)
        yield from told(step, x)
    return latents


def cached(
    key: Values,
    make: Callable[[], Steps[Tensors]],
    done: Progress,
    device: torch.device,
) -> Steps[Tensors]:
    """Return the tensors cached under `key`, on `device`; if there are none, run `make`
    and cache its result.

    `done` is the progress of the stage if they are cached.
    """
    kept = cache.load(key)
    if kept:
        yield done
        # Copies, since the last bits of a CPU result depend on memory alignment.
        return {name: x.to(device).clone() for name, x in kept.items()}
    tensors = yield from make()
    cache.store(key, tensors)
    return tensors
