"""The arithmetic of diffusion: noise levels, one update, guidance. Numbers and tensors
only.

A latent at a level is x = signal * x0 + noise * eps with signal =
sqrt(alphas_cumprod[t]) and noise = sqrt(1 - alphas_cumprod[t]). A network's output is
converted to (x0, eps) once; every update mixes the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, log
from typing import Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.errors import shorten
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.params.base import steps_run

Latents = Float[Tensor, "*shape"]
Answer = tuple[Tensor, Tensor]
"""(x0, eps): what a network says of latents."""
FrameLatents = Float[Tensor, "frames c h w"]
RowLatents = Float[Tensor, "rows c h w"]
"""Latents of the branches of a call, or of several edits: (branch frame)."""
Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
Convention = Literal["paper", "videograin", "fatezero"]
Spacing = Literal["leading", "trailing", "linspace"]
_ROUNDING = 1e-9


def generator(*seed: int) -> torch.Generator:
    """Make a generator seeded by several numbers, such as the seed of a run and the
    number of a draw."""
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed))


@dataclass(frozen=True)
class Step:
    """One move between two noise levels: the clock of a run, passed as a value.

    Attributes:
        index: 0, 1, ... in the order of the steps. `index / total` is the fraction of
            the schedule completed.
        total: Number of steps.
        t: Timestep passed to the network, 0 .. train_steps - 1.
        signal, noise: Weights of x0 and eps in the latents that enter the step.
        signal_next, noise_next: Weights of x0 and eps in the latents that leave it.
        time: Where `t` is on the model's schedule: 0 clean, about 1 pure noise.
        between: Its level lies between those that the model was trained on, of which
            `t` is the nearest; the network's output counts as being at the step's own.
    """

    index: int
    total: int
    t: int
    signal: float
    noise: float
    signal_next: float
    noise_next: float
    time: float
    between: bool = False

    @property
    def log_length(self) -> float:
        """Its length in half the logarithm of the signal-to-noise ratio."""
        if not self.signal:
            return inf
        ends = log(self.signal_next) - log(self.noise_next)
        return ends - (log(self.signal) - log(self.noise))

    def within(
        self, share: float, *, of: int | None = None, begun: bool = False
    ) -> bool:
        """Check if the step is in the first `share` of the schedule; all windows use
        this.

        Args:
            share: 0..1; 0 includes no step, 1 all.
            of: Number of steps that the share refers to; default `total`.
                Prompt-to-Prompt's code counts one more.
            begun: Also count a step that starts inside the share and ends outside.
        """
        steps = share * (self.total if of is None else of)
        # A share is a decimal fraction, which binary ones only approach.
        return self.index < (
            ceil(steps - _ROUNDING) if begun else int(steps + _ROUNDING)
        )


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise levels a model was trained on, and the ones a run visits.

    Attributes:
        alphas_cumprod: float64 [train_steps], falling.
        offset: Added to every level by "leading" spacing (1 for Stable Diffusion).
        ends_clean: Sampling ends at signal 1, noise 0; otherwise at alphas_cumprod[0]
            (Stable Diffusion).
        spacing: How `sampling` picks levels, named as diffusers names it.
    """

    alphas_cumprod: np.ndarray
    offset: int = 1
    ends_clean: bool = False
    spacing: Spacing = "leading"

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Schedule":
        """Build from a diffusers scheduler_config.json; missing keys take diffusers'
        DDIM defaults.

        Raises:
            ValueError: The beta schedule or spacing is unknown, or betas are out of
                range.
        """
        spacing = config.get("timestep_spacing", "leading")
        if spacing not in get_args(Spacing):
            known = "leading, trailing or linspace"
            raise ValueError(
                f"unknown timestep_spacing {shorten(spacing)}, not {known}"
            )
        alphas = np.cumprod(1 - _betas(config))
        between = (alphas[:-1] > 0).all() and alphas[-1] >= 0 and (alphas <= 1).all()
        if not (np.isfinite(alphas).all() and between):
            raise ValueError("its betas are not between 0 and 1")
        if config.get("rescale_betas_zero_snr"):
            alphas = without_last_signal(alphas)
        return cls(
            alphas_cumprod=alphas,
            offset=int(cast("int", config.get("steps_offset", 0))),
            ends_clean=bool(config.get("set_alpha_to_one", True)),
            spacing=cast("Spacing", spacing),
        )

    @property
    def reaches_pure_noise(self) -> bool:
        """Whether the noisiest level has no signal at all (zero terminal SNR)."""
        return not self.alphas_cumprod[-1]

    def level(self, t: int) -> tuple[float, float]:
        """Return signal and noise at level t; t = -1 is where sampling ends."""
        alpha = (
            1.0 if t < 0 and self.ends_clean else float(self.alphas_cumprod[max(t, 0)])
        )
        return alpha**0.5, (1 - alpha) ** 0.5

    def levels(self, steps: int, inverted: bool = False) -> Numbers:
        """Return the levels of a run of `steps` steps, rising, without the end of
        sampling (-1).

        `inverted` goes up to the noisiest level that has signal, since latents without
        any say nothing of the clip.

        Unlike diffusers, "leading" does not round the spacing down. The levels are the
        same if `steps` divides the training steps; otherwise the schedule still starts
        near pure noise.

        Raises:
            ValueError: `steps` is not in 1 .. train_steps.
        """
        levels = self._spaced(steps)
        if inverted and self.reaches_pure_noise:
            last = len(self.alphas_cumprod) - 2
            return tuple(min(level, last) for level in levels)
        return levels

    def _spaced(self, steps: int) -> Numbers:
        count = len(self.alphas_cumprod)
        if not 1 <= steps <= count:
            raise ValueError(f"steps: expected 1 to {count}, got {steps}")
        if self.spacing == "leading":
            levels = np.arange(steps) * count // steps
            room = count - 1 - int(levels[-1])
            return _listed(levels + min(self.offset, room))
        if self.spacing == "trailing":
            falling = np.arange(count, 0, -count / steps)[:steps]
            return _listed(np.round(falling[::-1]) - 1)
        return _listed(np.round(np.linspace(0, count - 1, steps)))

    def sampling(self, steps: int, *, inverted: bool = False) -> tuple[Step, ...]:
        """Return the steps from noise to clean: 981, 961, ..., 1 for 50 steps of Stable
        Diffusion, then -1.

        `inverted` is for latents that come from `inversion`; see `levels`, also for
        errors.
        """
        falling = self.levels(steps, inverted)[::-1]
        return self.walk(falling, (*falling[1:], -1))

    def inversion(
        self, steps: int, convention: Convention = "paper"
    ) -> tuple[Step, ...]:
        """Return the steps from clean to noise: the levels of `sampling(steps,
        inverted=True)` reversed, up to its start.

        Args:
            steps: Number of steps of the sampling that follows.
            convention: The timestep passed to the network, and the level of clean latents.
                "paper": `steps` steps; the network gets the latents' level (DDIM, arXiv:2010.02502, Eq. 14).
                    Clean latents count as being at the level where sampling ends, and the network gets the
                    lowest timestep (t = 1) for them, so latent k of the N + 1 is at the level that sampling
                    reaches after N - k steps.
                "videograin": the released grid, `steps` - 1 steps; clean latents count
                as being at t = 1. "fatezero": `steps` steps; the network gets the level
                that the latents are going to.

        Raises:
            ValueError: See `levels`.
        """
        rising = self.levels(steps, inverted=True)
        lower = rising[:-1]
        if convention == "videograin":
            return self.walk(lower, rising[1:])
        given = rising if convention == "fatezero" else (rising[0], *lower)
        return self.walk((-1, *lower), rising, given)

    def walk(
        self,
        starts: Sequence[int],
        stops: Sequence[int],
        given: Sequence[int] | None = None,
    ) -> tuple[Step, ...]:
        """Return steps by the levels at which each starts and stops, 0 .. train_steps -
        1, or -1 for where sampling ends.

        `given` are the timesteps that the network is told; by default those at which
        the steps start.

        Raises:
            ValueError: They differ in number.
        """
        steps = []
        for t, start, stop in zip(given or starts, starts, stops, strict=True):
            steps.append(self.step(len(steps), len(starts), t, start, stop))
        return tuple(steps)

    def step(self, index: int, total: int, t: int, start: int, stop: int) -> Step:
        """Return step `index` of `total`, from level `start` to `stop`, of which the
        network is told `t`."""
        time = max(0.0, (t - self.offset) / len(self.alphas_cumprod))
        return Step(index, total, t, *self.level(start), *self.level(stop), time)

    def at(self, t: int) -> Step:
        """Return a single step from level t to the end of sampling."""
        return self.step(0, 1, t, t, -1)


