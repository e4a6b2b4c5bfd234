"""The samplers: which noise levels a run visits, and how it goes from one to the next.

The steps are pure functions of latents and numbers. `Sampling` holds the steps of one
run, and the estimate before the current one where a sampler needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import exp

import numpy as np

from regrain.editing.diffusion.schedule import (
    Latents,
    Schedule,
    Step,
    add_noise,
    advance,
    ddpm_step,
    late_steps,
)
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.params.base import FEW_STEP, Sampler, most_consistency_steps

_RANDOM: frozenset[Sampler] = frozenset({"euler_ancestral", "lcm", "tcd"})
_MULTISTEP: frozenset[Sampler] = frozenset({"dpmpp_2m", "dpmpp_2m_karras"})
_BOUNDARY_SCALE = 10.0
_DATA_DEVIATION = 0.5
_TCD_NOISE = 0.3  # gamma of TCD: 0 is deterministic, 1 is LCM's step
_RHO = 7.0
# The last square of a signal that solvers in the logarithm of signal / noise take for
# none, as diffusers does.
_LEAST = 2.0**-24


def consistency_step(x: Latents, x0: Latents, step: Step, fresh: Latents) -> Latents:
    """Take a step of a latent consistency model: its estimate, noised anew.

    Args:
        x: Latents that enter the step.
        x0: The network's estimate for them.
        step: The step; it ends clean if it is the last.
        fresh: Standard normal noise.

    Source: Luo et al., arXiv:2310.04378, Eq. 9 and Algorithm 1; the boundary condition
        with the constants of the released models.
    """
    scaled = _BOUNDARY_SCALE * step.t
    total = scaled**2 + _DATA_DEVIATION**2
    denoised = scaled / total**0.5 * x0 + _DATA_DEVIATION**2 / total * x
    return advance(denoised, fresh, step)


def trajectory_step(
    x0: Latents, eps: Latents, step: Step, between: tuple[float, float], fresh: Latents
) -> Latents:
    """Take a step of a trajectory consistency model: too far, then noised back up.

    Args:
        x0, eps: Answer of the network.
        step: The step.
        between: Signal and noise of the cleaner level that it passes through.
        fresh: Standard normal noise.

    Source: Zheng et al., arXiv:2402.19159, Algorithm 2 (strategic stochastic sampling).
    """
    signal, noise = between
    kept = step.signal_next / signal
    added = max(0.0, 1 - kept**2) ** 0.5
    return kept * (signal * x0 + noise * eps) + added * fresh


def second_order_step(
    x: Latents, x0: Latents, step: Step, before: tuple[Step, Latents] | None
) -> Latents:
    """Take a step of DPM-Solver++ 2M; the first and the last one are of first order.

    Args:
        x: Latents that enter the step.
        x0: The network's estimate for them.
        step: The step.
        before: The step before and its estimate; None at the first.

    Source: Lu et al., arXiv:2211.01095, Algorithm 2.
    """
    if not step.noise_next:
        return step.signal_next * x0
    length = step.log_length
    gain = step.signal_next * (1 - exp(-length))
    straight = step.noise_next / step.noise * x + gain * x0
    if before is None:
        return straight
    last, estimate = before
    slope = (x0 - estimate) * (length / last.log_length)
    return straight + 0.5 * gain * slope


class Sampling:
    """The steps of one run by one sampler.

    Attributes:
        sampler: Its name.
        steps: The steps, from noise to clean.
        random: Whether steps add noise.
    """

    def __init__(
        self, schedule: Schedule, sampler: Sampler, steps: int, strength: float = 1.0
    ) -> None:
        """Choose the levels.

        Args:
            schedule: Noise levels of the model.
            sampler: Name of the sampler.
            steps: Steps of the whole schedule, of which `strength` skips some; or,
                of a sampler in `FEW_STEP`, steps within the share.
            strength: Share of the schedule, counted from the clean end, that is run;
                see `steps_run`.
        """
        self.sampler = sampler
        self.random = sampler in _RANDOM
        self._schedule = schedule
        self._before: tuple[Step, Latents] | None = None
        if sampler in FEW_STEP:
            self.steps = _few_steps(schedule, sampler, steps, strength)
        else:
            whole = _whole(schedule, sampler, steps)
            self.steps = tuple(late_steps(whole, strength))

    def noised(self, source: Latents, noise: Latents, pure: bool) -> Latents:
        """Return clean latents at the level where the first step starts: as they are if
        there is none, with `pure` the noise alone, which Euler takes as strong as at
        that level, as diffusers does."""
        if not self.steps:
            return source
        first = self.steps[0]
        if not pure:
            return add_noise(source, noise, first)
        return first.noise * noise if self.sampler.startswith("euler") else noise

    def advance(
        self, x: Latents, x0: Latents, eps: Latents, step: Step, fresh: Latents
    ) -> Latents:
        """Return the latents after a step; `fresh` is noise for samplers that add it.

        Steps must be taken in order.
        """
        if self.sampler == "lcm":
            return consistency_step(x, x0, step, fresh)
        if self.sampler == "tcd":
            last = step.index + 1 == step.total
            ends = 0 if last else self.steps[step.index + 1].t
            between = self._schedule.level(int((1 - _TCD_NOISE) * ends))
            return trajectory_step(
                x0,
                eps,
                step,
                between,
                fresh,
            )
        if self.sampler == "euler_ancestral":
            return ddpm_step(x0, eps, step, fresh) if step.noise_next else x0
        if self.sampler in _MULTISTEP:
            after = second_order_step(x, x0, step, self._before)
            self._before = (step, x0)
            return after
        return advance(x0, eps, step)

    def known(self, source: Latents, noise: Latents, step: Step) -> Latents:
        """Return clean latents as they are after a step, with the noise that it added
        or, if it adds none, with the run's own; after the last they are clean."""
        if step.index + 1 == step.total:
            return source
        return advance(source, noise, step)


