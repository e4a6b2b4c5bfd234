"""The smallest trained VACE: two masked squares, which are given either the words of
`two_squares` or two pictures of one colour each, in any order.

`PYTHONPATH=. python tests/editing/methods/two_pictures.py STATE` trains the weights
beside this file in about 15 minutes of one core; a training that was stopped goes on from the file
STATE. Latents are pixels, without an autoencoder.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from two_squares import (
    BATCH,
    COLOURS,
    DROPPED,
    LENGTH,
    SIDE,
    WORDS,
    caption,
    flow_loss,
    made,
    scene,
    train,
    with_encoder,
)

from regrain.editing.models.files.offers import VACE
from regrain.editing.models.wan.model import Wan

WEIGHTS = Path(__file__).with_suffix(".safetensors")
STEPS = 2000


def networks() -> nn.ModuleDict:
    """The transformer with two control blocks, and a text encoder of one layer."""
    from diffusers import WanVACETransformer3DModel

    sizes = {
        "num_attention_heads": 4,
        "attention_head_dim": 16,
        "num_layers": 3,
        "ffn_dim": 128,
        "in_channels": 3,
        "out_channels": 3,
        "text_dim": 32,
        "freq_dim": 32,
        "rope_max_seq_len": 32,
        "vace_layers": [0, 2],
        "vace_in_channels": 3 + 3 + 1,
    }
    return with_encoder(WanVACETransformer3DModel(**sizes), 32)


def load() -> Wan:
    return made("two pictures", WEIGHTS, networks(), offers=VACE)


# --- Training


def loss_of(parts: nn.ModuleDict, step: int) -> Tensor:
    """The flow-matching loss of clips with pictures or, every other step, with words;
    what is masked is hidden."""
    fresh = np.random.default_rng(step)
    clips = []
    contexts = []
    ids = []
    lengths = []
    for _ in range(BATCH):
        left, right = fresh.choice([*COLOURS], 2, replace=False)
        frames, labels = scene(fresh, left, right)
        mask = np.float32(labels > 0)[..., None]
        context = np.concatenate([frames * (1 - mask), 0 * frames, mask], -1)
        order = fresh.permutation([left, right])
        words: list[str] = []
        if step % 2:
            words = caption(*order).split() * (fresh.random() > DROPPED)
        else:
            one = np.ones((1, SIDE, SIDE, 3), np.float32)
            pictures = np.concatenate([one * COLOURS[colour] for colour in order])
            idle = np.zeros((2, SIDE, SIDE, 4), np.float32)
            beside = np.concatenate([pictures, idle], -1)
            frames = np.concatenate([pictures, frames])
            context = np.concatenate([beside, context])
        clips.append(frames)
        contexts.append(context)
        lengths.append(len(words) + 1)
        ids.append([*map(WORDS.index, words), *[0] * (LENGTH - len(words))])
    x, given = (
        torch.from_numpy(np.float32(part)).permute(0, 4, 1, 2, 3).contiguous()
        for part in (np.stack(clips), np.stack(contexts))
    )
    tokens = (torch.tensor(ids), torch.tensor(lengths))
    scale = torch.ones(len(parts["transformer"].config.vace_layers))
    return flow_loss(
        parts,
        x,
        *tokens,
        fresh,
        control_hidden_states=given,
        control_hidden_states_scale=scale,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train(Path(sys.argv[1]), networks(), loss_of, WEIGHTS, STEPS)
