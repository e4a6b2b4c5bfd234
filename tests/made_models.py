"""Tiny random models with the shape of the real ones, written as diffusers folders."""

import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from json_files import read_json, write_json

from regrain.editing.models.weights import folder as weights_folder

clip_tokenizer = cache(weights_folder.clip_tokenizer)
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}


def autoencoder_blocks(levels: int) -> dict[str, tuple[str, ...]]:
    """The kinds of blocks that an `AutoencoderKL` has at so many levels."""
    sides = {
        "down_block_types": "DownEncoderBlock2D",
        "up_block_types": "UpDecoderBlock2D",
    }
    return {side: (kind,) * levels for side, kind in sides.items()}


def write_model(folder: Path, *, vae: str, seed: int = 0) -> Path:
    """Write a diffusers folder: 4 levels, 2 layers per block, 16 self- and 16
    cross-attention layers, narrow channels.

    `vae` is "AutoencoderKL" (4 latent channels) or "AutoencoderDC" (16, as the built-in
    model has).
    """
    from diffusers import AutoencoderDC, AutoencoderKL, UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        channels = 4 if vae == "AutoencoderKL" else 16
        sizes = {
            "sample_size": 8,
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": (32, 64, 64, 64),
            "layers_per_block": 2,
        }
        unet = UNet2DConditionModel(
            **sizes, attention_head_dim=8, cross_attention_dim=32
        )
        if vae == "AutoencoderKL":
            levels = {
                "block_out_channels": (32, 32, 32, 64),
                "layers_per_block": 2,
                "sample_size": 64,
            }
            autoencoder = AutoencoderKL(**autoencoder_blocks(4), **levels)
        else:
            levels = {
                "block_out_channels": (8, 8, 16, 32),
                "layers_per_block": (0, 1, 1, 1),
                "qkv_multiscales": ((), (), (), ()),
            }
            both = {
                f"{side}coder_{key}": value
                for side in ("en", "de")
                for key, value in levels.items()
            }
            autoencoder = AutoencoderDC(latent_channels=16, scaling_factor=0.5, **both)
        save_parts(folder, unet, autoencoder)
    if vae == "AutoencoderDC":
        path = folder / "vae" / "config.json"
        write_json(path, read_json(path) | {"sample_size": 64})
    return folder


def write_small_model(
    folder: Path, sdxl: bool = False, beside: str = "", **more: object
) -> Path:
    """Write a diffusers folder smaller still: 3 levels with attention (of SDXL 2), a
    layer per block.

    A latent has 2 x 2 pixels. Queries and keys are large enough for attention to look
    somewhere. `beside` adds the channels of what it reads beside its latents; `more`
    is for the UNet.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    kinds = (*([""] if sdxl else []), *["CrossAttn"] * 3)[:3]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        sizes = {
            "sample_size": 8,
            "block_out_channels": (8, 16, 16),
            "layers_per_block": 1,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
        }
        sizes |= SDXL if sdxl else {"cross_attention_dim": 32}
        sizes |= {"in_channels": {"": 4, "hole": 9, "source": 8}[beside], **more}
        down, up = ([f"{kind}{way}Block2D" for kind in kinds] for way in ("Down", "Up"))
        unet = UNet2DConditionModel(
            **sizes, down_block_types=down, up_block_types=up[::-1]
        )
        for name, weight in unet.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight")):
                weight.data *= 3
        sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "sample_size": 16}
        autoencoder = AutoencoderKL(**autoencoder_blocks(2), **sizes)
        save_parts(folder, unet, autoencoder)
    return folder


# Several transformer layers a block, two text encoders of other widths.
SDXL = {
    "transformer_layers_per_block": (1, 1, 2),
    "cross_attention_dim": 32 + 64,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 24 + 6 * 8,
}


def write_sdxl(folder: Path) -> Path:
    """Write a narrow SDXL with blocks as in the published one."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(5)
        widths = {
            "sample_size": 8,
            "block_out_channels": (32, 64, 64),
            "attention_head_dim": (1, 1, 1),
        }
        down = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
        up = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
        unet = UNet2DConditionModel(
            **widths, **SDXL, down_block_types=down, up_block_types=up
        )
        widths = {
            "sample_size": 64,
            "block_out_channels": (32, 32, 32, 64),
            "layers_per_block": 2,
        }
        autoencoder = AutoencoderKL(
            **widths, **autoencoder_blocks(4), scaling_factor=0.13025
        )
        save_parts(folder, unet, autoencoder)
    return folder


