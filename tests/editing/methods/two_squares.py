"""The smallest trained Wan and VACE: clips of two moving squares. Captions never say which
one is left; VACE is given either such words or two pictures of one colour each, in any
order.

Latents are pixels, without an autoencoder. The scripts that trained the weights beside
this file, in half an hour of one core, are `two_squares.py` and `two_pictures.py` in
commit 4317661c.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.editing import ArrayClip
from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.models.files.offers import VACE, WAN
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.text import PromptReader

FOLDER = Path(__file__).parent
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


def caption(one: str, other: str) -> str:
    return f"a {one} square and a {other} square"


def load() -> Wan:
    """Wan, which reads words alone."""
    from diffusers import WanTransformer3DModel

    return made(
        "two_squares", WanTransformer3DModel, 48, layers=4, width=24, hidden=224
    )


def load_vace() -> Wan:
    """VACE with two control blocks."""
    from diffusers import WanVACETransformer3DModel

    control = {"vace_layers": [0, 2], "vace_in_channels": 3 + 3 + 1}
    sizes = {"layers": 3, "width": 16, "hidden": 128}
    return made("two_pictures", WanVACETransformer3DModel, 32, **sizes, **control)


def encoder(width: int) -> nn.Module:
    """A text encoder of one layer, which reads in both directions."""
    from transformers import UMT5Config, UMT5EncoderModel

    text = {
        "d_model": width,
        "d_kv": width // 4,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
        "dropout_rate": 0.0,
    }
    return UMT5EncoderModel(UMT5Config(**text, vocab_size=len(WORDS)))


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


def made(
    name: str,
    kind: type[nn.Module],
    text: int,
    *,
    layers: int,
    width: int,
    hidden: int,
    **control: object,
) -> Wan:
    """The backbone that our own loader would make of networks with weights of a file."""
    transformer = kind(
        num_attention_heads=4,
        attention_head_dim=width,
        num_layers=layers,
        ffn_dim=hidden,
        in_channels=3,
        out_channels=3,
        text_dim=text,
        freq_dim=32,
        rope_max_seq_len=32,
        **control,
    )
    parts = nn.ModuleDict({"transformer": transformer, "text_encoder": encoder(text)})
    parts.eval().requires_grad_(False)
    kept = load_file(FOLDER / f"{name}.safetensors")
    parts.load_state_dict({key: weight.float() for key, weight in kept.items()})
    reader = PromptReader(Words(), lambda: parts["text_encoder"], name, None)
    own = {"transformer": transformer}
    given = (name, own, Pixels(), reader, FlowSchedule(3.0))
    cpu = (torch.device("cpu"), torch.float32)
    return Wan(*given, *cpu, sample_size=SIDE, offers=VACE if control else WAN)


def right(
    scenes: int, choose: Callable[..., tuple], edited: Callable[..., Tensor]
) -> tuple[float, float]:
    """Share of the squares of all scenes that got their colour; and what changed
    outside them.

    Args:
        choose: Returns of shuffled colours those that both squares have, and those that
            they should get.
        edited: Edits the scene of a number, given its clip, labels and those colours.
    """
    found = []
    outside = []
    for number in range(scenes):
        fresh = np.random.default_rng(1000 + number)
        was, wanted = choose(fresh.permutation([*COLOURS]))
        frames, labels = scene(fresh, *was)
        pixels = ((frames + 1) * 127.5).round().astype(np.uint8)
        latents = edited(number, ArrayClip(pixels, fps=8), labels, was, wanted)
        shown = latents.permute(0, 2, 3, 1).numpy()
        for label, colour in zip((1, 2), wanted, strict=True):
            mean = shown[labels == label].mean(0)
            nearest = min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())
            found.append(nearest == colour)
        outside.append(np.abs(shown - frames)[labels == 0].max())
    return np.mean(found), max(outside)