def consistency_levels(
    schedule: Schedule, steps: int, strength: float = 1.0
) -> Numbers:
    """Return the levels that a consistency model visits, falling.

    Of the 50 levels on which it was distilled those in the share `strength`, counted
    from the clean end, and of these as many as there are steps; parameters of methods
    ask for no more than there are.
    """
    apart = len(schedule.alphas_cumprod) // most_consistency_steps(1.0)
    known = most_consistency_steps(strength)
    falling = np.arange(known, 0, -1) * apart - 1
    places = np.floor(np.linspace(0, known, steps, endpoint=False)).astype(int)
    return tuple(falling[places].tolist())


def trailing_levels(schedule: Schedule, steps: int, strength: float = 1.0) -> Numbers:
    """Return evenly spaced levels, falling, of which the first is the noisiest of the
    share `strength`."""
    top = len(schedule.alphas_cumprod) * strength
    places = top - np.arange(steps) * (top / steps)
    return tuple((np.round(places).astype(int) - 1).clip(min=0).tolist())


def _few_steps(
    schedule: Schedule, sampler: Sampler, steps: int, strength: float
) -> tuple[Step, ...]:
    """Return all steps of a sampler for few of them."""
    if not strength:
        return ()
    if sampler in ("lcm", "tcd"):
        levels = consistency_levels(schedule, steps, strength)
    else:
        levels = trailing_levels(schedule, steps, strength)
    if sampler.startswith("euler"):
        return _with_signal(schedule, levels)
    ends = schedule
    if sampler != "ddim_trailing":
        ends = replace(schedule, ends_clean=sampler == "lcm")
    return ends.walk(levels, (*levels[1:], -1))


def _whole(schedule: Schedule, sampler: Sampler, steps: int) -> tuple[Step, ...]:
    """Return the steps of a sampler over the whole schedule."""
    if sampler not in _MULTISTEP:
        return schedule.sampling(steps)
    if sampler == "dpmpp_2m_karras":
        return _karras_steps(schedule, steps)
    return _with_signal(schedule, _solver_levels(schedule, steps))


def _with_signal(schedule: Schedule, levels: Sequence[int]) -> tuple[Step, ...]:
    """Return steps that end clean, between levels that all have a little signal."""
    alphas = schedule.alphas_cumprod.clip(min=_LEAST)
    ends = replace(schedule, alphas_cumprod=alphas, ends_clean=True)
    # with a little signal, the noisiest lies beside the level of the model
    between = schedule.reaches_pure_noise
    walk = ends.walk(levels, (*levels[1:], -1))
    return tuple(replace(step, between=between) for step in walk)


def _solver_levels(schedule: Schedule, steps: int) -> Numbers:
    """Return the levels of DPM-Solver++ for a schedule's spacing, as diffusers chooses
    them, falling."""
    count = len(schedule.alphas_cumprod)
    if schedule.spacing == "trailing":
        return trailing_levels(schedule, steps)
    if schedule.spacing == "linspace":
        places = np.linspace(0, count - 1, steps + 1).round()
    else:
        places = np.arange(steps + 1) * (count // (steps + 1)) + schedule.offset
    return tuple(places.astype(int)[:0:-1].tolist())


def _karras_steps(schedule: Schedule, steps: int) -> tuple[Step, ...]:
    """Return steps whose levels are evenly spaced in the seventh root of
    noise / signal.

    They lie between those the model was trained on; it is told the nearest.

    Source: Karras et al., arXiv:2206.00364, Eq. 5.
    """
    alphas = schedule.alphas_cumprod.clip(min=_LEAST)
    known = np.sqrt((1 - alphas) / alphas)
    ratios = _karras_ratios(known, steps)
    places = np.interp(np.log(ratios), np.log(known), np.arange(len(known)))
    levels: list[tuple[float, float]] = []
    for ratio in ratios:
        both = np.hypot(1, ratio)
        levels.append((float(1 / both), float(ratio / both)))
    levels.append((1.0, 0.0))
    found = []
    for index, (start, stop) in enumerate(pairwise(levels)):
        t = int(places[index].round())
        time = schedule.at(t).time
        found.append(Step(index, steps, t, *start, *stop, time, between=True))
    return tuple(found)


def _karras_ratios(known: np.ndarray, steps: int) -> np.ndarray:
    """Return noise / signal at each level, from the highest known to the lowest."""
    low = known[0] ** (1 / _RHO)
    high = known[-1] ** (1 / _RHO)
    return (high + np.linspace(0, 1, steps) * (low - high)) ** _RHO
