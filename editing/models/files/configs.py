"""The JSON files of a model's folder, read through types: a stranger's numbers must not
fill memory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ModelError, from_validation, shorten
from regrain.editing.media.lazy_frames import Size
from regrain.editing.models.files.config_keys import check_keys, check_known
from regrain.editing.models.files.schedulers import Defaults
from regrain.editing.storage.texts import Json, read_text

_MAX_BYTES = 8_000_000  # a vocabulary has about one
_Width = Annotated[int, Field(ge=1, le=16_384)]
# short side in pixels at which Wan 2.1 of 1.3 billion weights was trained, and, by the
# pixels of a latent, at which Wan 2.2 of 5 billion was
WAN_SIZE = 480
_WAN_SIZES = {16: 704}
_WAN_STAGES = (False, True, True)
"""Of its published autoencoders: the stages that halve sides, and the time, too."""
_Wide = Annotated[int, Field(ge=1, le=65_536)]
_Few = Annotated[int, Field(ge=1, le=128)]
_Side = Annotated[int, Field(ge=1, le=1024)]
_Level = Annotated[float, Field(ge=-1000, le=1000)]
_Spread = Annotated[float, Field(ge=1e-6, le=1000)]
_Deep = Annotated[int, Field(ge=0, le=128)]
_Widths = Annotated[list[_Width], Field(min_length=1, max_length=8)]
_Small = Annotated[float, Field(ge=0, le=1)]


def _dividing(key: str) -> AfterValidator:
    """Return what checks that a number divides that, or those, of a key before it."""

    def check(given: int, known: Any) -> int:
        if np.any(np.mod(known.data.get(key) or 0, given)):
            raise ValueError(f"expected a divisor of {key}")
        return given

    return AfterValidator(check)


class _Config(BaseModel):
    """Base of the checked files; keys that are not listed pass."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Convolutional(_Config):
    """What networks of convolutions have in common."""

    block_out_channels: _Widths | None = None
    norm_num_groups: Annotated[_Few, _dividing("block_out_channels")] = 32
    norm_eps: _Small = 1e-5
    mid_block_scale_factor: float = Field(1, gt=0, le=1000)


