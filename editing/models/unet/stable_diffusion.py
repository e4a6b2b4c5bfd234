"""Stable Diffusion 1.x and 2.x, and other models with a UNet, an autoencoder and a CLIP text encoder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionLayer, Grid, install
from regrain.editing.diffusion.schedule import Prediction, Schedule, Step, split
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.files.offers import STABLE_DIFFUSION
from regrain.editing.models.files.words import tokenise
from regrain.editing.models.intervention import PLAIN, Intervention, checkpointed, hooked, patched
from regrain.editing.models.turns import TurnTaking, diverged
from regrain.editing.models.unet.temporal import tunable_shapes, untuned
from regrain.editing.storage.memory import (
    activations_fit,
    frames_at_once,
    halves_fit,
    window_frames,
)

_SKETCHED = 64  # layers in a sketch at most; Stable Diffusion 1.5 has 32


@dataclass(eq=False, repr=False)
class StableDiffusion(TurnTaking):
    """A loaded model. All callers share its weights, so it keeps no state of a run.

    Attributes:
        size: Short side in pixels at which the model was trained.
        coarsest: Side of a cell of the coarsest attention grid, in latents.
        multiple: Both sides of a working size are multiples of this, in pixels, as the UNet's levels need.
        token_limit: Most tokens in a prompt, start and end included.
        defaults: Recommended parameters by method name.
        words: The words it was trained on, lower case; None if it takes any.
        offers: What it offers to methods; see `editing.params.registry.OFFERS`.
        dtype: Type of UNet and text encoder. Autoencoder and latents are float32.
        takes_turns: Whether its parts stay in main memory except the one in use.
    """

    id: str
    unet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    tokenizer: Any  # of transformers, which types none
    schedule: Schedule
    prediction: Prediction
    device: torch.device
    dtype: torch.dtype
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    words: frozenset[str] | None = None
    takes_turns: bool = False

    frames_per_latent: ClassVar[int] = 1
    _KEPT: ClassVar[int] = (
        450  # tensors as wide as `_finest`, kept for a backward pass: 392 counted
    )

    def __post_init__(self) -> None:
        self._settle(self.prediction)
        vae = self.vae.config
        channels = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
        self.sites: tuple[AttentionLayer, ...] = install(self.unet)
        self.factor: int = 2 ** (len(channels) - 1)  # pixels per latent
        self.coarsest: int = 2 ** (len(self.unet.config.block_out_channels) - 1)
        self.multiple: int = self.factor * self.coarsest
        self.size: int = self.unet.config.sample_size * self.factor
        self.token_limit: int = min(
            self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings
        )
        self.offers: frozenset[str] = STABLE_DIFFUSION

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What has weights, by its folder."""
        return {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoder}

    @cached_property
    def sketch(self) -> tuple[float, ...]:
        """A few numbers by which adapters know the weights they were tuned on, in any dtype, on any device.

        Each is the projection of one attention layer's normalised keys and values on a fixed direction.
        Rounding to bfloat16 moves it by about 0.001, a LoRA at its usual weight by more than 0.01.
        """
        projections = []
        for site in self.sites[:_SKETCHED]:
            parts = (
                self.unet.get_parameter(f"{site.name}.{part}.weight") for part in ("to_k", "to_v")
            )
            flat = torch.cat([part.detach().double().cpu().flatten() for part in parts])
            projections.append(float((flat @ torch.arange(len(flat)).double().cos()) / flat.norm()))
        return tuple(projections)

    def tunable_shapes(self, rank: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights that Tune-A-Video tunes; see `temporal.tunable_shapes`."""
        return tunable_shapes(self.unet, rank)

    def untuned(self, rank: int, fresh: torch.Generator) -> dict[str, Float[Tensor, "..."]]:
        """Those weights before the first step; see `temporal.untuned`."""
        return untuned(self.unet, rank, fresh)

    def activations_fit(self, frames: int, height: int, width: int) -> bool:
        """Whether all activations of a call fit until its backward pass; height and width in latents."""
        return activations_fit(self.activation_bytes(frames, height, width), self._free(self.unet))

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        """Memory of those activations in bytes."""
        return frames * height * width * prod(self._finest) * self._KEPT

    def halves_fit(self, frames: int, height: int, width: int) -> bool:
        """Whether both halves of guidance fit into one call of `predict`; height and width in latents."""
        return halves_fit(frames, height * width, *self._finest, self._free(self.unet))

    def window_frames(self, rows: int, height: int, width: int) -> int:
        """How many frames of a long clip are edited together, with so many rows of `predict` a frame."""
        return window_frames(rows, height * width, *self._finest, self._free(self.unet))

    @property
    def _finest(self) -> tuple[int, int]:
        """Channels of the finest level with attention, for each cell of the latents; bytes of a number."""
        least = self.sites[0].least
        channels = int(self.unet.config.block_out_channels[least.bit_length() - 1]) // least**2
        return max(1, channels), self.dtype.itemsize

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """The grid of the latents of a clip of this working size in pixels."""
        return Grid(frames, height // self.factor, width // self.factor)

    @torch.no_grad()
    def encode(
        self, frames: UInt8[np.ndarray, "frames height width 3"]
    ) -> Float[Tensor, "frames c gh gw"]:
        """Encode frames at a working size to the mean of the posterior, scaled to about unit deviation."""
        latents, size = [], frames.shape[1:3]
        at_once = frames_at_once(*size, self._free(self.vae))
        for start in range(0, len(frames), max(1, at_once)):
            pixels = torch.from_numpy(frames[start : start + max(1, at_once)].copy()).to(
                self.device
            )
            with self._turn(self.vae, len(frames), size), _tiled(self.vae, not at_once):
                out = self.vae.encode(pixels.movedim(-1, 1).contiguous().float() / 127.5 - 1)
            latents.append(out.latent if hasattr(out, "latent") else out.latent_dist.mean)
        # Contiguous, since a cached copy is, and convolutions round differently on another memory layout.
        return torch.cat(latents).contiguous() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "frames c gh gw"]
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Decode latents to RGB frames."""
        frames = []
        height, width = (side * self.factor for side in latents.shape[-2:])
        at_once = frames_at_once(height, width, self._free(self.vae))
        for part in (latents.float() / self.vae.config.scaling_factor).split(max(1, at_once)):
            with self._turn(self.vae, len(latents), (height, width)), _tiled(self.vae, not at_once):
                pixels = self.vae.decode(part.to(self.device)).sample
            frames.append(
                ((pixels + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
            )
        return np.concatenate(frames)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str], fields: Sequence[str] | None = None) -> PromptEmbedding:
        """Encode prompts, padded to the token limit; `fields` and errors as in `check_prompts`."""
        tokens = self.check_prompts(
            prompts, ["prompt"] * len(prompts) if fields is None else fields
        )
        vectors, pooled = self._encode(prompts, tokens)
        offsets = tuple(tuple(map(tuple, row)) for row in tokens.offset_mapping)
        lengths, ids = tuple(map(sum, tokens.attention_mask)), tuple(map(tuple, tokens.input_ids))
        return PromptEmbedding(tuple(prompts), vectors, lengths, offsets, ids, pooled)

    def _encode(
        self, prompts: Sequence[str], tokens: Any
    ) -> tuple[Float[Tensor, "n L d"], Float[Tensor, "n p"] | None]:
        """Vectors of prompts and their tokens, and pooled ones if the network takes such."""
        rows = torch.tensor(tokens.input_ids, device=self.device)
        with self._turn(self.text_encoder):
            vectors = self.text_encoder(rows).last_hidden_state.float()
        if getattr(self.text_encoder.config, "zero_padding", False):
            vectors *= torch.tensor(tokens.attention_mask, device=self.device)[..., None]
        return vectors, None

    def check_prompts(self, prompts: Sequence[str], fields: Sequence[str]) -> Any:
        """Tokenise prompts without encoding them, and refuse those that cannot be encoded.

        Raises:
            PromptError: A prompt exceeds the token limit or has a word that the model does not know (ignoring
                case and punctuation); the field is that of `fields`.
        """
        return tokenise(self.tokenizer, prompts, fields, self.words, self.token_limit)

    def predict(
        self,
        x: Float[Tensor, "rows c gh gw"],
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> tuple[Float[Tensor, "rows c gh gw"], Float[Tensor, "rows c gh gw"]]:
        """Predict (x0, eps) from noisy latents, whatever the network outputs.

        One model call for all rows. Gradients flow if `text.vectors` or tensors of `change` require them.

        Args:
            x: Rows (branch frame), at the level where `step` starts; (x0, eps) are in its dtype.
            step: The step.
            text: One prompt per row, or one per branch, which is then used for each of its frames.
            change: Changes to the model for this call.
            recompute: Recompute activations in the backward pass to save memory, each part under the same
                patches and the same lock as the call itself.
        Raises:
            ValueError: The prompts do not divide the rows.
            DivergedError: The output of the network has NaN or Inf.
            ResourceError: Out of memory.
        """
        if len(x) % len(text):
            raise ValueError(f"text: {len(text)} prompts do not divide {len(x)} rows")

        @contextmanager
        def changed() -> Iterator[None]:
            size = (x.shape[-2] * self.factor, x.shape[-1] * self.factor)
            with (
                self._turn(self.unet, len(x) // len(text), size),
                patched(self.unet, change.patches),
            ):
                yield

        network = self._network(x, step, text, change)
        keeps_less = checkpointed(changed)(self.unet) if recompute else nullcontext()
        with changed(), keeps_less:
            output = network()
            if not output.isfinite().all():
                raise diverged(_first_not_finite(self.unet, network), step)
        level = self.schedule.level(step.t)
        x0, eps = split(output.to(x), x, *level, self.prediction)
        # An inversion step may pass the model a level other than that of its latents.
        if level != (step.signal, step.noise):
            x0 = (x - step.noise * eps) / step.signal
        return x0, eps

    def read_by(self, x: Tensor, text: PromptEmbedding) -> dict[str, Any]:
        """What a network reads beside `x`, by the name of its argument: a row of `text` for each of `x`."""
        return {
            "encoder_hidden_states": text.vectors.to(x).repeat_interleave(
                len(x) // len(text), dim=0
            )
        }

    def _network(
        self, x: Tensor, step: Step, text: PromptEmbedding, change: Intervention
    ) -> Callable[[], Tensor]:
        """One forward of the UNet, to be called once its patches are entered."""
        rows, t = x.to(self.device, self.dtype), torch.tensor(step.t, device=self.device)
        given = self.read_by(rows, text) | {"return_dict": False}
        given["cross_attention_kwargs"] = {"attend": change.attend, "queries": change.queries}

        def network() -> Tensor:
            down, middle = (None, None) if change.control is None else change.control(rows, t)
            residuals = {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }
            return self.unet(rows, t, **given, **residuals)[0]

        return network


_TILES = ("tile_sample_min_size", "tile_latent_min_size")


@contextmanager
def _tiled(vae: nn.Module, wanted: bool) -> Iterator[None]:
    """Let the autoencoder work in overlapping tiles, for this call."""
    if not wanted:
        yield
        return
    vae.enable_tiling()
    # AutoencoderKL's tiles are as large as its training pictures, so one of those would not be cut.
    usual = {name: getattr(vae, name) for name in _TILES if hasattr(vae, name)}
    for name, size in usual.items():
        setattr(vae, name, size // 2)
    try:
        yield
    finally:
        for name, size in usual.items():
            setattr(vae, name, size)
        vae.disable_tiling()


def _first_not_finite(model: nn.Module, network: Callable[[], Tensor]) -> str:
    """Run once more to find the first innermost module whose output is NaN or Inf."""
    found = []

    def watch(name: str, _: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    modules = ((name, module) for name, module in model.named_modules() if name)
    with hooked(module.register_forward_hook(partial(watch, name)) for name, module in modules):
        network()
    return found[0] if found else "latents"