def without_last_signal(alphas: np.ndarray) -> np.ndarray:
    """Shift and stretch the signals of a schedule so that its last level has none.

    Args:
        alphas: float64 [train_steps], falling: squares of the signals.

    Source: Lin et al., arXiv:2305.08891, Algorithm 1.
    """
    signals = alphas**0.5
    first, last = signals[0], signals[-1]
    return ((signals - last) * first / (first - last)) ** 2


def _listed(levels: np.ndarray) -> Numbers:
    return tuple(levels.astype(int).tolist())


def _betas(config: Mapping[str, object]) -> np.ndarray:
    """Return the noise that each training step adds, as a variance."""
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], dtype=np.float64)
    shape = config.get("beta_schedule", "linear")
    numbers = cast("Mapping[str, float]", config)
    start = float(numbers.get("beta_start", 0.0001))
    end = float(numbers.get("beta_end", 0.02))
    count = int(numbers.get("num_train_timesteps", 1000))
    if shape == "linear":
        return np.linspace(start, end, count)
    if shape == "scaled_linear":
        return np.linspace(start**0.5, end**0.5, count) ** 2
    if shape == "squaredcos_cap_v2":
        return _cosine_betas(count)
    known = "linear, scaled_linear or squaredcos_cap_v2"
    raise ValueError(f"unknown beta_schedule {shorten(shape)}, not {known}")


