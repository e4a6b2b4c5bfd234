"""Train the autoencoder: `python -m storybook.training.autoencoder --data DIR --run RUN
--samples 60000`.

AutoencoderDC, 128 px to 16x16 latents. Two things make its latents easy to diffuse. A
copy of them at half size must decode to the picture at half size (scale equivariance,
after Skorokhodov et al. 2025, arXiv:2502.14831). And the decoder sees them with a
little noise, so that it tolerates errors of the UNet. The run saves weights and
optimiser as safetensors and resumes from them; `--init` starts from shipped weights
with a fresh optimiser. `--decoder` trains only the decoder, so that the latents of a
UNet stay valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from torch import Tensor
from torch.nn import functional as F

from storybook import dataset
from storybook.rendering import render_frames
from storybook.training.runs import (
    Run,
    begin,
    device_of,
    mixed,
    options,
    worker,
    write_model,
)

CONFIG = {
    "in_channels": 3,
    "latent_channels": 16,
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
    "encoder_block_out_channels": (32, 32, 64, 128),
    "decoder_block_out_channels": (32, 32, 64, 128),
    "encoder_layers_per_block": (0, 1, 2, 2),
    "decoder_layers_per_block": (0, 2, 2, 2),
    "encoder_qkv_multiscales": ((), (), (), ()),
    "decoder_qkv_multiscales": ((), (), (), ()),
    "encoder_out_shortcut": False,
}
SIZE = 128  # pixels of a picture's side
BATCH = 4


def batches(maps: list[np.ndarray], seed: int, first: int) -> Tensor:
    """Return the batch that starts at sample `first`: [BATCH, 3, SIZE, SIZE], -1 to 1,
    half mirrored."""
    rng = np.random.default_rng([seed, first])
    pictures = []
    for shard in rng.integers(len(maps), size=BATCH):
        picture = maps[shard][rng.integers(len(maps[shard]))]
        pictures.append(picture[:, :: rng.choice([-1, 1])])
    return as_tensor(np.stack(pictures))


def as_tensor(pictures: np.ndarray) -> Tensor:
    """Return uint8 [n, h, w, 3] as float32 [n, 3, h, w], -1 to 1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def picture_loss(out: Tensor, target: Tensor) -> Tensor:
    """L1 of values and of horizontal and vertical differences (edges carry the
    faces)."""
    dx = (out.diff(dim=-1) - target.diff(dim=-1)).abs().mean()
    dy = (out.diff(dim=-2) - target.diff(dim=-2)).abs().mean()
    return (out - target).abs().mean() + 0.5 * (dx + dy)


def training_loss(
    model: AutoencoderDC, x: Tensor, noise: float, equivariance: float
) -> Tensor:
    """Reconstruction from noised latents plus the scale-equivariance term on a quarter
    of the batch."""
    z = model.encoder(x)
    deviation = noise * z.detach().std()
    share = torch.rand(len(z), 1, 1, 1).to(z.device)
    noisy = z + deviation * torch.randn(z.shape).to(z) * share
    loss = picture_loss(model.decoder(noisy).float(), x)
    loss = loss + 1e-4 * z.float().square().mean()
    if not equivariance:
        return loss
    few = len(x) // 4
    small = model.decoder(F.avg_pool2d(z[:few], 2)).float()
    return loss + equivariance * picture_loss(small, F.avg_pool2d(x[:few], 2))


@torch.no_grad()
def held_out(model: AutoencoderDC, count: int = 48) -> dict[str, float]:
    """Measure a model on held-out scenes.

    Returns:
        PSNR of the round trip, deviation of the latents, and correlation of
        neighbouring cells (1 = smooth).
    """
    x = as_tensor(held_out_pictures(range(count))).to(device_of(model))
    z = model.encoder(x)
    decoded = model.decoder(z).clamp(-1, 1)
    error = (decoded - x) / 2
    mse = error.square().mean((1, 2, 3))
    psnr = -10 * mse.log10()
    return {
        "psnr": float(psnr.mean()),
        "std": float(z.std()),
        "smooth": float(_smoothness(z).mean()),
    }


def _smoothness(z: Tensor) -> Tensor:
    """Return the correlation of horizontally neighbouring cells, by channel."""
    centered = z - z.mean((0, 2, 3), keepdim=True)
    covariance = (centered[..., 1:] * centered[..., :-1]).mean((0, 2, 3))
    variance = centered.square().mean((0, 2, 3))
    return covariance / variance


def held_out_pictures(seeds: Iterable[int]) -> np.ndarray:
    """Draw the fourth frame of some training scenes: uint8 [n, SIZE, SIZE, 3]."""
    scenes = [dataset.training_scene(seed) for seed in seeds]
    return np.stack([render_frames(scene, SIZE, (3,))[0] for scene in scenes])


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=60_000, rate=1.2e-3)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=0.15)
    parser.add_argument("--equivariance", type=float, default=0.25)
    parser.add_argument(
        "--decoder", action="store_true", help="keep the encoder unchanged"
    )
    args = parser.parse_args()
    begin(args)
    if args.init:
        model = AutoencoderDC.from_pretrained(args.init, torch_dtype=torch.float32)
    else:
        model = AutoencoderDC(**CONFIG)
    model = model.to(args.device, memory_format=torch.channels_last)
    model.encoder.requires_grad_(not args.decoder)
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        learnt, lr=args.rate, weight_decay=1e-3, betas=(0.9, 0.99)
    )
    run = Run(args.run, model, optimiser)
    # different noise for workers that started alike
    torch.manual_seed(args.seed + worker())
    maps = dataset.load(args.data)
    while run.done < args.samples:
        run.pace(args.rate, args.samples, warm=2000)
        first = run.done + worker() * BATCH
        x = batches(maps, args.seed, first).to(args.device)
        x = x.contiguous(memory_format=torch.channels_last)
        with mixed(args.device):
            loss = training_loss(model, x, args.noise, args.equivariance)
        run.step(loss, BATCH)
        if run.steps % 400 == 0 or run.done >= args.samples:
            maps = dataset.load(args.data)  # more may have been drawn
            if worker():
                continue
            run.save()
            write_model(model, args.run / "vae")
            run.report(held_out(model))


if __name__ == "__main__":
    main()
