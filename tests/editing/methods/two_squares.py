"""The smallest trained Wan: clips of two moving squares, whose captions never say which
one is left.

`python -m tests.editing.methods.two_squares STATE` trains the weights beside this file
in about 20 minutes of one core; a training that was stopped goes on from the file
STATE. Latents are pixels, without an autoencoder.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import FrozenDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regrain.editing import ArrayClip
from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.models.wan.layers import attending, install
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.text import TOKEN_LIMIT, PromptReader

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
LENGTH = 8  # tokens of a caption, its end included
STEPS, BATCH, RATE, SHIFT, DROPPED, SAVED = 3000, 64, 1.5e-3, 3.0, 0.15, 100


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


def networks() -> nn.ModuleDict:
    """The transformer, and a text encoder of one layer, which reads in both
    directions."""
    from diffusers import WanTransformer3DModel

    sizes = {
        "num_attention_heads": 4,
        "attention_head_dim": 24,
        "num_layers": 4,
        "ffn_dim": 224,
        "in_channels": 3,
        "out_channels": 3,
        "text_dim": 48,
        "freq_dim": 32,
        "rope_max_seq_len": 32,
    }
    return with_encoder(WanTransformer3DModel(**sizes), 48)


def with_encoder(transformer: nn.Module, width: int) -> nn.ModuleDict:
    """A transformer, and a text encoder of one layer."""
    from transformers import UMT5Config, UMT5EncoderModel

    text = {
        "d_model": width,
        "d_kv": width // 4,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
        "dropout_rate": 0.0,
    }
    encoder = UMT5EncoderModel(UMT5Config(**text, vocab_size=len(WORDS)))
    return nn.ModuleDict({"transformer": transformer, "text_encoder": encoder})


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


def made(name: str, weights: Path, parts: nn.ModuleDict, **more: object) -> Wan:
    """The backbone that our own loader would make of networks with weights of a file."""
    parts = parts.eval().requires_grad_(False)
    kept = load_file(weights)
    parts.load_state_dict({name: weight.float() for name, weight in kept.items()})
    reader = PromptReader(Words(), lambda: parts["text_encoder"], name, None)
    own = {"transformer": parts["transformer"]}
    given = (name, own, Pixels(), reader, FlowSchedule(SHIFT))
    return Wan(*given, torch.device("cpu"), torch.float32, sample_size=SIDE, **more)


def load() -> Wan:
    return made("two squares", WEIGHTS, networks())


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


# --- Training


def batch(fresh: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clips [BATCH, 3, FRAMES, SIDE, SIDE], tokens [BATCH, LENGTH], and how many tokens
    there are."""
    clips = []
    ids = []
    lengths = []
    for _ in range(BATCH):
        left, right = fresh.choice([*COLOURS], 2, replace=False)
        clips.append(scene(fresh, left, right)[0])
        words = caption(*fresh.permutation([left, right])).split() * (
            fresh.random() > DROPPED
        )
        lengths.append(len(words) + 1)
        ids.append([*map(WORDS.index, words), *[0] * (LENGTH - len(words))])
    x = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).contiguous()
    return x, torch.tensor(ids), torch.tensor(lengths)


def loss_of(parts: nn.ModuleDict, fresh: np.random.Generator) -> Tensor:
    """The flow-matching loss."""
    return flow_loss(parts, *batch(fresh), fresh)


def flow_loss(
    parts: nn.ModuleDict,
    x: Tensor,
    ids: Tensor,
    lengths: Tensor,
    fresh: np.random.Generator,
    **given: Tensor,
) -> Tensor:
    """The flow-matching loss of clips; the padding of 512 tokens counts as one key, as
    it does in the product."""
    real = torch.arange(LENGTH) < lengths[:, None]
    vectors = (
        parts["text_encoder"](ids, real.long()).last_hidden_state * real[..., None]
    )
    vectors = F.pad(vectors, (0, 0, 0, 1))
    bias = torch.tensor([0.0] * LENGTH + [math.log(TOKEN_LIMIT - LENGTH)])

    def attend(q: Tensor, k: Tensor, v: Tensor, site: object) -> Tensor:
        across = site.kind == "cross"
        return F.scaled_dot_product_attention(
            q, k, v, bias.expand(q.shape[2], -1) if across else None
        )

    u = torch.from_numpy(fresh.random(len(x))).float()
    sigma = (SHIFT * u / (1 + (SHIFT - 1) * u)).clamp(0.002, 1)
    noise = torch.from_numpy(fresh.standard_normal(x.shape)).float()
    noised = torch.lerp(x, noise, sigma[:, None, None, None, None])
    with attending(attend):
        (v,) = parts["transformer"](
            noised, 1000 * sigma, vectors, return_dict=False, **given
        )
    return F.mse_loss(v, noise - x)


def train(
    state: Path,
    parts: nn.ModuleDict,
    loss_of: Callable[[nn.ModuleDict, int], Tensor],
    weights: Path,
    steps: int = STEPS,
) -> None:
    """Train networks by the loss of a step, and write the mean of their weights."""
    install(parts["transformer"])
    optimiser = torch.optim.AdamW(
        parts.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.01
    )
    mean = {name: weight.clone() for name, weight in parts.state_dict().items()}
    begun = 0
    if state.is_file():
        kept = torch.load(state)
        parts.load_state_dict(kept["parts"])
        optimiser.load_state_dict(kept["optimiser"])
        mean = kept["mean"]
        begun = kept["step"]
    losses = []
    for step in range(begun, steps):
        done = (step + 1) / steps
        for group in optimiser.param_groups:
            group["lr"] = (
                RATE * min(1, (step + 1) / 100) * min(1, 2 * (1 - done) + 0.01)
            )
        optimiser.zero_grad()
        loss = loss_of(parts, step)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        for name, weight in parts.state_dict().items():
            mean[name].lerp_(weight, max(0.005, 1 / (step + 10)))
        if (step + 1) % SAVED == 0 or step + 1 == steps:
            print(step + 1, f"{np.mean(losses[-SAVED:]):.4f}", flush=True)  # noqa: T201
            whole = {
                "parts": parts.state_dict(),
                "optimiser": optimiser.state_dict(),
                "mean": mean,
            }
            torch.save(whole | {"step": step + 1}, f"{state}.new")
            os.replace(f"{state}.new", state)
    save_file({name: weight.half() for name, weight in mean.items()}, weights)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train(
        Path(sys.argv[1]),
        networks(),
        lambda parts, step: loss_of(parts, np.random.default_rng(step)),
        WEIGHTS,
    )
