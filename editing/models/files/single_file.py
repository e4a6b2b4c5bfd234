"""One .safetensors file in the original Stable Diffusion layout, read offline.

The architecture comes from `assets/checkpoints` and widths from the tensors, so narrow
and pruned checkpoints load too.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import PREDICTIONS
from regrain.editing.models.files.configs import check_values
from regrain.editing.models.files.folder import (
    ModelParts,
    check_configs,
    with_prediction,
)
from regrain.editing.models.files.lora_file import stated_prediction
from regrain.editing.models.files.offers import (
    V_MARK,
    other_kind_of,
    stated_side,
    version_of,
)
from regrain.editing.models.files.reader import CLIP
from regrain.editing.models.files.sidecar import read_sidecar
from regrain.editing.models.files.tensors import opened, read_tensors
from regrain.editing.params.registry import SUPPORTED
from regrain.editing.storage.local_models import ASSETS

CHECKPOINTS = ASSETS / "checkpoints"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
_CLIP, _OPENCLIP = "transformer.text_model.", "model."
# Of each version, its text encoders.
TEXT = {
    "sd1": {"text_encoder": f"cond_stage_model.{_CLIP}"},
    "sd2": {"text_encoder": f"cond_stage_model.{_OPENCLIP}"},
    "sdxl": {
        "text_encoder": f"conditioner.embedders.0.{_CLIP}",
        "text_encoder_2": f"conditioner.embedders.1.{_OPENCLIP}",
    },
}
TITLES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL"}
# How `modelspec.architecture` begins.
_ARCHITECTURES = {
    "sd1": "stable-diffusion-v1",
    "sd2": "stable-diffusion-v2",
    "sdxl": "stable-diffusion-xl",
}
_ZERO_SNR = "ztsnr"  # an empty tensor that says so
# Of weights of 8 bits: their scale, and what a kernel for them would need.
_SCALE = ".scale_weight"
_SCALES_OF_INPUT = (".scale_input", "scaled_fp8")
HEAD = 64  # width of a head wherever a checkpoint does not fix their number
EPS_CORRELATION = 0.5


def read_file(path: Path, dtype: torch.dtype, prediction: str = "") -> ModelParts:
    """Read one checkpoint file.

    Stable Diffusion 2.x is recognised by its OpenCLIP text encoder (cross-attention
    1024 wide). Most files do not say what the network predicts. It is taken from, in
    this order: the .yaml beside the file, the metadata (`modelspec.prediction_type`),
    an empty tensor named `v_pred`, `prediction`, and for 2.x the network itself
    (`guess_prediction`). An empty tensor named `ztsnr` says that the last level has no
    signal, and the metadata may say which layer of the text encoder is read, and the
    size of pictures (`modelspec.resolution`). Without that, SDXL works at 1024 pixels,
    2.x with v-prediction at 768, all others at 512.

    Args:
        path: The file.
        dtype: Type of UNet and text encoders.
        prediction: What the network predicts, for files that do not say.
    Raises:
        ModelError: The file is not a complete checkpoint of Stable Diffusion 1.x, 2.x
            or XL, or says that it is of a kind that is not supported.
    """
    name = shorten(path.name)
    with opened(path, "model", path.name) as file:
        metadata = file.metadata() or {}
        names = frozenset(file.keys())
        version = whole_version(names, name)
        beside = read_sidecar(path, version)
        scale = beside.pop("scaling_factor", None)
        if scale is not None:
            check_values({"scaling_factor": scale}, "vae", name)
        skipped = _skipped_layers(metadata, version, name)
        _check_metadata(metadata, version, name)
        side = stated_side(metadata, name)
        scheduler = _scheduler(path, version, names, metadata, beside)
        scheduler = with_prediction(scheduler, prediction, name)
        check_configs({}, {"prediction_type": "v_prediction"} | scheduler, path.name)
        checkpoint = _weights(read_tensors(file), name)
    # Some weights are missing, or have shapes that no such model has.
    incomplete = f"{name} is not a complete {TITLES[version]} checkpoint. Use another."
    with boundary("model", incomplete, ModelError):
        unet = _unet(checkpoint, version)
        vae = _vae(checkpoint, version, scale)
        encoders = {
            part: _text_encoder(checkpoint, version, part, skipped)
            for part in TEXT[version]
        }
    vae.to(torch.float32).eval()
    for part in (unet, *encoders.values()):
        part.to(dtype).eval()

    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    pad = "!" if version == "sd2" else "<|endoftext|>"
    tokenizer = CLIPTokenizer.from_pretrained(
        CLIP, pad_token=pad, local_files_only=True
    )
    if "prediction_type" not in scheduler and version == "sd2":
        ids = torch.tensor(tokenizer([""], padding="max_length").input_ids)
        empty = encoders["text_encoder"](ids).last_hidden_state
        scheduler["prediction_type"] = guess_prediction(unet, empty)
    scheduler.setdefault("prediction_type", "epsilon")
    if side:
        unet.register_to_config(sample_size=side // 8)
    elif version == "sd2" and scheduler["prediction_type"] == "v_prediction":
        unet.register_to_config(sample_size=96)
    return ModelParts(unet, vae, tokenizer=tokenizer, scheduler=scheduler, **encoders)


def _weights(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of a file, with the scales of those of 8 bits multiplied in;
    others that are whole numbers raise ModelError."""
    weights = dict(tensors)
    for key, scale in tensors.items():
        if (
            key.endswith(_SCALE)
            and (of := key.removesuffix(_SCALE) + ".weight") in weights
        ):
            weights[of] = weights[of].float() * scale.float()
            del weights[key]
    for key in [key for key in weights if key.endswith(_SCALES_OF_INPUT)]:
        del weights[key]
    parts = [key for key in weights if key.endswith(".weight")]
    whole = [key for key in parts if not weights[key].is_floating_point()]
    if whole:
        said = (
            f"{name} has weights of {weights[whole[0]].dtype}, which is not supported"
        )
        raise ModelError("model", f"{said}. Use one of 16 bits.")
    return weights


