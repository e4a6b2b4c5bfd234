"""Numbers of the authors' InfEdit on a tiny random model, with which ours are compared.

The script that ran https://github.com/sled-group/InfEdit (commit 0ed3382) and wrote
`infedit_release.json` is this file in commit 4317661c. Latents are given, texts are
rounded to single precision, as ours are, and noise is that of `infedit_noise.safetensors`:
processors draw it with other last bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from regrain.editing import ArrayClip, EditRequest
from regrain.editing.diffusion.schedule import generator

NUMBERS = Path(__file__).with_suffix(".json")
NOISE = load_file(Path(__file__).with_name("infedit_noise.safetensors"))["noise"]
SEED = 5
SIZE = (16, 24)  # of latents; their attention is read at a quarter of it
EVERY = 13  # of the values are kept, beginning with the first
CAT = "a cat and a fox on the grass"


# Prompts of source and edit, and parameters.
CASES = {
    "a word in another's place": (CAT, "a dog and a fox on the grass", {}),
    "the nearest of several words": (CAT, "a very old dog and a fox on the grass", {}),
    "edited in place of an edited word": (
        CAT,
        "a horse and a cat on the grass",
        {"edit_words": "cat", "edit_threshold": 0.8, "keep_threshold": 0.8},
    ),
    "a word of both lists": (
        "a cat sitting on the grass",
        "a cat standing on the grass",
        {
            "steps": 3,
            "edit_words": "cat standing",
            "keep_words": "cat",
            "edit_threshold": 0.25,
            "keep_threshold": 0.25,
        },
    ),
    "less strength": (
        CAT,
        "a dog and a fox on the grass",
        {
            "steps": 6,
            "strength": 0.5,
            "edit_words": "dog",
            "keep_words": "grass",
            "edit_threshold": 0.9,
            "keep_threshold": 0.9,
        },
    ),
}
USUAL = {
    "steps": 4,
    "guidance_scale": 2.0,
    "source_guidance": 1.0,
    "cross_until": 0.7,
    "self_until": 0.3,
    "blend": "words",
    "edit_threshold": 0.6,
    "keep_threshold": 0.6,
    "preview_every": 0,
}


def write_tiny(folder: Path, first: str = "") -> Path:
    """Write a model with Stable Diffusion's blocks of cross-attention that the code
    reads, and weights that no library draws. Its finest blocks are of the kind
    `first`."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from made_models import autoencoder_blocks, save_parts
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=32,
        down_block_types=(
            f"{first}DownBlock2D",
            *2 * ["CrossAttnDownBlock2D"],
            "DownBlock2D",
        ),
        up_block_types=(
            "UpBlock2D",
            *2 * ["CrossAttnUpBlock2D"],
            f"{first}UpBlock2D",
        ),
    )
    autoencoder = AutoencoderKL(
        **autoencoder_blocks(2), block_out_channels=(8, 8), norm_num_groups=4
    )
    fill(dict(unet.named_parameters()))
    save_parts(folder, unet, autoencoder)
    texts = CLIPTextModel.from_pretrained(folder / "text_encoder")
    fill(dict(texts.named_parameters()))
    texts.save_pretrained(folder / "text_encoder")
    return folder


def load_tiny(folder: Path, first: str = "", frames: int = 1) -> Any:
    """Such a model in double precision; the latents of every clip are given."""
    from made_models import load_double

    model = load_double(write_tiny(folder / "tiny", first))
    model.encode = lambda _: latents(frames)
    return model


def fill(weights: Mapping[str, Tensor]) -> None:
    """Draw weights by their own names. NumPy's old generator never changes."""
    for name, weight in sorted(weights.items()):
        fresh = np.random.RandomState(list(name.removeprefix("text_model.").encode()))  # noqa: NPY002
        drawn = torch.from_numpy(fresh.standard_normal(weight.shape))
        spread = 1.0 if "embedding" in name else weight[0].numel() ** -0.5
        if name.endswith(("to_q.weight", "to_k.weight")) and "_temp." not in name:
            spread *= 3  # attention looks somewhere
        if weight.ndim == 1:
            spread = 0.1
        drawn = spread * drawn + ("norm" in name and name.endswith("t"))
        weight.data = drawn.to(torch.float32)


def request(source: str, prompt: str, frames: int = 1) -> EditRequest:
    """An edit of black frames, whose latents are given."""
    height, width = (2 * side for side in SIZE)
    clip = ArrayClip(np.zeros((frames, height, width, 3), np.uint8), fps=8)
    return EditRequest(clip, None, (), source_prompt=source, prompt=prompt, seed=SEED)


def normal(*shape: int, seed: int = SEED) -> Tensor:
    """Normal numbers that no processor draws otherwise."""
    fresh = np.random.RandomState(seed)  # noqa: NPY002
    return torch.from_numpy(fresh.standard_normal(shape))


def latents(frames: int = 1) -> Tensor:
    """The clean latents of every edit."""
    return normal(frames, 4, *SIZE)


def drawn(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """The noise of a draw, which a generator of the seed and the number of the draw
    names."""
    (number,) = (n for n in range(len(NOISE)) if is_of(generator, n))
    return NOISE[number].reshape(shape)


def is_of(fresh: torch.Generator, number: int) -> bool:
    return fresh.initial_seed() == generator(SEED, number).initial_seed()


def kept(found: Tensor) -> Tensor:
    """The values that are kept of an edit."""
    return found.flatten()[::EVERY]


def is_released(found: Tensor, values: Sequence[float]) -> None:
    """Compare values that are kept."""
    released = torch.tensor(values, dtype=torch.float64)
    largest = released.abs().max()
    torch.testing.assert_close(found, released, rtol=0, atol=1e-6 * largest)
