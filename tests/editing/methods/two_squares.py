"""The smallest trained VACE: clips of two moving squares, which are given either words
that never say which one is left or two pictures of one colour each, in any order.

Latents are pixels, without an autoencoder. The script that trained the weights beside
this file in about 15 minutes of one core is `two_pictures.py` in commit 4317661c.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.models.files.offers import VACE
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.text import PromptReader

WEIGHTS = Path(__file__).with_suffix(".safetensors")
FRAMES = 2
SIDE = 12
SQUARE = 4
COLOURS = {
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "yellow": (1, 1, -1),
    "pink": (1, -1, 1),
    "cyan": (-1, 1, 1),
}
WORDS = ("</s>", "a", "and", "square", *COLOURS)


def scene(
    fresh: np.random.Generator, left: str, right: str
) -> tuple[np.ndarray, np.ndarray]:
    """Frames [FRAMES, SIDE, SIDE, 3] of -1, 0 and 1, and labels: 1 the left square, 2
    the right one."""
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.float32)
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for label, colour in ((1, left), (2, right)):
        y = fresh.integers(1, SIDE - SQUARE)
        x = fresh.integers(0, 3) + (0 if label == 1 else SIDE // 2)
        moves = fresh.integers(-1, 2)
        for t in range(FRAMES):
            place = (
                t,
                slice(y + t * moves, y + t * moves + SQUARE),
                slice(x, x + SQUARE),
            )
            frames[place], labels[place] = COLOURS[colour], label
    return frames, labels


def networks() -> nn.ModuleDict:
    """The transformer with two control blocks, and a text encoder of one layer, which
    reads in both directions."""
    from diffusers import WanVACETransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    transformer = WanVACETransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=16,
        num_layers=3,
        ffn_dim=128,
        in_channels=3,
        out_channels=3,
        text_dim=32,
        freq_dim=32,
        rope_max_seq_len=32,
        vace_layers=[0, 2],
        vace_in_channels=3 + 3 + 1,
    )
    text = UMT5Config(
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        vocab_size=len(WORDS),
    )
    parts = {"transformer": transformer, "text_encoder": UMT5EncoderModel(text)}
    return nn.ModuleDict(parts).eval().requires_grad_(False)


class Words:
    """Called as a tokenizer of transformers is; a token is a word."""

    def __call__(
        self, prompts: list[str], max_length: int, **_: object
    ) -> dict[str, list]:
        found: dict[str, list] = {
            "input_ids": [],
            "attention_mask": [],
            "offset_mapping": [],
        }
        for prompt in prompts:
            words = prompt.split()
            ends = np.cumsum([len(word) + 1 for word in prompt.split()], dtype=int) - 1
            places = [
                (int(end) - len(word), int(end))
                for word, end in zip(words, ends, strict=True)
            ]
            ids = [*map(WORDS.index, words), 0]
            pads = max_length - len(words) - 1
            found["input_ids"].append(ids + [0] * pads)
            found["attention_mask"].append([1] * len(ids) + [0] * pads)
            found["offset_mapping"].append(places + [(0, 0)] * (pads + 1))
        return found


class Pixels(nn.Module):
    """An autoencoder that does nothing."""

    config = FrozenDict(
        temperal_downsample=(), patch_size=None, latents_mean=[0.0], latents_std=[1.0]
    )

    def encode(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: x))

    def decode(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=x)


def load() -> Wan:
    """The backbone that our own loader would make of these weights."""
    parts = networks()
    kept = load_file(WEIGHTS)
    parts.load_state_dict({name: weight.float() for name, weight in kept.items()})
    reader = PromptReader(Words(), lambda: parts["text_encoder"], "two squares", None)
    own = {"transformer": parts["transformer"]}
    return Wan(
        id="two squares",
        networks=own,
        vae=Pixels(),
        reader=reader,
        schedule=FlowSchedule(3.0),
        device=torch.device("cpu"),
        dtype=torch.float32,
        high_from=0.0,
        sample_size=SIDE,
        offers=VACE,
        defaults={},
        takes_turns=False,
        notes=(),
        loras=(),
    )