def _scheduler(
    path: Path,
    version: str,
    names: Collection[str],
    metadata: Mapping[str, str],
    beside: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the schedule of a file as scheduler_config.json would, without
    `prediction_type` if nothing says it; `beside` is what the .yaml says."""
    known = _config(version, "scheduler", "scheduler_config.json")
    known.pop("prediction_type", None)
    if _ZERO_SNR in names or metadata.get("ss_zero_terminal_snr") == "True":
        known |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    stated = "v_prediction" if V_MARK in names else stated_prediction(metadata)
    if stated not in ("", *PREDICTIONS):
        reason = f"{shorten(path.name)} predicts {shorten(stated)}"
        raise ModelError("model", f"{reason}, which is not supported. Use another.")
    if stated:
        known["prediction_type"] = stated
    known |= beside
    check_values(known, "scheduler", shorten(path.name))
    return known


def _skipped_layers(metadata: Mapping[str, str], version: str, name: str) -> int:
    """Return how many of the last layers of the text encoder a file says to leave out;
    only 1.x may leave out others than usual."""
    stated = metadata.get("modelspec.encoder_layer", "")
    if version == "sdxl" and stated == "1":  # which trainers of SDXL write unheeded
        return 0
    usual = 1 if version == "sd1" else 2
    layer = int(stated) if re.fullmatch(r"[1-9]", stated) else usual
    if layer != usual and version != "sd1" or stated not in ("", str(layer)):
        said = f"{name} has encoder_layer {shorten(stated)}, which is not supported"
        raise ModelError("model", f"{said}. Use another.")
    return layer - usual


def _check_metadata(metadata: Mapping[str, str], version: str, name: str) -> None:
    """Refuse a file that says that it is of another kind than its weights, or was
    trained for a part of the steps."""
    stated = metadata.get("modelspec.architecture", "").lower()
    other = stated and not stated.startswith(_ARCHITECTURES[version])
    if other or "edm" in stated:
        said = f"{name} has architecture {shorten(stated)}, which is not supported"
        raise ModelError("model", f"{said}. Use {SUPPORTED}.")
    steps = metadata.get("modelspec.timestep_range", "")
    if steps.replace(" ", "") not in ("", "0,999", "0,1000"):
        said = f"{name} has timestep_range {shorten(steps)}, which is not supported"
        raise ModelError("model", f"{said}. Use a model for all timesteps.")


def whole_version(checkpoint: Collection[str], name: str) -> str:
    """Recognise the version by its text encoders; other or incomplete files raise
    ModelError."""
    version = version_of(checkpoint)
    if f"conditioner.embedders.0.{_OPENCLIP}token_embedding.weight" in checkpoint:
        raise ModelError("model", f"{name} is the refiner of SDXL. Use its base model.")
    title = other_kind_of(checkpoint)
    if title is not None:
        said = f"{name} is {title}, which is not supported. Use {SUPPORTED}."
        raise ModelError("model", said)
    if version != "sdxl" and f"{UNET}label_emb.0.0.weight" in checkpoint:
        said = f"{name} reads a class or a picture's vector (unCLIP), which is not supported"
        raise ModelError("model", f"{said}. Use {SUPPORTED}.")
    needed = {
        "UNet": f"{UNET}input_blocks.0.0.weight",
        "autoencoder": f"{VAE}encoder.conv_in.weight",
    }
    for part in TEXT[version]:
        needed[part.replace("_", " ")] = _token_table(version, part)
    for part, key in needed.items():
        if key not in checkpoint:
            advice = "Use a complete Stable Diffusion checkpoint."
            raise ModelError("model", f"{name} has no {part} ({key}). {advice}")
    return version


def _token_table(version: str, part: str) -> str:
    """Return the key of a text encoder's table of tokens."""
    prefix = TEXT[version][part]
    if prefix.endswith(_CLIP):
        prefix += "embeddings."
    return f"{prefix}token_embedding.weight"


def _count(checkpoint: Mapping[str, Tensor], prefix: str) -> int:
    """Count the numbered parts below a prefix."""
    inner = [key.removeprefix(prefix) for key in checkpoint if key.startswith(prefix)]
    return len({key.split(".")[0] for key in inner})


@torch.no_grad()
def guess_prediction(unet: Callable, text: Tensor) -> str:
    """Find out what a network predicts from its output at the noisiest level, on almost
    pure noise.

    A network for eps returns nearly that noise (correlation close to 1). One for v
    returns minus the image that it expects, which does not resemble the noise. `text`
    is the encoded empty prompt, [1, L, d].
    """
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = unet(noise.to(text), 999, text).sample.float()
    correlation = torch.corrcoef(torch.stack([answer.flatten(), noise.flatten()]))[
        0, 1
    ].item()
    return "epsilon" if correlation > EPS_CORRELATION else "v_prediction"


def _config(version: str, part: str, name: str = "config.json") -> dict:
    return json.loads((CHECKPOINTS / version / part / name).read_text(encoding="utf-8"))


def _unet(checkpoint: Mapping[str, Tensor], version: str) -> nn.Module:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = _config(version, "unet")
    levels = range(len(config["block_out_channels"]))
    # with the one that halves the sides
    blocks_per_level = config["layers_per_block"] + 1
    starts = [f"{UNET}input_blocks.{1 + blocks_per_level * level}." for level in levels]
    widths = [len(checkpoint[f"{start}0.out_layers.3.weight"]) for start in starts]
    attention = f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    own: dict[str, object] = {
        "in_channels": checkpoint[f"{UNET}input_blocks.0.0.weight"].shape[1],
        "block_out_channels": widths,
        "cross_attention_dim": checkpoint[attention].shape[1],
    }
    if version != "sd1":
        own["attention_head_dim"] = [max(1, width // HEAD) for width in widths]
    if version == "sdxl":
        depths = [
            _count(checkpoint, f"{start}1.transformer_blocks.") for start in starts
        ]
        own["transformer_layers_per_block"] = [max(1, depth) for depth in depths]
        own |= _added_widths(checkpoint)
    check_configs(config | own, {}, TITLES[version])
    unet = _part(UNet2DConditionModel, checkpoint, version, "unet", **own)
    given = sum(key.startswith(UNET) for key in checkpoint)
    more = given - len(unet.state_dict())
    if more > 0:
        said = f"Its UNet has {more} weights more than one of {TITLES[version]}"
        raise ModelError("model", f"{said}, which is not supported. Use another.")
    return unet


def _added_widths(checkpoint: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the widths of SDXL's input beside the text: pooled text, and six sizes."""
    both = checkpoint[f"{UNET}label_emb.0.0.weight"].shape[1]
    pooled = checkpoint[f"{TEXT['sdxl']['text_encoder_2']}text_projection"].shape[1]
    return {
        "projection_class_embeddings_input_dim": both,
        "addition_time_embed_dim": (both - pooled) // 6,
    }


def _vae(
    checkpoint: Mapping[str, Tensor], version: str, scale: float | None
) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    keys = [f"{VAE}encoder.down.{level}.block.0.conv2.weight" for level in range(4)]
    own: dict[str, object] = {
        "block_out_channels": [len(checkpoint[key]) for key in keys]
    }
    if scale is not None:
        own["scaling_factor"] = scale
    return _part(AutoencoderKL, checkpoint, version, "vae", **own)


def _part(
    kind: Any, checkpoint: Mapping[str, Tensor], version: str, part: str, **own: object
) -> nn.Module:
    place = {
        "config": str(CHECKPOINTS / version),
        "subfolder": part,
        "local_files_only": True,
    }
    return kind.from_single_file(dict(checkpoint), **place, **own)


def _text_encoder(
    checkpoint: Mapping[str, Tensor], version: str, part: str, skipped: int
) -> nn.Module:
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_open_clip_checkpoint,
    )
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    prefix = TEXT[version][part]
    is_openclip = prefix.endswith(f".{_OPENCLIP}")
    if is_openclip:
        layers = f"{prefix}transformer.resblocks."
        wide = "mlp.c_fc"
    else:
        layers = f"{prefix}encoder.layers."
        wide = "mlp.fc1"
    vocabulary, width = checkpoint[_token_table(version, part)].shape
    depth = _count(checkpoint, layers)
    if version == "sd2":
        depth = min(depth, 23)  # 2.x reads the last but one
    depth = max(1, depth - skipped)
    config = _config(version, part) | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": max(1, width // HEAD),
        "num_hidden_layers": depth,
        "intermediate_size": len(checkpoint[f"{layers}0.{wide}.weight"]),
    }
    kind = CLIPTextModel
    if part == "text_encoder_2":
        kind = CLIPTextModelWithProjection
        config["projection_dim"] = checkpoint[f"{prefix}text_projection"].shape[1]
    with init_empty_weights():
        model = kind(CLIPTextConfig(**config))
    if is_openclip:
        weights = convert_open_clip_checkpoint(model, checkpoint, prefix=prefix)
    else:
        weights = convert_ldm_clip_checkpoint(checkpoint)
    if not hasattr(model, "text_model"):  # transformers 5 has one module less
        weights = {
            key.removeprefix("text_model."): value for key, value in weights.items()
        }
    expected = model.state_dict()
    known = {key: value for key, value in weights.items() if key in expected}
    model.load_state_dict(known, assign=True)
    return model
