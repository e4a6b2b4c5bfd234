"""From a clip's latents to the noise that would have made them, and what guidance needs to come back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from editing import cache
from editing.diffusion import Step, advance, guide
from editing.events import Event, Progress

if TYPE_CHECKING:
    from editing.backbones import Backbone

Predict = Callable[[Tensor, Step], tuple[Tensor, Tensor]]
"""(x, step) -> (x0, eps): all that inversion needs of a model."""
PredictText = Callable[[Tensor, Step, Tensor], tuple[Tensor, Tensor]]
"""(x, step, vectors) -> (x0, eps): the same, told the text."""


def ddim_walk(
    latents: Float[Tensor, "*shape"], predict: Predict, steps: Sequence[Step]
) -> Iterator[tuple[Step, Float[Tensor, "*shape"]]]:
    """Walk latents along the steps, deterministically: up to noise (DDIM inversion) or down to a clean clip.

    Yields after every step: the step and the latents it led to. Going up, with `latents` in front, these are
    the N + 1 latents an edit may look back at; `Schedule.inversion` says at which level each one is.

    Args:
        latents: Where the first step starts.
        predict: The model, without guidance.
        steps: From `Schedule.inversion` or `Schedule.sampling`.
    Source: Song et al., arXiv:2010.02502, Sec. 4.3.
    """
    for step in steps:
        x0, eps = predict(latents, step)
        latents = advance(x0, eps, step)
        yield step, latents


ddim_invert = ddim_walk
"""The walk up: the name the field knows it by."""


def null_text(
    pivots: Sequence[Float[Tensor, "frames c h w"]],
    predict: PredictText,
    steps: Sequence[Step],
    empty: Float[Tensor, "1 L d"],
    cond: Float[Tensor, "1 L d"],
    *,
    guidance_scale: float,
    inner_steps: int,
    learning_rate: float = 1e-2,
) -> Iterator[tuple[Step, Float[Tensor, "1 L d"], float]]:
    """Learn, step by step, the "empty" text with which guided sampling retraces an inversion.

    One text for all frames. Each step starts from the one before's, and takes Adam steps until the latents
    it leads to are near enough to the pivot. The learned text, its gradient and Adam's state are float32
    whatever the model computes in, and the gradient is scaled on its way through the model, so that half
    precision neither loses nor overflows it. A step costs 2 + 2 `inner_steps` times a forward pass, one more
    per inner step where activations are recomputed.

    Args:
        pivots: The N + 1 latents of the inversion, clean ones first.
        predict: The model; gradients must flow to the text.
        steps: `Schedule.sampling(N)`.
        empty: Where the first step starts.
        cond: The source prompt.
        guidance_scale: Of the sampling; at 1 nothing is learned.
        inner_steps: Adam steps at most.
        learning_rate: Of the first step; falls linearly to half.
    Yields:
        The step, its text, and the mean squared distance to the pivot before its last Adam step.
    Source: Mokady et al., arXiv:2211.09794, Sec. 3.2.
    """
    x, learned = pivots[-1], empty.detach().float()
    for step in steps:
        goal, share = pivots[step.total - 1 - step.index], step.index / step.total
        guided = predict(x, step, cond)

        def reach(text: Tensor, x=x, step=step, guided=guided) -> Tensor:
            unguided = predict(x, step, text)
            x0, eps = (guide(u, c, guidance_scale) for u, c in zip(unguided, guided, strict=True))
            return advance(x0, eps, step)

        learned, loss = _descend(
            reach, learned, goal, inner_steps, learning_rate * (1 - share / 2), 1e-5 + 1e-3 * share
        )
        x = reach(learned)
        yield step, learned, loss


def _descend(
    reach: Callable[[Tensor], Tensor],
    text: Tensor,
    goal: Tensor,
    inner_steps: int,
    rate: float,
    enough: float,
) -> tuple[Tensor, float]:
    """Adam steps on `text` towards `goal`; stops after the step that began near enough."""
    text, loss = text.detach().clone().requires_grad_(True), float("nan")
    adam = torch.optim.Adam([text], lr=rate)
    for _ in range(inner_steps):
        with torch.enable_grad():
            error = reach(text) - goal
        loss = float(error.detach().square().mean())
        scale = error.detach().abs().amax()
        if not scale:
            break
        (gradient,) = torch.autograd.grad(error, text, error.detach() / scale)
        text.grad = gradient.float() * (2 * scale / error.numel())
        adam.step()
        if loss < enough:
            break
    return text.detach(), loss


def is_learned(step: Step, share: float) -> bool:
    """Whether a step uses the learned text: those of the first share and one more, or if negative, the last.

    Source: vid2vid-zero as released.
    """
    if share > 0:
        return step.index <= step.total * share
    return not step.within(1 + share, begun=True)


def inversion_key(backbone: Backbone, frames: np.ndarray, **facts: object) -> dict[str, object]:
    """What an inversion and all that is learned from it depend on."""
    return {
        "kind": "inversion",
        "version": 2,
        "clip": frames.tobytes(),
        "shape": frames.shape,
        "model": backbone.fingerprint,
        "torch": torch.__version__,
        **facts,
    }


def invert(
    backbone: Backbone, frames: np.ndarray, predict: Predict, steps: Sequence[Step], total: int
) -> Generator[Event, None, list[Float[Tensor, "frames c h w"]]]:
    """The latents of a clip from clean to noise; one unit of progress per step, of `total`."""
    latents = [backbone.encode(frames)]
    for step, x in ddim_walk(latents[0], predict, steps):
        latents.append(x)
        yield Progress("inverting", step.index + 1, total, None)
    return latents


def cached(
    key: Mapping[str, object],
    make: Callable[[], Generator[Event, None, dict[str, Tensor]]],
    done: Progress,
    device: torch.device,
) -> Generator[Event, None, dict[str, Tensor]]:
    """The tensors kept under `key`, or those that `make` returns, which are then kept.

    Args:
        key: What they depend on.
        make: Makes them, and says how far it is.
        done: Said where they are kept: how far the stage is with them.
        device: Where they should be.
    """
    if kept := cache.load(key):
        yield done
        # Copies of their own: the last bits of a CPU result depend on how memory is aligned.
        return {name: x.to(device).clone() for name, x in kept.items()}
    tensors = yield from make()
    cache.store(key, tensors)
    return tensors
