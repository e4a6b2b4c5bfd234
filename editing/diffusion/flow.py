"""The noise levels of a rectified flow, whose latents are x = (1 - sigma) x0 + sigma
eps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from regrain.editing.diffusion.schedule import Step

TRAINED_STEPS = 1000  # timestep of pure noise


@dataclass(frozen=True)
class FlowSchedule:
    """Noise levels of a model that predicts the velocity eps - x0.

    Attributes:
        shift: How far steps crowd near pure noise; 1 spreads them evenly.
    """

    shift: float

    def sampling(self, steps: int) -> tuple[Step, ...]:
        """Return the steps from pure noise to clean.

        Mixing x0 and eps anew, as `advance` does, is Euler's rule along the velocity.
        The grid is sigma = shift u / (1 + (shift - 1) u), u = 1, ..., 1 / steps, 0.
        Schedulers of diffusers end theirs at other levels.

        Raises:
            ValueError: `steps` is not in 1 .. 1000.

        Source: Esser et al., arXiv:2403.03206, Eq. 23.
        """
        if not 1 <= steps <= TRAINED_STEPS:
            raise ValueError(f"steps: expected 1 to {TRAINED_STEPS}, got {steps}")
        even = [1 - index / steps for index in range(steps + 1)]
        sigmas = [self.shift * u / (1 + (self.shift - 1) * u) for u in even]
        return tuple(
            Step(
                index=index,
                total=steps,
                t=round(high * TRAINED_STEPS),
                signal=1 - high,
                noise=high,
                signal_next=1 - low,
                noise_next=low,
                time=high,
            )
            for index, (high, low) in enumerate(pairwise(sigmas))
        )