def save_parts(
    folder: Path, unet: torch.nn.Module, autoencoder: torch.nn.Module
) -> None:
    """Save both with a narrow text encoder (SDXL: two), CLIP's tokenizer and a
    scheduler."""
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    sizes = {"hidden_size": 32, "intermediate_size": 64, "projection_dim": 32}
    text_encoder = CLIPTextModel(
        CLIPTextConfig(**sizes, num_hidden_layers=2, num_attention_heads=1)
    )
    unet.save_pretrained(folder / "unet")
    autoencoder.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    if unet.config.addition_embed_type:
        sizes = {
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 1,
        }
        second = CLIPTextModelWithProjection(
            CLIPTextConfig(**sizes, projection_dim=24, hidden_act="gelu")
        )
        second.save_pretrained(folder / "text_encoder_2")
        clip_tokenizer(pad="!").save_pretrained(folder / "tokenizer_2")
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)


def write_configs(path: Path, unet=None, index=None, scheduler=None) -> Path:
    """Write a model's folder without weights."""
    given = {
        "unet/config": unet,
        "model_index": index,
        "scheduler/scheduler_config": scheduler,
    }
    for name, content in given.items():
        if content:
            (path / f"{name}.json").parent.mkdir(parents=True, exist_ok=True)
            write_json(path / f"{name}.json", content)
    return path


def write_tokenizer(folder: Path) -> Path:
    """Write CLIP's tokenizer as it is published: without tokenizer.json."""
    tokenizer = clip_tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    tokenizer.backend_tokenizer.model.save(str(folder))
    return folder


WORDS = "a an and the of on to cat dog fox panda horse grass beach red green blue blurred ugly left right"


VACE = {
    "num_layers": 3,
    "in_channels": 16,
    "out_channels": 16,
    "vace_layers": [0, 2],
    "vace_in_channels": 96,
}


def write_wan(
    folder: Path,
    vace: bool = False,
    experts: bool = False,
    coarse: bool = False,
    **more,
) -> Path:
    """Write a narrow Wan: a latent has 4 x 4 pixels and 4 frames, a token 2 x 2
    latents; a VACE has two control blocks, and latents of 8 x 8 pixels.

    With two experts that for low noise takes over below 0.875, as in Wan 2.2. A coarse
    one has the autoencoder of its 5B: pixels are read as patches of 2 x 2. More
    settings are the transformer's.
    """
    from diffusers import (
        AutoencoderKLWan,
        WanTransformer3DModel,
        WanVACETransformer3DModel,
    )
    from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng():
        torch.manual_seed(7)
        sizes = {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 2,
            "ffn_dim": 32,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 32,
            "freq_dim": 16,
            "rope_max_seq_len": 64,
        }
        kind = WanVACETransformer3DModel if vace else WanTransformer3DModel
        parts = ["transformer", "transformer_2"] if experts else ["transformer"]
        sizes |= (VACE if vace else {}) | more
        networks = {part: kind(**sizes) for part in parts}
        for network in networks.values():
            for name, weight in network.named_parameters():
                if name.endswith(("norm_q.weight", "norm_k.weight")):
                    weight.data *= 2
        sizes = {
            "base_dim": 8,
            "z_dim": 4,
            "dim_mult": [1, 1, 1],
            "num_res_blocks": 1,
            "temperal_downsample": [True, True],
        }
        scale = {
            "latents_mean": [0.1, 0.0, -0.1, 0.2],
            "latents_std": [0.5, 0.4, 0.6, 0.5],
        }
        if vace:
            sizes |= {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1]}
            sizes["temperal_downsample"] = [False, True, True]
            scale = {name: 4 * values for name, values in scale.items()}
            scale["latents_std"] = 4 * [2.8, 1.5, 2.3, 2.6]  # as the published
        if coarse:
            sizes |= {"is_residual": True, "patch_size": 2, "decoder_base_dim": 6}
            sizes |= {"in_channels": 12, "out_channels": 12}
            sizes |= {"scale_factor_spatial": 8}
        AutoencoderKLWan(**sizes, **scale).save_pretrained(folder / "vae")
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        UMT5EncoderModel(UMT5Config(**sizes, vocab_size=100)).save_pretrained(
            folder / "text_encoder"
        )
    for part, network in networks.items():
        network.save_pretrained(folder / part)
        config = folder / part / "config.json"
        write_json(config, read_json(config) | {"sample_size": 4})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS.split()]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz,."]
    T5TokenizerFast(vocab=pieces, extra_ids=0).save_pretrained(folder / "tokenizer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text('{"flow_shift": 3.0}')
    index: dict[str, object] = {"_class_name": "WanPipeline"}
    if experts:
        index["boundary_ratio"] = 0.875
    if coarse:
        index["expand_timesteps"] = True
    write_json(folder / "model_index.json", index)
    return folder


def without_control(vace: Path, copy: Path) -> Path:
    """A copy of a VACE without its control blocks: the Wan of its base layers."""
    from safetensors.torch import load_file, save_file

    part = shutil.copytree(vace, copy) / "transformer"
    weights = part / "diffusion_pytorch_model.safetensors"
    kept = load_file(weights)
    kept = {name: kept[name] for name in kept if not name.startswith("vace_")}
    save_file(kept, weights, {"format": "pt"})
    said = read_json(part / "config.json")
    said = {key: said[key] for key in said if not key.startswith("vace_")}
    said["_class_name"] = "WanTransformer3DModel"
    write_json(part / "config.json", said)
    return copy


def write_control_net(
    folder: Path, unet: torch.nn.Module, deviation: float, channels=(16, 32, 96, 256)
):
    """A ControlNet made from a UNet, its zero convolutions filled at random so that it
    does something.

    `channels` are those that take in the hint; each after the first halves its sides.
    """
    from diffusers import ControlNetModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ControlNetModel.from_unet(
            reading_latents(unet), conditioning_embedding_out_channels=channels
        )
        for name, parameter in net.named_parameters():
            if "controlnet" in name and parameter.ndim == 4:
                parameter.data.normal_(0, deviation)
    net.save_pretrained(folder)
    return folder


def reading_latents(unet: torch.nn.Module) -> torch.nn.Module:
    """A UNet that reads its latents alone, as networks beside it do."""
    channels = unet.config.out_channels
    if unet.config.in_channels == channels:
        return unet
    narrow = deepcopy(unet)
    first = torch.nn.Conv2d(channels, unet.conv_in.out_channels, 3, padding=1)
    first.weight.data = unet.conv_in.weight.data[:, :channels].clone()
    first.bias.data = unet.conv_in.bias.data.clone()
    narrow.conv_in = first
    narrow.register_to_config(in_channels=channels)
    return narrow


def loaded(folder: Path, **how):
    """A model of a folder; what loads it is heavy to import."""
    from regrain.editing.models.loading.load import load_backbone

    return load_backbone(str(folder), **how)


def smallest_model(method: str) -> str:
    """The fixture of the smallest model that a method edits with."""
    from regrain.editing.params.registry import METHODS

    needs = METHODS[method].needs
    if "vace" in needs:
        return "vace"
    if "source" in needs:
        return "seeing"
    return "wan" if "flow" in needs else "small"


def load_double(folder: Path):
    """A model in double precision, latents too: guidance by a random network multiplies
    small errors."""
    model = loaded(folder, dtype=torch.float64)
    encode = model.encode
    model.encode = lambda frames: encode(frames).double()
    return model


def aligned(network: torch.nn.Module) -> torch.nn.Module:
    """A network as a library loads it, ready to run as ours: kernels round differently
    at unaligned addresses."""
    for part in (*network.parameters(), *network.buffers()):
        part.data = part.data.clone()
    return network.eval()


def seeded(seed: int) -> torch.Generator:
    """Draws the same for a seed."""
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Normal numbers, the same for a seed."""
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)
