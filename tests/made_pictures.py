"""Picture adapters of every kind, small and random, beside an image encoder;
pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

# of the encoder: pixels a side, hidden and projected numbers
SIDE = 28
WIDTH = 64
PROJECTED = 24


def write_encoder(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with torch.random.fork_rng():
        torch.manual_seed(11)
        sizes = {
            "hidden_size": WIDTH,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 7,
        }
        CLIPVisionModelWithProjection(
            CLIPVisionConfig(**sizes, projection_dim=PROJECTED)
        ).save_pretrained(folder / "image_encoder")
    return folder


def reader(kind: str, cross: int, made: torch.Generator) -> dict[str, torch.Tensor]:
    """`image_proj` of a kind."""

    def rand(*shape):
        return torch.randn(shape, generator=made) / shape[-1] ** 0.5

    def norm(name, wide):
        return {f"{name}.weight": 1 + 0.3 * rand(wide), f"{name}.bias": rand(wide)}

    if kind == "plain":
        linear = {
            "proj.weight": rand(4 * cross, PROJECTED),
            "proj.bias": rand(4 * cross),
        }
        return linear | norm("norm", cross)
    if kind == "full":
        first = {"proj.0.weight": rand(WIDTH, WIDTH), "proj.0.bias": rand(WIDTH)}
        return (
            first
            | {"proj.2.weight": rand(cross, WIDTH), "proj.2.bias": rand(cross)}
            | norm("proj.3", cross)
        )
    inner = 32
    heads = 2
    found = {
        "latents": rand(1, 6, inner),
        "proj_out.weight": rand(cross, inner),
        "proj_out.bias": rand(cross),
    }
    found |= norm("norm_out", cross)
    wide = WIDTH if kind == "plus" else 8
    found |= {"proj_in.weight": rand(inner, wide), "proj_in.bias": rand(inner)}
    for layer in range(4):  # diffusers knows no other number
        own = f"layers.{layer}"
        found |= (
            norm(f"{own}.0.norm1", inner)
            | norm(f"{own}.0.norm2", inner)
            | norm(f"{own}.1.0", inner)
        )
        found |= {f"{own}.0.to_q.weight": rand(64 * heads, inner)}
        found |= {f"{own}.0.to_kv.weight": rand(128 * heads, inner)}
        found |= {f"{own}.0.to_out.weight": rand(inner, 64 * heads)}
        found |= {
            f"{own}.1.1.weight": rand(4 * inner, inner),
            f"{own}.1.3.weight": rand(inner, 4 * inner),
        }
    if kind == "drawn":
        for layer, (before, after) in enumerate(((3, 4), (4, 6), (6, 8))):
            found |= {
                f"reader.{layer}.weight": rand(after, before, 3, 3),
                f"reader.{layer}.bias": rand(after),
            }
        found["places"] = rand(1, 64, 8)
    return found


def write_picture_adapter(path: Path, unet, kind: str, facts=None) -> Path:
    """A file of a kind for a UNet, strong enough to be seen."""
    made = torch.Generator().manual_seed(5)
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    tensors = {
        f"image_proj.{n}": w
        for n, w in reader(kind, unet.config.cross_attention_dim, made).items()
    }
    for number, name in enumerate(names):
        if unet.get_submodule(name).is_cross_attention:
            shape = unet.get_parameter(f"{name}.to_k.weight").shape
            for part in ("k", "v"):
                weight = torch.randn(shape, generator=made) / shape[-1] ** 0.5
                tensors[f"ip_adapter.{number}.to_{part}_ip.weight"] = weight
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, facts
    )
    return path


def write_picture(path: Path, seed: int = 0, size=(SIDE, SIDE)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_reader(folder: Path, **beside: object) -> Path:
    """Write a small random CLIP model, what tells clean drawings from others, and JSON
    files beside its weights."""
    import json

    from transformers import CLIPConfig, CLIPForImageClassification, CLIPModel
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    from regrain.editing.models.weights.folder import clip_tokenizer

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2}
    seen = sizes | {"image_size": SIDE, "patch_size": 7}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = CLIPConfig(
            text_config=sizes, vision_config=seen, projection_dim=PROJECTED
        )
        CLIPModel(config).save_pretrained(folder)
        config.num_labels = 1
        CLIPForImageClassification(config).save_pretrained(folder / "clear")
    # Crops are squares: a reader need not cut them further.
    whole = {"do_center_crop": False, "crop_size": None}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, **whole).save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    for name, content in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder
