"""One .safetensors file in the original Stable Diffusion layout, read offline.

The architecture comes from `assets/checkpoints` and widths from the tensors, so narrow and pruned checkpoints
load too.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.loading.folder import ModelParts
from regrain.editing.models.loading.reader import read_merges, read_vocabulary
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.safetensors_files import check_head

CHECKPOINTS = ASSETS / "checkpoints"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPENCLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
TOKENS = {"sd1": f"{CLIP}embeddings.token_embedding.weight", "sd2": f"{OPENCLIP}token_embedding.weight"}
HEAD = 64  # width of a head wherever a checkpoint does not fix their number
EPS_CORRELATION = 0.5
MAX_TOKENS = 77


def read_file(path: str, dtype: torch.dtype) -> ModelParts:
    """Read one checkpoint file.

    Stable Diffusion 2.x is recognised by its OpenCLIP text encoder (cross-attention 1024 wide). Most files do
    not say what the network predicts. It is taken from, in this order: the metadata
    (`modelspec.prediction_type`), an empty tensor named `v_pred`, and for 2.x the network itself
    (`guess_prediction`). 2.x with v-prediction works at 768 pixels, all others at 512.

    Raises:
        ModelError: The file is not a complete checkpoint of Stable Diffusion 1.x or 2.x.
    """
    name = shorten(Path(path).name)
    check_head(Path(path), "model")
    damaged = f"{name} is damaged or not a .safetensors file. Download it again."
    with boundary("model", damaged, ModelError), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        checkpoint = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    version = _version(checkpoint, name)
    # Some weights are missing, or have shapes that no such model has.
    incomplete = f"{name} is not a complete Stable Diffusion {version[2:]}.x checkpoint. Use another."
    with boundary("model", incomplete, ModelError):
        unet, vae = _unet(checkpoint, version), _vae(checkpoint, version)
        text_encoder = _text_encoder(checkpoint, version)
    for part, kept_as in ((unet, dtype), (vae, torch.float32), (text_encoder, dtype)):
        part.to(kept_as).eval()

    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    pad = "!" if version == "sd2" else "<|endoftext|>"
    tokenizer = CLIPTokenizer(
        vocab=read_vocabulary(), merges=read_merges(), pad_token=pad, model_max_length=MAX_TOKENS
    )
    scheduler = _config(version, "scheduler", "scheduler_config.json")
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated.startswith("v") or "v_pred" in checkpoint:
        scheduler["prediction_type"] = "v_prediction"
    elif version == "sd2" and not stated.startswith("eps"):
        ids = torch.tensor(tokenizer([""], padding="max_length").input_ids)
        scheduler["prediction_type"] = guess_prediction(unet, text_encoder(ids).last_hidden_state)
    if version == "sd2" and scheduler["prediction_type"] == "v_prediction":
        unet.register_to_config(sample_size=96)
    return ModelParts(unet, vae, text_encoder, tokenizer, scheduler)


def _version(checkpoint: Mapping[str, Tensor], name: str) -> str:
    """Recognise "sd1" or "sd2" by the text encoder; other or incomplete files raise ModelError."""
    if any(key.startswith("conditioner.embedders.") for key in checkpoint):
        raise ModelError("model", f"{name} is an SDXL checkpoint. Use Stable Diffusion 1.x or 2.x.")
    version = "sd2" if TOKENS["sd2"] in checkpoint else "sd1"
    needed = {
        "UNet": f"{UNET}input_blocks.0.0.weight",
        "autoencoder": f"{VAE}encoder.conv_in.weight",
        "text encoder": TOKENS[version],
    }
    for part, key in needed.items():
        if key not in checkpoint:
            advice = "Use a complete Stable Diffusion checkpoint."
            raise ModelError("model", f"{name} has no {part} ({key}). {advice}")
    return version


@torch.no_grad()
def guess_prediction(unet: Callable, text: Tensor) -> str:
    """Find out what a network predicts from its output at the noisiest level, on almost pure noise.

    A network for eps returns nearly that noise (correlation close to 1). One for v returns minus the image
    that it expects, which does not resemble the noise. `text` is the encoded empty prompt, [1, L, d].
    """
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = unet(noise.to(text), 999, text).sample.float()
    correlation = torch.corrcoef(torch.stack([answer.flatten(), noise.flatten()]))[0, 1].item()
    return "epsilon" if correlation > EPS_CORRELATION else "v_prediction"


def _config(version: str, part: str, name: str = "config.json") -> dict:
    return json.loads((CHECKPOINTS / version / part / name).read_text(encoding="utf-8"))


def _unet(checkpoint: Mapping[str, Tensor], version: str) -> nn.Module:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    first = _config(version, "unet")["layers_per_block"] + 1
    widths = [len(checkpoint[f"{UNET}input_blocks.{1 + first * i}.0.out_layers.3.weight"]) for i in range(4)]
    heads = {} if version == "sd1" else {"attention_head_dim": [max(1, width // HEAD) for width in widths]}
    text = checkpoint[f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"]
    return UNet2DConditionModel.from_single_file(
        dict(checkpoint),
        config=str(CHECKPOINTS / version),
        subfolder="unet",
        local_files_only=True,
        block_out_channels=widths,
        in_channels=checkpoint[f"{UNET}input_blocks.0.0.weight"].shape[1],
        cross_attention_dim=text.shape[1],
        **heads,
    )


def _vae(checkpoint: Mapping[str, Tensor], version: str) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL.from_single_file(
        dict(checkpoint),
        config=str(CHECKPOINTS / version),
        subfolder="vae",
        local_files_only=True,
        block_out_channels=[len(checkpoint[f"{VAE}encoder.down.{i}.block.0.conv2.weight"]) for i in range(4)],
    )


def _text_encoder(checkpoint: Mapping[str, Tensor], version: str) -> nn.Module:
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    if version == "sd1":
        layers, inner = f"{CLIP}encoder.layers.", "mlp.fc1.weight"
    else:
        layers, inner = f"{OPENCLIP}transformer.resblocks.", "mlp.c_fc.weight"
    depth = len({key.removeprefix(layers).split(".")[0] for key in checkpoint if key.startswith(layers)})
    vocabulary, width = checkpoint[TOKENS[version]].shape
    config = _config(version, "text_encoder") | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": max(1, width // HEAD),
        "num_hidden_layers": depth if version == "sd1" else min(depth, 23),  # 2.x reads the last but one
        "intermediate_size": len(checkpoint[f"{layers}0.{inner}"]),
    }
    with init_empty_weights():
        model = CLIPTextModel(CLIPTextConfig(**config))
    if version == "sd1":
        weights = convert_ldm_clip_checkpoint(checkpoint)
    else:
        weights = convert_open_clip_checkpoint(model, checkpoint, prefix=OPENCLIP)
    if not hasattr(model, "text_model"):  # transformers 5 has one module less
        weights = {key.removeprefix("text_model."): value for key, value in weights.items()}
    expected = model.state_dict()
    model.load_state_dict({key: weights[key] for key in weights if key in expected}, assign=True)
    return model
