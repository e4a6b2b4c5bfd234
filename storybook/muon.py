"""Muon: steps that are orthogonal matrices (Jordan et al. 2024).

Step sizes follow Liu et al. 2025, arXiv:2502.16982. PyTorch's own Muon takes only flat matrices; most weights
here are kernels of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from storybook.training import DTYPE

MOMENTUM = 0.95
_AS_ADAM = 0.2  # root mean square of a step of size 1, about AdamW's
_QUINTIC = (3.4445, -4.7750, 2.0315)
_MATRIX = 16  # smaller sides gain nothing


class Muon(torch.optim.AdamW):
    """AdamW, but orthogonal steps for kernels and matrices inside the network.

    Input and output layers (embeddings, the first and the last layer) and vectors use AdamW. If
    `torch.distributed` runs, each worker computes the steps of its share of the matrices.

    Args:
        model: The model to train.
        rate: Learning rate, for both kinds of steps.
        ends: Parts of the names of weights that use AdamW.
        decay: Weight decay.
    """

    def __init__(
        self, model: nn.Module, rate: float, ends: Iterable[str], decay: float = 1e-2
    ) -> None:
        learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
        inner = [
            p
            for name, p in learnt.items()
            if p.ndim >= 2
            and min(p.flatten(1).shape) >= _MATRIX
            and not any(end in name for end in ends)
        ]
        known = {id(p) for p in inner}
        rest = [p for p in learnt.values() if id(p) not in known]
        super().__init__(rest, lr=rate, weight_decay=decay, betas=(0.9, 0.99), fused=True)
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
            p.mul_(1 - inner["lr"] * inner["weight_decay"]).sub_(turned, alpha=inner["lr"])

    def _turned(self, learnt: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Weights and their steps, for a learning rate of 1."""
        count, own = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        owners = shares([p.numel() * min(p.flatten(1).shape) for p, _ in learnt], count)
        steps = [torch.zeros_like(p) for p, _ in learnt]
        for (p, grad), step, owner in zip(learnt, steps, owners, strict=True):
            state = self.state[p]
            state.setdefault("step", torch.zeros(())).add_(1)
            momentum = state.setdefault("exp_avg", torch.zeros_like(p))
            momentum.mul_(MOMENTUM).add_(grad)
            if owner == own:
                ahead = grad.add(momentum, alpha=MOMENTUM).flatten(1)
                step.copy_(orthogonal(ahead).view_as(p)).mul_(_AS_ADAM * max(ahead.shape) ** 0.5)
        if count > 1:
            flat = torch.cat([step.flatten() for step in steps])
            dist.all_reduce(flat)
            parts = flat.split([step.numel() for step in steps])
            steps = [part.view_as(step) for part, step in zip(parts, steps, strict=True)]
        return [(p, step) for (p, _), step in zip(learnt, steps, strict=True)]


def shares(costs: list[int], count: int) -> list[int]:
    """One of `count` workers for each piece of work; all get about the same amount."""
    owners, loads = [0] * len(costs), [0] * count
    for piece in sorted(range(len(costs)), key=lambda i: -costs[i]):
        owners[piece] = loads.index(min(loads))
        loads[owners[piece]] += costs[piece]
    return owners


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Roughly the nearest semi-orthogonal matrix: singular values between about 0.7 and 1.2.

    Newton and Schulz's iteration with the quintic of Jordan et al., in `DTYPE`; float32 [m, n] both.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(DTYPE)
    x = x / (x.norm() + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).float()
