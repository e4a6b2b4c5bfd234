"""Stable Diffusion 1.x and 2.x, and other models with a UNet, an autoencoder and a CLIP
text encoder."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from math import log, prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionLayer, install
from regrain.editing.diffusion.schedule import (
    FrameLatents,
    Prediction,
    Schedule,
    Step,
    split,
)
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.errors import ModelError, shorten
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.models.files.configs import image_factor, short_side
from regrain.editing.models.files.offers import BESIDE, Beside, kind_beside
from regrain.editing.models.files.schedulers import OtherScheduler
from regrain.editing.models.files.words import Tokens, Words, tokenise
from regrain.editing.models.finite import is_finite
from regrain.editing.models.intervention import (
    PLAIN,
    Intervention,
    checkpointed,
    following,
    patched,
)
from regrain.editing.models.turns import Latents, TurnTaking, diverged
from regrain.editing.models.weights.small import numbers_of
from regrain.editing.storage.by_name import Modules
from regrain.editing.storage.memory import (
    call_bytes,
    fits,
    frames_at_once,
    window_frames,
)
from regrain.editing.storage.texts import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Encoded = tuple[Float[Tensor, "n L d"], Float[Tensor, "n p"] | None]
"""Vectors of the tokens of prompts, and pooled ones if the network takes such."""
_SKETCHED = 64  # layers in a sketch at most; Stable Diffusion 1.5 has 32


@dataclass(eq=False, repr=False, kw_only=True)
class StableDiffusion(TurnTaking):
    """A loaded model. All callers share its weights, so it keeps no state of a run.

    Attributes:
        parts: The parts with weights, by their folders.
        size: Short side in pixels at which the model was trained.
        multiple: Both sides of a working size are multiples of this, in pixels, as the
            UNet's levels need.
        token_limit: Most tokens in a prompt, start and end included.
        beside: What calls need beside the latents that are denoised.
        told_guidance: Whether the network is told the scale of guidance, and needs no
            second row for it.
        defaults: Recommended parameters by method name.
        words: The words it was trained on, lower case; None if it takes any.
        offers: What it offers to methods; see `editing.params.registry.OFFERS`.
        dtype: Type of UNet and text encoder. Autoencoder and latents are float32.
        few_step: Kind of few-step model that it is, as shown to users; empty for an
            ordinary one. Such models cannot be inverted.
        other_scheduler: The scheduler that it names, if it is not here.
        notes: What its files say that is not done, for the report.
        loras: The LoRAs that were added to it, as `load_backbone` was told.
        takes_turns: Whether its parts stay in main memory except the one in use.
    """

    parts: Modules
    tokenizer: "PreTrainedTokenizerBase"
    schedule: Schedule
    prediction: Prediction
    words: Words
    few_step: str
    other_scheduler: OtherScheduler | None

    frames_per_latent: ClassVar[int] = 1
    # Tensors as wide as `_finest`, kept for a backward pass: 392 counted.
    _KEPT: ClassVar[int] = 450

    def __post_init__(self) -> None:
        self.unet = self.parts["unet"]
        self.vae = self.parts["vae"]
        self.text_encoder = self.parts["text_encoder"]
        self._settle(self.prediction)
        self.sites: tuple[AttentionLayer, ...] = install(self.unet)
        unet = self.unet.config
        self.beside: Beside = kind_beside(unet.in_channels, unet.out_channels) or ""
        self.told_guidance: bool = bool(unet.time_cond_proj_dim)
        self.offers, _ = BESIDE[self.beside]
        if self.few_step:
            self.offers -= {"inversion"}
        self.factor = image_factor(self.vae.config)
        coarsest = 2 ** (len(unet.block_out_channels) - 1)
        self.multiple: int = self.factor * coarsest
        self.size: int = short_side(unet.sample_size) * self.factor
        positions = self.text_encoder.config.max_position_embeddings
        self.token_limit: int = min(self.tokenizer.model_max_length, positions)

    @cached_property
    def sketch(self) -> tuple[float, ...]:
        """A few numbers by which adapters know the weights they were tuned on, in any
        dtype, on any device.

        Each is the projection of one attention layer's normalised keys and values on a
        fixed direction. Rounding to bfloat16 moves it by about 0.001, a LoRA at its
        usual weight by more than 0.01.
        """
        layers = []
        for site in self.sites[:_SKETCHED]:
            names = [f"{site.name}.{part}" for part in ("to_k", "to_v")]
            weights = [numbers_of(self.unet.get_submodule(name)) for name in names]
            layers.append(torch.cat([weight.flatten() for weight in weights]))
        lengths = [len(layer) for layer in layers]
        projections = []
        # one copy, since the program waits for each
        for layer in torch.cat(layers).cpu().split(lengths):
            flat = layer.double()
            direction = torch.arange(len(flat)).double().cos()
            projections.append(float((flat @ direction) / flat.norm()))
        return tuple(projections)

    def activation_bytes(self, frames: int, height: int, width: int) -> int | None:
        """Return the memory of a call's activations in bytes, None if they do not fit
        until its backward pass; height and width in latents."""
        needed = frames * height * width * prod(self._finest) * self._KEPT
        return needed if fits(needed, self._free(self.unet)) else None

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Tell whether both halves of guidance fit into one call; height and width in
        latents."""
        needed = call_bytes(2 * frames, height * width, *self._finest)
        return fits(needed, self._free(self.unet))

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """Choose how many frames of a long clip are edited together, at `rows` of
        `predict` a frame."""
        return window_frames(rows, height * width, *self._finest, self._free(self.unet))

    @property
    def _finest(self) -> tuple[int, int]:
        """Channels of the finest level with attention, for each cell of the latents;
        bytes of a number."""
        least = self.sites[0].least
        level = least.bit_length() - 1
        channels = int(self.unet.config.block_out_channels[level]) // least**2
        return max(1, channels), self.dtype.itemsize

    @torch.no_grad()
    def encode(
        self,
        frames: RgbFrames | Float32[np.ndarray, "frames height width 3"],
    ) -> FrameLatents:
        """Encode frames at a working size, 0..255, to the mean of the posterior, scaled
        to about unit deviation."""
        height, width = frames.shape[1:3]
        at_once = frames_at_once(height, width, self._free(self.vae))  # 0: not even one
        few = max(1, at_once)
        latents = []
        for start in range(0, len(frames), few):
            pixels = torch.from_numpy(frames[start : start + few].copy()).to(
                self.device
            )
            with self._autoencoder(len(frames), (height, width), at_once > 0):
                scaled = pixels.movedim(-1, 1).contiguous().float() / 127.5 - 1
                out = self.vae.encode(scaled)
            latents.append(
                out.latent if hasattr(out, "latent") else out.latent_dist.mean
            )
        # Contiguous, since a cached copy is, and convolutions round differently on
        # another memory layout.
        middle, scale = self._scale()
        return (torch.cat(latents).contiguous() - middle) * scale

    def unscaled(self, latents: FrameLatents) -> FrameLatents:
        """Return latents as the autoencoder gives them, not scaled to unit
        deviation."""
        middle, scale = self._scale()
        return latents / scale + middle

    @torch.no_grad()
    def decode(self, latents: FrameLatents) -> RgbFrames:
        """Decode latents to RGB frames."""
        height, width = self._pixels(latents)
        at_once = frames_at_once(height, width, self._free(self.vae))  # 0: not even one
        scaled = self.unscaled(latents.to(self.device).float())
        frames = []
        for part in scaled.split(max(1, at_once)):
            with self._autoencoder(len(latents), (height, width), at_once > 0):
                pixels = self.vae.decode(part.to(self.device)).sample
            colors = ((pixels + 1) * 127.5).round().clamp(0, 255).byte()
            frames.append(colors.movedim(1, -1).cpu().numpy())
        return np.concatenate(frames)

    def _scale(self) -> tuple[Tensor, Tensor]:
        """Return the middle of the autoencoder's latents, and the factor to unit
        deviation; of all channels or each, [c or 1, 1, 1]."""
        config = self.vae.config
        middle = torch.tensor(
            config.get("latents_mean") or config.get("shift_factor") or 0.0
        )
        deviation = torch.tensor(config.get("latents_std") or 1.0)
        scale = config.scaling_factor / deviation
        shape = (-1, 1, 1)
        return middle.to(self.device).view(shape), scale.to(self.device).view(shape)

    @torch.no_grad()
    def embed(
        self, prompts: Sequence[str], fields: Sequence[str] = ()
    ) -> PromptEmbedding:
        """Encode prompts, padded to the token limit; `fields` and errors as in
        `check_prompts`."""
        tokens = self.check_prompts(prompts, fields)
        vectors, pooled = self._encode(prompts, tokens)
        return PromptEmbedding(
            tuple(prompts),
            vectors,
            tokens.lengths,
            tokens.offsets,
            tokens.ids,
            pooled,
        )

    def _encode(self, prompts: Sequence[str], tokens: Tokens) -> Encoded:
        """Encode prompts with their tokens."""
        rows = torch.tensor(tokens.ids, device=self.device)
        with self._turn(self.text_encoder):
            vectors = self.text_encoder(rows).last_hidden_state.float()
        if self.text_encoder.config.to_dict().get("zero_padding"):
            vectors *= torch.tensor(tokens.mask, device=self.device)[..., None]
        return vectors, None

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> Tokens:
        """Tokenise prompts without encoding them, and refuse those that cannot be
        encoded.

        Raises:
            PromptError: A prompt exceeds the token limit or has a word that the model
                does not know (ignoring case and punctuation); the field is that of
                `fields`.
        """
        return tokenise(self.tokenizer, prompts, fields, self.words, self.token_limit)

    def predict(
        self,
        x: Latents,
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> tuple[Latents, Latents]:
        """Predict (x0, eps) from noisy latents, whatever the network outputs.

        One model call for all rows. Gradients flow if `text.vectors` or tensors of
        `change` require them.

        Args:
            x: Rows (branch frame), at the level where `step` starts; (x0, eps) are in
                its dtype.
            step: The step.
            text: One prompt per row, or one per branch, which is then used for each of
                its frames.
            change: Changes to the model for this call.
            recompute: Recompute activations in the backward pass to save memory, each
                part under the same patches and the same lock as the call itself.
        Raises:
            DivergedError: The output of the network has NaN or Inf.
            ResourceError: Out of memory.
        """
        frames = len(x) // len(text)
        size = self._pixels(x)

        @contextmanager
        def changed() -> Iterator[None]:
            with (
                self._turn(self.unet, frames, size),
                patched(self.unet, change.patches),
            ):
                yield

        network = self._network(x, step, text, change)
        keeps_less = checkpointed(changed)(self.unet) if recompute else nullcontext()
        with changed(), keeps_less:
            output = network()
            if not is_finite(output):
                raise diverged(_first_not_finite(self.unet, network), step)
        own = (step.signal, step.noise)
        level = own if step.between else self.schedule.level(step.t)
        x0, eps = split(output.to(x), x, *level, self.prediction)
        # An inversion step may pass the model a level other than that of its latents.
        if level != own:
            x0 = (x - step.noise * eps) / step.signal
        return x0, eps

    def read_by(self, x: Tensor, text: PromptEmbedding) -> Json:
        """Return the inputs of a network beside `x`, by argument: a row of `text` for
        each of `x`."""
        rows = text.vectors.to(x).repeat_interleave(len(x) // len(text), dim=0)
        return {"encoder_hidden_states": rows}

    def _network(
        self, x: Tensor, step: Step, text: PromptEmbedding, change: Intervention
    ) -> Callable[[], Tensor]:
        """Make one forward of the UNet, to be called once its patches are entered."""
        rows = x.to(self.device, self.dtype)
        t = torch.full(
            (), step.t, device=self.device
        )  # without a copy, unlike `tensor`
        given = self.read_by(rows, text)
        wide = rows
        if self.beside and change.beside is None:
            raise ModelError(
                "model",
                f"{shorten(self.id)} reads more than its latents, which this method does "
                "not give it. Use another method or model.",
            )
        if change.beside is not None:
            copies = len(rows) // len(change.beside)
            beside = change.beside.to(rows).repeat(copies, 1, 1, 1)
            wide = torch.cat([rows, beside], 1)
        if self.told_guidance:
            scales = change.guidance or (1.0,)
            told = torch.tensor(scales).repeat_interleave(len(rows) // len(scales))
            width = self.unet.config.time_cond_proj_dim
            given["timestep_cond"] = guidance_embedding(told, width).to(rows)
        given["cross_attention_kwargs"] = {
            "attend": change.attend,
            "queries": change.queries,
        }

        def network() -> Tensor:
            residuals = {}
            if change.control is not None:
                down, middle = change.control(rows, t)
                residuals["down_block_additional_residuals"] = down
                residuals["mid_block_additional_residual"] = middle
            (output,) = self.unet(wide, t, **given, **residuals, return_dict=False)
            return output

        return network


def guidance_embedding(
    scales: Float[Tensor, "rows"], width: int
) -> Float[Tensor, "rows width"]:
    """Embed scales of guidance as consistency models read them: sines, then cosines, of
    1000 times the scale less 1.

    Source: Luo et al., arXiv:2310.04378, as released; frequencies as in arXiv:1706.03762.
    """
    half = width // 2
    places = torch.arange(half, dtype=torch.float32)
    frequencies = torch.exp(places * (-log(10_000.0) / (half - 1)))
    angles = 1000.0 * (scales.float()[:, None] - 1) * frequencies
    embedded = torch.cat([angles.sin(), angles.cos()], 1)
    return F.pad(embedded, (0, width % 2))


def _first_not_finite(model: nn.Module, network: Callable[[], Tensor]) -> str:
    """Run once more to find the first innermost module whose output is NaN or Inf."""
    found = []

    def watch(name: str, _: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    hooks = {name: partial(watch, name) for name, _ in model.named_modules() if name}
    with following(hooks)(model):
        network()
    return found[0] if found else "latents"
