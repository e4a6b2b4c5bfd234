"""Muon: steps that are orthogonal matrices (Jordan et al. 2024).

Step sizes follow Liu et al. 2025, arXiv:2502.16982. PyTorch's own Muon takes only flat
matrices; most weights here are kernels of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from storybook.training.runs import dtype_of, summed, worker, workers

MOMENTUM = 0.95
_AS_ADAM = 0.2  # root mean square of a step of size 1, about AdamW's
_QUINTIC = (3.4445, -4.7750, 2.0315)
_MATRIX = 16  # smaller sides gain nothing


class Muon(torch.optim.AdamW):
    """AdamW, but orthogonal steps for kernels and matrices inside the network.

    Input and output layers (embeddings, the first and the last layer) and vectors use
    AdamW. If `torch.distributed` runs, each worker computes the steps of its share of
    the matrices.

    Args:
        model: The model to train.
        rate: Learning rate, for both kinds of steps.
        ends: Parts of the names of weights that use AdamW.
        decay: Weight decay.
    """

    def __init__(
        self, model: nn.Module, rate: float, ends: Iterable[str], decay: float = 1e-2
    ) -> None:
        ends = tuple(ends)
        inner: list[Tensor] = []
        rest: list[Tensor] = []
        for name, weight in model.named_parameters():
            if not weight.requires_grad:
                continue
            is_end = any(end in name for end in ends)
            (inner if _is_matrix(weight) and not is_end else rest).append(weight)
        super().__init__(
            rest, lr=rate, weight_decay=decay, betas=(0.9, 0.99), fused=True
        )
        self.add_param_group({"params": inner, "orthogonal": True})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        inner = self.param_groups[-1]
        held = [(p, p.grad) for p in inner["params"] if p.grad is not None]
        for p, _ in held:
            p.grad = None  # nothing for AdamW to do
        super().step(closure)
        for p, grad in held:
            p.grad = grad
        for p, turned in self._turned(held):
            p.mul_(1 - inner["lr"] * inner["weight_decay"]).sub_(
                turned, alpha=inner["lr"]
            )

    def _turned(
        self, learnt: list[tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return weights and their steps, for a learning rate of 1; `learnt` are
        weights and gradients."""
        weights = [weight for weight, _ in learnt]
        if workers() == 1:
            return list(zip(weights, self._steps(learnt), strict=True))
        costs = [weight.numel() * min(weight.flatten(1).shape) for weight in weights]
        owners = shares(costs, workers())
        steps = []
        for (weight, grad), owner in zip(learnt, owners, strict=True):
            momentum = self._momentum(weight, grad)
            if owner == worker():
                steps.append(_step(grad, momentum))
            else:
                steps.append(torch.zeros_like(weight))
        if workers() > 1:
            steps = _summed(steps)
        return list(zip(weights, steps, strict=True))

    def _steps(self, learnt: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Return the steps of weights, those of one shape computed together."""
        ahead = []
        alike: dict[tuple[int, ...], list[int]] = {}
        for place, (weight, grad) in enumerate(learnt):
            turn = _ahead(grad, self._momentum(weight, grad))
            alike.setdefault(tuple(turn.shape), []).append(place)
            ahead.append(turn)
        steps = ahead
        for shape, places in alike.items():
            turned = orthogonal(torch.stack([ahead[place] for place in places]))
            turned *= _AS_ADAM * max(shape) ** 0.5
            for place, step in zip(places, turned, strict=True):
                steps[place] = step.view_as(learnt[place][1])
        return steps

    def _momentum(self, weight: Tensor, grad: Tensor) -> Tensor:
        """Count a step of a weight, and return its momentum with the gradient added."""
        state = self.state[weight]
        state.setdefault("step", torch.zeros(())).add_(1)
        momentum = state.setdefault("exp_avg", torch.zeros_like(weight))
        return momentum.mul_(MOMENTUM).add_(grad)


def _is_matrix(weight: Tensor) -> bool:
    """Return whether a weight, flattened to two dimensions, is large enough for
    orthogonal steps."""
    return weight.ndim >= 2 and min(weight.flatten(1).shape) >= _MATRIX


def _step(grad: Tensor, momentum: Tensor) -> Tensor:
    """Return the orthogonal step of a weight, as large as AdamW's."""
    ahead = _ahead(grad, momentum)
    size = _AS_ADAM * max(ahead.shape) ** 0.5
    return orthogonal(ahead).view_as(grad).mul_(size)


def _ahead(grad: Tensor, momentum: Tensor) -> Tensor:
    """Return the direction in which a weight goes on, flattened to two dimensions."""
    return grad.add(momentum, alpha=MOMENTUM).flatten(1)


def _summed(steps: list[Tensor]) -> list[Tensor]:
    """Return the sum of each step over all workers; only one of them computed it, the
    others sent zeros."""
    flat = summed(torch.cat([step.flatten() for step in steps]))
    parts = flat.split([step.numel() for step in steps])
    return [part.view_as(step) for part, step in zip(parts, steps, strict=True)]


def shares(costs: list[int], count: int) -> list[int]:
    """Return one of `count` workers for each piece of work; all get about the same
    amount."""
    owners = [0] * len(costs)
    loads = [0] * count
    dearest_first = sorted(range(len(costs)), key=lambda piece: -costs[piece])
    for piece in dearest_first:
        idlest = loads.index(min(loads))
        owners[piece] = idlest
        loads[idlest] += costs[piece]
    return owners


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Return roughly the nearest semi-orthogonal matrix: singular values between about
    0.7 and 1.2.

    Newton and Schulz's iteration with the quintic of Jordan et al., in `dtype_of` its
    device; float32 [..., m, n] both.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).to(dtype_of(matrix.device))
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).float()
