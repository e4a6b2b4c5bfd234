"""Wan 2.1 (arXiv:2503.20314), a transformer over the latents of a whole clip, which
predicts a velocity, and Wan 2.2, which has one for high and one for low noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from regrain.editing.diffusion.schedule import Prediction, Step, split
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.models.files.configs import wan_factor, wan_side
from regrain.editing.models.files.offers import Beside
from regrain.editing.models.files.words import Words
from regrain.editing.models.finite import is_finite
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.models.turns import Latents, TurnTaking, diverged
from regrain.editing.models.wan.condition import filled
from regrain.editing.models.wan.layers import attending, install
from regrain.editing.models.wan.text import TOKEN_LIMIT, PromptReader
from regrain.editing.storage.memory import LEAST_WINDOW, clip_frames, decodes_whole
from regrain.editing.storage.texts import Json


@dataclass(eq=False, repr=False, kw_only=True)
class Wan(TurnTaking):
    """A loaded model. All callers share its weights, so it keeps no state of a run.

    A latent stands for four frames, the first for one alone. A clip that does not fit
    is encoded with its last frame repeated; `decode` returns those frames, too.

    Attributes:
        networks: Its experts by their folders, alike but for their weights; that for
            high noise first.
        high_from: The timestep, as the network is told it, from which on noise is high;
            0 without an expert for low noise, inf without one for high noise.
    Others are those of `StableDiffusion`.
    """

    networks: Mapping[str, nn.Module]
    vae: nn.Module
    reader: PromptReader
    # a `FlowSchedule`; methods that ask more of one are refused by what they need
    schedule: Any
    high_from: float
    sample_size: int | None
    offers: frozenset[str]

    few_step: ClassVar[str] = ""
    other_scheduler: ClassVar[None] = None  # all of its methods step as they say
    beside: ClassVar[Beside] = ""
    told_guidance: ClassVar[bool] = False
    prediction: ClassVar[Prediction] = "flow"
    token_limit: ClassVar[int] = TOKEN_LIMIT
    sketch: ClassVar[tuple[float, ...]] = ()  # no adapter is tuned on it

    def __post_init__(self) -> None:
        self._settle(f"{self.reader.identity} {self.high_from}")
        self.sites, *_ = [install(network) for network in self.networks.values()]
        vae = self.vae.config
        self.factor: int = wan_factor(vae)
        self.frames_per_latent: int = 2 ** sum(vae.temperal_downsample)
        self.coarsest: int = self.transformer.config.patch_size[-1]
        self.multiple: int = self.factor * self.coarsest
        self.size: int = wan_side(self.sample_size, self.factor)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The parts with weights that stay, by their folders; the text encoder comes
        and goes."""
        return {**self.networks, "vae": self.vae}

    @property
    def transformer(self) -> nn.Module:
        """Its expert for high noise, or the only one."""
        return next(iter(self.networks.values()))

    def _expert(self, step: Step) -> nn.Module:
        """Return the network that answers in a step."""
        high, *low = self.networks.values()
        return low[0] if low and step.t < self.high_from else high

    @property
    def words(self) -> Words:
        """The words it was trained on; None if it takes any."""
        return self.reader.words

    @torch.no_grad()
    def encode(
        self, frames: RgbFrames | Float32[np.ndarray, "frames height width 3"]
    ) -> Latents:
        """Encode a clip, 0..255, to the mean of the posterior, scaled to about unit
        deviation."""
        padded = filled(frames, self.frames_per_latent)
        with self._decoder(len(frames), frames.shape[1:3]):
            pixels = torch.from_numpy(padded).to(self.device).permute(3, 0, 1, 2)[None]
            pixels = pixels.float() / 127.5 - 1
            mean = self.vae.encode(pixels.contiguous()).latent_dist.mode()
        middle, spread = self._scale()
        # Contiguous, since a cached copy is, and convolutions round differently on
        # another memory layout.
        return ((mean - middle) / spread)[0].transpose(0, 1).contiguous()

    def unscaled(self, latents: Latents) -> Latents:
        """Return latents as the autoencoder gives them, not scaled to unit
        deviation."""
        middle, spread = (x[0].transpose(0, 1) for x in self._scale())
        return latents * spread + middle

    @torch.no_grad()
    def decode(self, latents: Latents) -> RgbFrames:
        """Decode latents to RGB frames, those of the padding among them."""
        x = self.unscaled(latents.float().to(self.device)).transpose(0, 1)[None]
        with self._decoder(self._frames(len(latents)), self._pixels(latents)):
            pixels = self.vae.decode(x).sample[0]
        colors = ((pixels + 1) * 127.5).round().clamp(0, 255).byte()
        return colors.permute(1, 2, 3, 0).cpu().numpy()

    def _frames(self, latents: int) -> int:
        """Return how many frames so many latents stand for."""
        return 1 + (latents - 1) * self.frames_per_latent

    def _scale(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each channel of the autoencoder's latents."""
        middle = torch.tensor(self.vae.config.latents_mean, device=self.device)
        spread = torch.tensor(self.vae.config.latents_std, device=self.device)
        return middle.view(1, -1, 1, 1, 1), spread.view(1, -1, 1, 1, 1)

    def _decoder(
        self, frames: int, size: tuple[int, ...]
    ) -> AbstractContextManager[None]:
        """Take the autoencoder's turn, in tiles if memory is short."""
        height, width = size
        whole = decodes_whole(height, width, self._free(self.vae))
        return self._autoencoder(frames, (height, width), whole)

    def embed(
        self, prompts: Sequence[str], fields: Sequence[str] = ()
    ) -> PromptEmbedding:
        """Encode prompts, padded to the token limit; `fields` and errors as in
        `check_prompts`."""
        return self.reader.embed(prompts, fields, self.device)

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> object:
        """See `StableDiffusion`."""
        return self.reader.check(prompts, fields)

    def activation_bytes(self, frames: int, height: int, width: int) -> None:
        """Return None, since it is not tuned."""

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Return False, since a call has one clip."""
        return False

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """Choose how many frames of a long clip are decoded together; height and width
        in latents."""
        pixels = height * width * self.factor**2
        return max(LEAST_WINDOW, clip_frames(pixels, self._free(self.vae)))

    def read_by(self, x: Tensor, text: PromptEmbedding) -> Json:
        """Return the inputs of the network beside `x`."""
        return {"encoder_hidden_states": text.vectors.to(x)}

    @torch.no_grad()
    def predict(
        self,
        x: Latents,
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> tuple[Latents, Latents]:
        """Predict (x0, eps) from noisy latents; errors are those of
        `StableDiffusion.predict`.

        Args:
            x: Rows (clip time), at the level where `step` starts.
            text: One prompt per clip.
            change: An `Intervention` of nothing but `attend` and, of a VACE, what its
                control blocks read, or a first frame of one that takes it, which comes
                back as x0 there; a ValueError otherwise.
            recompute: Of no use here.
        """
        clips = len(text)
        self._check_change(change)
        time = len(x) // clips
        whole = x.unflatten(0, (clips, time)).transpose(1, 2)
        whole = whole.to(self.device, self.dtype)
        t = torch.full((clips,), float(step.t), device=self.device)
        if change.first is not None:
            whole = whole.clone()
            whole[:, :, 0] = change.first.to(whole)
            tokens = whole[0, 0, 0].numel() // self.coarsest**2
            t = t[:, None].repeat(1, time * tokens)
            t[:, :tokens] = 0
        frames = self._frames(time)
        given = self.read_by(whole, text)
        expert = self._expert(step)
        with (
            self._turn(expert, frames, self._pixels(x)),
            attending(change.attend),
        ):
            (output,) = self._network(expert, whole, change)(whole, t, **given)
            if not is_finite(output):
                raise diverged("latents", step)
        velocity = output.to(x).transpose(1, 2).flatten(0, 1)
        if change.first is not None:  # it leads to the frame, whatever was said of it
            velocity[::time] = (x[::time] - change.first.to(x)) / step.noise
        return split(velocity, x, step.signal, step.noise, self.prediction)

    def _check_change(self, change: Intervention) -> None:
        """Refuse, by a ValueError, what this model cannot be given."""
        if change.patches or change.control or change.queries:
            raise ValueError("change: a video model takes nothing but attend")
        if change.context is not None and "vace" not in self.offers:
            raise ValueError("context: this model has no control blocks")
        if change.first is not None and "first_frame" not in self.offers:
            raise ValueError("first: its tokens do not have a timestep each")

    def _network(
        self,
        expert: nn.Module,
        whole: Float[Tensor, "clips c time gh gw"],
        change: Intervention,
    ) -> Callable[..., Any]:
        """Return an expert as a call runs it: with its control blocks if they are
        given something to read, else only with the layers of Wan."""
        if "vace" not in self.offers:
            return partial(expert, return_dict=False)
        if change.context is None:
            from diffusers import WanTransformer3DModel

            # it has all that one has, under the same names
            return partial(WanTransformer3DModel.forward, expert, return_dict=False)
        context = change.context.to(whole).transpose(0, 1)
        blocks = len(expert.config.vace_layers)
        hints = whole.new_ones(blocks)
        if change.token_scale is not None:
            hints = hints[:, None, None] * change.token_scale.to(whole)[:, None]
        return partial(
            expert,
            control_hidden_states=context.expand(len(whole), -1, -1, -1, -1),
            control_hidden_states_scale=hints,
            return_dict=False,
        )
