"""Train the ControlNet on canny edges: `python -m storybook.train_control --data DIR --run RUN`.

It is a copy of the shipped UNet's encoder that also sees the edges and adds to the UNet through convolutions
whose weights start at zero (Zhang et al. 2023, arXiv:2302.05543). Its middle has no attention, to save space.
UNet and text encoder do not change. The run folder keeps weights, averages and optimiser as safetensors and
resumes from them; `--init` starts from shipped weights with a fresh optimiser; `--ship` writes in half
precision.
"""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderDC, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

from regrain.editing.models.unet.control_maps import canny
from storybook import dataset
from storybook.muon import Muon
from storybook.ship import ASSETS
from storybook.train_autoencoder import SIZE
from storybook.train_unet import PROBES, SCHEDULE, Captions, embed, encode, noised, x0_error
from storybook.training import Run, begin, mixed, options, worker, workers
from storybook.world import render_frames

log = logging.getLogger(__name__)
TARGET = ASSETS / "canny"
# Names of input and output layers, which AdamW updates.
ENDS = ("embedding", "conv_in", "controlnet")
_EDGES = (16, 32, 64, 128)  # channels of the layers from 128 pixels to 16


def copied(unet: UNet2DConditionModel) -> ControlNetModel:
    """A new network: the UNet's encoder, with zero convolutions where it adds to the UNet."""
    shared = ("in_channels", "down_block_types", "block_out_channels", "layers_per_block")
    shared += ("cross_attention_dim", "attention_head_dim")
    net = ControlNetModel(
        **{name: unet.config[name] for name in shared},
        mid_block_type="UNetMidBlock2D",
        conditioning_embedding_out_channels=_EDGES,
    )
    own, known = net.state_dict(), unet.state_dict()
    net.load_state_dict(own | {name: value for name, value in known.items() if name in own})
    return net


def edges(pictures: np.ndarray) -> Tensor:
    """Canny edges of uint8 [n, s, s, 3]: float32 [n, 3, s, s], 0 or 1."""
    return torch.from_numpy(canny(pictures)).permute(0, 3, 1, 2).float() / 255


def predict(
    net: ControlNetModel,
    unet: UNet2DConditionModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    hint: Tensor,
) -> Tensor:
    """Predicted v: float32 [n, 16, 16, 16]."""
    with mixed():
        down, middle = net(x, t, text, hint, return_dict=False)
        return unet(
            x, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample.float()


def cached_latents(data: Path, cache: Path, vae: AutoencoderDC) -> Tensor:
    """Latents of every shard; each worker encodes its share of the missing ones."""
    cache.mkdir(parents=True, exist_ok=True)
    shards = {
        path: cache / (path.stem + ".safetensors")
        for path in sorted(data.glob("pictures_?????.npy"))
    }
    for path, target in [*shards.items()][worker() :: workers()]:
        if not target.exists():
            partial = target.with_suffix(".partial")
            save_file({"z": encode(vae, np.load(path, mmap_mode="r"))}, partial)
            partial.replace(target)
            log.info("encoded %s", path.stem)
    if workers() > 1:
        dist.barrier()
    return torch.cat([load_file(target)["z"] for target in shards.values()])


class HeldOut:
    """Held-out scenes, and the error with their own edges, with other edges and with none."""

    def __init__(
        self, vae: AutoencoderDC, captions: Captions, text: CLIPTextModel, scale: float
    ) -> None:
        scenes = [dataset.training_scene(s) for s in range(500, 564)]
        pictures = np.stack([render_frames(s, SIZE, (3,))[0] for s in scenes])
        self.latents = encode(vae, pictures).float() * scale
        self.hints = edges(pictures)
        with torch.no_grad():
            self.text = embed(text, captions.ids([s.caption for s in scenes]))
            self.empty = embed(text, captions.empty).expand_as(self.text)

    @torch.no_grad()
    def probe(
        self, net: ControlNetModel, unet: UNet2DConditionModel, abar: Tensor
    ) -> dict[str, float]:
        """Mean squared x0 error over the latents' variance."""
        other, none = self.hints.roll(1, 0), torch.zeros_like(self.hints)
        probes = [("edges", t, self.hints, self.text) for t in PROBES]
        probes += [("others", 850, other, self.text), ("none", 850, none, self.text)]
        probes += [("edges_alone", 850, self.hints, self.empty)]
        return {
            f"{name}{t}": x0_error(
                partial(predict, net, unet, text=text, hint=hint), self.latents, t, abar
            )
            for name, t, hint, text in probes
        }


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=40_000, rate=2e-3, ema=0.998)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--latents", type=Path, help="latents already encoded by the same autoencoder"
    )
    parser.add_argument("--batch", type=int, default=24, help="samples per batch of each worker")
    parser.add_argument("--report", type=int, default=100, help="steps between points of the curve")
    parser.add_argument(
        "--ship", action="store_true", help=f"write the run's weights to {TARGET} and stop"
    )
    args = parser.parse_args()
    begin(args)
    unet = UNet2DConditionModel.from_pretrained(ASSETS / "unet", torch_dtype=torch.float32)
    # Written out: the fused kernel's backward pass is slow here.
    unet.requires_grad_(False).set_attn_processor(AttnProcessor())
    net = (
        ControlNetModel.from_pretrained(args.init, torch_dtype=torch.float32)
        if args.init
        else copied(unet)
    )
    net.set_attn_processor(AttnProcessor())
    run = Run(args.run, net, Muon(net, args.rate, ends=ENDS), ema=args.ema)
    if args.ship:
        with run.averaged():
            net.half().save_pretrained(TARGET)
        return
    vae = AutoencoderDC.from_pretrained(ASSETS / "vae", torch_dtype=torch.float32).eval()
    vae = vae.to(memory_format=torch.channels_last)
    scale = json.loads((ASSETS / "vae" / "config.json").read_text())["scaling_factor"]
    z = cached_latents(args.data, args.latents or args.run / "latents", vae)
    maps = dataset.load(args.data)
    captions = Captions(args.run / "tokenizer")
    known = captions.of(
        [dataset.training_scene(dataset.FIRST_TRAINING_SEED + i) for i in range(len(z))]
    )
    text = CLIPTextModel.from_pretrained(
        ASSETS / "text_encoder", dtype=torch.float32
    ).requires_grad_(False)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    held = HeldOut(vae, captions, text, scale)

    while run.done < args.samples:
        rng = torch.Generator().manual_seed(
            args.seed * 1_000_003 + run.done + worker() * args.batch
        )
        run.pace(args.rate, args.samples, warm=2000)
        rows = torch.randint(len(z), (args.batch,), generator=rng)
        pictures = np.stack(
            [maps[int(row) // dataset.SHARD][int(row) % dataset.SHARD] for row in rows]
        )
        x, t, v = noised(z[rows].float() * scale, abar, rng)
        words = embed(text, captions.draw(known, rows, rng))
        error = predict(net, unet, x, t, words, edges(pictures)) - v
        run.step(error.square().mean(), args.batch)
        if run.steps % args.report == 0 and not worker():
            with run.averaged():
                run.report(held.probe(net, unet, abar))
            run.save()
    if not worker():
        run.save()


if __name__ == "__main__":
    main()
