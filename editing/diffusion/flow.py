"""Rectified flow, whose latents are x = (1 - sigma) x0 + sigma eps: its noise levels,
and solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import expm1
from typing import Literal, NamedTuple

import numpy as np

from regrain.editing.diffusion.schedule import Latents, Step, advance

TRAINED_STEPS = 1000  # timestep of pure noise
# signal that diffusers gives the noisiest level, whose logarithm it needs
_LEAST = 1e-6
_AUTHORS_FIRST = 0.999  # share of the schedule at which authors' code starts
Spacing = Literal["even", "diffusers", "authors"]


@dataclass(frozen=True)
class FlowSchedule:
    """Noise levels of a model that predicts the velocity eps - x0.

    Attributes:
        shift: How far steps crowd near pure noise; 1 spreads them evenly.
    """

    shift: float

    def sampling(
        self, steps: int, levels: Spacing | Sequence[float] = "even"
    ) -> tuple[Step, ...]:
        """Return the steps from pure noise to clean.

        The grid is sigma = shift u / (1 + (shift - 1) u), u = 1, ..., 1 / steps, 0. That
        of diffusers' UniPC divides what is above 0.001, starts with a little signal and
        rounds timesteps down; other schedulers of it end theirs at other levels, too.
        That of Wan's authors starts at u = 0.999. Levels that are given, as timesteps
        that fall from at most 1000, take no notice of `steps` and `shift`.

        Source: Esser et al., arXiv:2403.03206, Eq. 23.
        """
        if not isinstance(levels, str):
            sigmas = [level / TRAINED_STEPS for level in levels]
            return _steps_at(sigmas, [round(level) for level in levels])
        if levels != "even":
            return self._as_unipc(steps, levels)
        sigmas = self._shifted([1 - index / steps for index in range(steps)])
        times = [round(sigma * TRAINED_STEPS) for sigma in sigmas]
        return _steps_at(sigmas, times)

    def _as_unipc(self, steps: int, levels: Spacing) -> tuple[Step, ...]:
        """Return the steps of others' UniPC, in single precision."""
        ends = (1.0, 1 / TRAINED_STEPS)
        if levels == "authors":
            ends = (_AUTHORS_FIRST, 0.0)
        even = np.linspace(*ends, steps + 1)[:-1]
        sigmas = self._shifted(even.tolist())
        sigmas[0] = min(sigmas[0], 1 - _LEAST)
        times = [int(sigma * TRAINED_STEPS) for sigma in sigmas]
        rounded = np.array(sigmas, np.float32).tolist()
        return _steps_at(rounded, times)

    def _shifted(self, even: Sequence[float]) -> list[float]:
        return [self.shift * u / (1 + (self.shift - 1) * u) for u in even]


def _steps_at(sigmas: Sequence[float], times: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps that start at some noise levels, falling, the last to clean.

    `times` are the timesteps that the network is told.
    """
    steps = []
    for index, (high, low) in enumerate(pairwise([*sigmas, 0.0])):
        steps.append(
            Step(
                index=index,
                total=len(sigmas),
                t=times[index],
                signal=1 - high,
                noise=high,
                signal_next=1 - low,
                noise_next=low,
                time=high,
            )
        )
    return tuple(steps)


class Euler:
    """The solver of first order, along the velocity; it keeps nothing of a run."""

    def advance(self, x: Latents, x0: Latents, step: Step) -> Latents:
        """Return the latents after a step; see `UniPC.advance`."""
        eps = (x - step.signal * x0) / step.noise
        return advance(x0, eps, step)


@dataclass(frozen=True)
class Renoised:
    """The solver of models that are distilled to draw in few steps: each step adds
    fresh noise to the estimate.

    Attributes:
        draw: Draws noise for all latents.

    Source: latent consistency models, arXiv:2310.04378, Algorithm 3, on a rectified
        flow.
    """

    draw: Callable[[], Latents]

    def advance(self, x: Latents, x0: Latents, step: Step) -> Latents:
        """Return the latents after a step; see `UniPC.advance`."""
        if not step.noise_next:
            return x0
        return advance(x0, self.draw(), step)


class _Passed(NamedTuple):
    """A step that a solver has taken: its first latents, corrected, and the estimate
    at them before that."""

    step: Step
    x: Latents
    x0: Latents


class UniPC:
    """The solver UniPC for one run: of second order, which predicts x0, with B(h) =
    e^h - 1 ("bh2").

    Each call corrects the step before by what the network says at its end, then takes
    the next. The first step is of first order; the last ends at the estimate.

    Source: Zhao et al., arXiv:2302.04867, Algorithms 5 to 8.
    """

    def __init__(self) -> None:
        self._passed: list[_Passed] = []

    def advance(self, x: Latents, x0: Latents, step: Step) -> Latents:
        """Return the latents after a step; steps must be taken in order.

        Args:
            x: Latents that enter it.
            x0: The network's estimate for them.
            step: The step.
        """
        if not step.noise_next:
            return x0
        if self._passed:
            x = self._corrected(x0)
        self._passed = [*self._passed[-1:], _Passed(step, x, x0)]
        return _taken(step, x, x0 + 0.5 * self._slope())

    def _slope(self) -> Latents | float:
        """Return how the estimate would change over the last step, by its change over
        the one before; 0 without one."""
        if len(self._passed) == 1:
            return 0.0
        before, start = self._passed
        return (start.x0 - before.x0) * (start.step.log_length / before.step.log_length)

    def _corrected(self, x0: Latents) -> Latents:
        """Take the last step once more, now that the estimate at its end is known."""
        *before, start = self._passed
        by_end, by_slope = 0.5, 0.0
        if before:
            by_end, by_slope = _weights(start.step, before[0].step)
        change = by_end * (x0 - start.x0) + by_slope * self._slope()
        return _taken(start.step, start.x, start.x0 + change)


def _taken(step: Step, x: Latents, estimate: Latents) -> Latents:
    """Take a step with an estimate of x0 for all of it."""
    gain = -step.signal_next * expm1(-step.log_length)
    return step.noise_next / step.noise * x + gain * estimate


def _weights(step: Step, before: Step) -> tuple[float, float]:
    """Return the weights, in the correction of a step, of how the estimate changed
    until its end, and of its slope from the step before."""
    length = step.log_length
    back = before.log_length / length
    change = expm1(-length)
    first = -(1 / length + 1 / change)
    second = -2 * (first / length + 0.5 / change)
    of_slope = (first - second) / (1 + back)
    return first - of_slope, of_slope


Solver = UniPC | Euler | Renoised
"""Solvers of a run."""