class SchedulerConfig(_Config):
    """scheduler_config.json; the defaults are those of diffusers' DDIM scheduler."""

    num_train_timesteps: int = Field(1000, ge=2, le=100_000)
    beta_start: float = Field(0.0001, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    beta_schedule: str = "linear"
    trained_betas: list[float] | None = Field(None, min_length=2, max_length=100_000)
    timestep_spacing: str = "leading"
    prediction_type: str = "epsilon"
    steps_offset: int = Field(0, ge=0, le=1000)
    set_alpha_to_one: bool = True
    rescale_betas_zero_snr: bool = False


class UNetConfig(_Convolutional):
    """unet/config.json."""

    in_channels: _Width = 4
    out_channels: _Width = 4
    sample_size: (
        _Side | Annotated[list[_Side], Field(min_length=2, max_length=2)] | None
    ) = None
    block_out_channels: _Widths = [320, 640, 1280, 1280]
    layers_per_block: _Few | list[_Few] = 2
    # of SSD-1B, a number for each layer of a block
    transformer_layers_per_block: _Deep | list[_Deep | list[_Deep]] = 1
    cross_attention_dim: _Width | list[_Width] = 1280
    attention_head_dim: _Side | list[_Width] = 8
    down_block_types: list[str] | None = Field(None, max_length=8)
    up_block_types: list[str] | None = Field(None, max_length=8)
    addition_embed_type: str | None = None
    addition_time_embed_dim: _Width | None = None
    projection_class_embeddings_input_dim: _Wide | None = None


class ControlConfig(_Convolutional):
    """config.json of a control network."""

    # layers that take in the hint; each after the first halves its sides
    conditioning_embedding_out_channels: _Widths = [16, 32, 96, 256]


def short_side(sample_size: int | Sequence[int]) -> int:
    """Return the short side of a UNet's `sample_size`, in latents."""
    return sample_size if isinstance(sample_size, int) else min(sample_size)


def wan_side(sample_size: int | None, factor: int) -> int:
    """Return the short side of a Wan in pixels; a latent has `factor` of them."""
    if sample_size:
        return sample_size * factor
    return _WAN_SIZES.get(factor, WAN_SIZE)


def image_factor(vae: Json) -> int:
    """Return the pixels of a latent's side, by a vae/config.json for images."""
    stages = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
    return 2 ** (len(stages) - 1)


def wan_factor(vae: Json) -> int:
    """Return the pixels of a latent's side, by a Wan's vae/config.json."""
    stages = len(vae.get("temperal_downsample", _WAN_STAGES))
    return 2**stages * (vae.get("patch_size") or 1)


def working_size(clip: Size, side: int, multiple: int) -> Size:
    """Return the working size (width, height) of a clip in pixels, each the nearest
    multiple.

    It has the clip's aspect ratio, and its short side is near `side`.
    """
    scale = side / min(clip)
    width, height = (max(1, round(one * scale / multiple)) for one in clip)
    return width * multiple, height * multiple


class TransformerConfig(_Config):
    """transformer/config.json, of Wan."""

    in_channels: _Width = 16
    out_channels: _Width | None = 16
    num_layers: _Few = 40
    num_attention_heads: _Few = 40
    attention_head_dim: Annotated[int, Field(ge=6, le=1024)] = 128
    ffn_dim: _Wide = 13_824
    eps: _Small = 1e-6
    rope_max_seq_len: Annotated[int, Field(ge=64, le=65_536)] = 1024
    text_dim: _Width = 4096
    patch_size: list[Annotated[int, Field(ge=1, le=16)]] = Field(
        [1, 2, 2], min_length=3, max_length=3
    )
    sample_size: _Side | None = None
    # of VACE: the blocks after which a control block adds something, and the channels
    # that control blocks read
    vace_layers: list[_Deep] = Field(
        [0, 5, 10, 15, 20, 25, 30, 35], min_length=1, max_length=128
    )
    vace_in_channels: _Width = 96

    @field_validator("vace_layers")
    @classmethod
    def _in_order(cls, given: list[int], known: Any) -> list[int]:
        """Check that they rise from the first block on; else a control block would add
        to another than its own."""
        if given != sorted({0, *given}) or given[-1] >= known.data.get("num_layers", 0):
            raise ValueError("expected rising numbers of blocks, from 0 on")
        return given


class AutoencoderConfig(_Convolutional):
    """vae/config.json."""

    in_channels: _Few = 3
    latent_channels: _Few = 4
    # of Wan
    z_dim: _Few | None = None
    scale_factor_spatial: _Few = 8
    dim_mult: list[_Few] = [1, 2, 4, 4]
    temperal_downsample: list[bool] | None = None
    # of AutoencoderDC; of each level
    encoder_block_out_channels: _Widths = []
    decoder_block_out_channels: _Widths = []
    encoder_layers_per_block: list[_Deep] = []
    decoder_layers_per_block: list[_Deep] = []
    encoder_qkv_multiscales: list[list[_Few]] = []
    decoder_qkv_multiscales: list[list[_Few]] = []
    attention_head_dim: _Side = 32
    scaling_factor: float = Field(0.18215, gt=0, le=1000)
    layers_per_block: _Few | list[_Few] = 2
    shift_factor: _Level | None = None
    latents_mean: list[_Level] | None = Field(None, max_length=128)
    latents_std: list[_Spread] | None = Field(None, max_length=128)

    @field_validator("latents_mean", "latents_std", "temperal_downsample")
    @classmethod
    def _of_every_channel(
        cls, given: Sequence[object] | None, known: Any
    ) -> Sequence[object] | None:
        """Check that there is a number for each channel, or between two levels."""
        before = known.data
        count = before.get("z_dim") or before.get("latent_channels")
        if known.field_name == "temperal_downsample":
            count = len(before.get("dim_mult", ())) - 1
        if given is not None and len(given) != count:
            raise ValueError(f"expected {count} of them")
        if given is not None and before.get("shift_factor"):
            raise ValueError("expected nothing beside shift_factor")
        return given


class TextEncoderConfig(_Config):
    """text_encoder/config.json."""

    hidden_size: _Width = 512
    intermediate_size: _Wide = 2048
    num_hidden_layers: _Few = 12
    num_attention_heads: Annotated[_Few, _dividing("hidden_size")] = 8
    max_position_embeddings: Annotated[int, Field(ge=4, le=4096)] = 77
    projection_dim: _Width = 512
    vocab_size: Annotated[int, Field(ge=4, le=1_000_000)] = 49_408
    layer_norm_eps: float = Field(1e-5, gt=0, le=1)
    # of Wan
    layer_norm_epsilon: float = Field(1e-6, gt=0, le=1)
    dropout_rate: _Small = 0.1
    d_model: _Width = 512
    d_kv: _Width = 64
    d_ff: _Wide = 1024
    num_layers: _Few = 8
    num_heads: _Few = 6
    # half of the buckets are for each direction, half of those for a distance each
    relative_attention_num_buckets: Annotated[int, Field(ge=4, le=128)] = 32
    relative_attention_max_distance: Annotated[int, Field(ge=33, le=65_536)] = 128
    eos_token_id: int = Field(49_407, ge=0)
    zero_padding: bool = False


class ImageEncoderConfig(TextEncoderConfig):
    """The part of a CLIP model that reads pictures."""

    hidden_size: _Width = 768
    num_attention_heads: Annotated[_Few, _dividing("hidden_size")] = 12
    image_size: _Side = 224
    patch_size: _Side = 32


class ReaderConfig(_Config):
    """config.json of a CLIP model."""

    text_config: TextEncoderConfig | None = None
    vision_config: ImageEncoderConfig | None = None
    projection_dim: _Width = 512


_TYPES: dict[str, type[_Config]] = {
    "scheduler": SchedulerConfig,
    "unet": UNetConfig,
    "control": ControlConfig,
    "transformer": TransformerConfig,
    "transformer_2": TransformerConfig,
    "vae": AutoencoderConfig,
    "text_encoder": TextEncoderConfig,
    "text_encoder_2": TextEncoderConfig,
    "reader": ReaderConfig,
}


def read_config(path: Path, id: str, part: str = "") -> Json:
    """Read a JSON file of a model's folder, checked by the part it is of; see
    `check_config`. Without a part, that is the folder that it is in.

    Raises:
        ModelError: It cannot be read, or has a value that is not supported.
    """
    place = f"{shorten(id)}: {path.parent.name}/{path.name}"
    return check_config(read_json(path, place), part or path.parent.name, place)


def read_part(path: Path, id: str, part: str) -> Json:
    """Read the config.json of a part that is no folder of a model; see `read_config` and
    `check_known`."""
    config = read_config(path, id, part)
    check_known(config, part, f"{shorten(id)}: {path.parent.name}/{path.name}")
    return config


def check_config(content: Any, part: str, place: str) -> Json:
    """Refuse a configuration that is no object, has a value that no such model has, or
    one that is not supported, by a ModelError; see `check_keys`."""
    if not isinstance(content, dict):
        raise ModelError("model", f"{place} is not a JSON object. Download it again.")
    check_keys(content, part, place)
    known = _TYPES.get(part)
    if known is not None:
        try:
            known.model_validate(content)
        except ValidationError as error:
            wrong = from_validation(error, known)
            raise ModelError(
                "model", f"{place}, {wrong.field}: {wrong.message} Use another model."
            ) from None
    return content


def read_json(path: Path, title: str) -> Any:
    """Read a JSON file of at most 8 MB.

    Raises:
        ModelError: It cannot be read; the message names it by its title.
    """
    check_regular(path, "model", ModelError, title)
    with boundary("model", f"{title} cannot be read. Download it again.", ModelError):
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        return json.loads(read_text(path))


def read_defaults(path: Path, id: str) -> Defaults:
    """Read the recommended parameters by method; none without the file."""
    if not os.path.lexists(path):
        return {}
    content = read_config(path, id, "defaults")
    if not all(isinstance(values, dict) for values in content.values()):
        raise ModelError(
            "model",
            f"{shorten(id)}: defaults.json is not an object of objects. Correct it.",
        )
    return content