def _cosine_betas(count: int) -> np.ndarray:
    """Return betas whose signal falls like a cosine.

    Source: Nichol and Dhariwal, arXiv:2102.09672, Eq. 17.
    """
    times = np.arange(count + 1) / count
    bar = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - bar[1:] / bar[:-1], 0.999)


def split(
    output: Latents, x: Latents, signal: float, noise: float, prediction: Prediction
) -> tuple[Latents, Latents]:
    """Convert a network's output for `x` at a level to (x0, eps).

    Source: v = signal * eps - noise * x0 is Salimans and Ho, arXiv:2202.00512, App. D;
    of a rectified flow, where signal + noise = 1, it is eps - x0 (Liu et al.,
    arXiv:2209.03003).
    """
    if prediction == "epsilon":
        return (x - noise * output) / signal, output
    if prediction == "v_prediction":
        return signal * x - noise * output, signal * output + noise * x
    if prediction == "sample":
        return output, (x - signal * output) / noise
    return x - noise * output, x + signal * output


def combine(x0: Latents, eps: Latents, step: Step, prediction: Prediction) -> Latents:
    """Return the output of a network that predicts (x0, eps) where `step` starts;
    undoes `split`."""
    if prediction == "v_prediction":
        return step.signal * eps - step.noise * x0
    if prediction == "flow":
        return eps - x0
    return eps if prediction == "epsilon" else x0


def advance(x0: Latents, eps: Latents, step: Step) -> Latents:
    """Take a deterministic step (DDIM, eta 0): the same x0 and eps, mixed for the next
    level.

    Source: arXiv:2010.02502, Eq. 12 with sigma 0.
    """
    return step.signal_next * x0 + step.noise_next * eps


def ddpm_step(x0: Latents, eps: Latents, step: Step, fresh: Latents) -> Latents:
    """Take an ancestral step: a draw from q(x_next | x, x0), with `fresh` standard
    normal noise.

    Source: Ho et al., arXiv:2006.11239, Eq. 6 and 7, written as DDIM with eta 1.
    """
    ratio = step.noise_next / step.noise
    variance = ratio**2 * (1 - (step.signal / step.signal_next) ** 2)
    kept = (step.noise_next**2 - variance) ** 0.5
    return step.signal_next * x0 + kept * eps + variance**0.5 * fresh


def add_noise(x0: Latents, noise: Latents, step: Step) -> Latents:
    """Add noise to clean latents, up to the level where `step` starts."""
    return step.signal * x0 + step.noise * noise


def own_noise(like: Latents, fresh: torch.Generator) -> Latents:
    """Draw noise for latents, every frame its own."""
    return torch.randn(like.shape, generator=fresh).to(like)


def common_noise(like: Latents, fresh: torch.Generator) -> Latents:
    """Draw noise for latents, the same in all frames."""
    return torch.randn(like.shape[1:], generator=fresh).to(like).expand_as(like)


def late_steps(steps: Sequence[Step], share: float) -> list[Step]:
    """Return the steps of the last `share` of a schedule; see `steps_run`."""
    return list(steps[len(steps) - steps_run(len(steps), share) :])


def guide(uncond: Latents, cond: Latents, scale: float) -> Latents:
    """Apply classifier-free guidance to eps or, at the same x, to x0. Scale 1 gives
    `cond`.

    Source: Ho and Salimans, arXiv:2207.12598, Eq. 6 (`scale` is their w + 1).
    """
    return uncond + scale * (cond - uncond)
