"""Train the ControlNet on canny edges: `python -m storybook.training.control --data DIR
--run RUN`.

It is a copy of the shipped UNet's encoder that also sees the edges and adds to the UNet
through convolutions whose weights start at zero (Zhang et al. 2023, arXiv:2302.05543).
Its middle has no attention, to save space. UNet and text encoder do not change. The run
folder keeps weights, averages and optimiser as safetensors and resumes from them;
`--init` starts from shipped weights with a fresh optimiser; `--ship` writes in half
precision.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import (
    AutoencoderDC,
    ControlNetModel,
    DDIMScheduler,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

from regrain.editing.models.unet.control_maps import canny
from storybook import dataset
from storybook.training.autoencoder import held_out_pictures
from storybook.training.muon import Muon
from storybook.training.runs import (
    Run,
    batch_rng,
    begin,
    device_of,
    mixed,
    options,
    worker,
    workers,
)
from storybook.training.ship import ASSETS, frozen_text_encoder, frozen_unet, frozen_vae
from storybook.training.unet import (
    HELD_OUT,
    PROBES,
    SCHEDULE,
    Captions,
    embed,
    encode,
    noised,
    x0_error,
)

log = logging.getLogger(__name__)
TARGET = ASSETS / "canny"
# Names of input and output layers, which AdamW updates.
ENDS = ("embedding", "conv_in", "controlnet")
_EDGES = (16, 32, 64, 128)  # channels of the layers from 128 pixels to 16
# Facts that it takes over from the UNet.
_SHARED = (
    "in_channels",
    "down_block_types",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "attention_head_dim",
)


def copied(unet: UNet2DConditionModel) -> ControlNetModel:
    """Return a new network: the UNet's encoder, with zero convolutions where it adds to
    the UNet."""
    net = ControlNetModel(
        **{name: unet.config[name] for name in _SHARED},
        mid_block_type="UNetMidBlock2D",
        conditioning_embedding_out_channels=_EDGES,
    )
    weights = net.state_dict()
    for name, value in unet.state_dict().items():
        if name in weights:
            weights[name] = value
    net.load_state_dict(weights)
    return net


def begun(unet: UNet2DConditionModel, init: Path | None) -> ControlNetModel:
    """Return the network at the start: a copy of the UNet's encoder, or the one in
    `init`."""
    if init is None:
        return copied(unet)
    return ControlNetModel.from_pretrained(init, torch_dtype=torch.float32)


def edges(pictures: np.ndarray) -> Tensor:
    """Return Canny edges of uint8 [n, s, s, 3]: float32 [n, 3, s, s], 0 or 1."""
    return torch.from_numpy(canny(pictures)).permute(0, 3, 1, 2).float() / 255


def predict(
    net: ControlNetModel,
    unet: UNet2DConditionModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    hint: Tensor,
) -> Tensor:
    """Return predicted v: float32 [n, 16, 16, 16]."""
    with mixed(x.device):
        down, middle = net(x, t, text, hint, return_dict=False)
        added = {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }
        return unet(x, t, text, **added).sample.float()


def cached_latents(data: Path, cache: Path, vae: AutoencoderDC) -> Tensor:
    """Return the latents of every shard; each worker encodes its share of the missing
    ones."""
    cache.mkdir(parents=True, exist_ok=True)
    shards = sorted(data.glob("pictures_?????.npy"))
    targets = [cache / f"{shard.stem}.safetensors" for shard in shards]
    for number in range(worker(), len(shards), workers()):
        shard = shards[number]
        target = targets[number]
        if target.exists():
            continue
        pictures = np.load(shard, mmap_mode="r")
        partial = target.with_suffix(".partial")
        save_file({"z": encode(vae, pictures)}, partial)
        partial.replace(target)
        log.info("encoded %s", shard.stem)
    if workers() > 1:
        dist.barrier()
    return torch.cat([load_file(target)["z"] for target in targets])


class HeldOut:
    """Held-out scenes, and the error with their own edges, with other edges and with
    none."""

    def __init__(
        self, vae: AutoencoderDC, captions: Captions, text: CLIPTextModel, scale: float
    ) -> None:
        scenes = [dataset.training_scene(seed) for seed in HELD_OUT]
        pictures = held_out_pictures(HELD_OUT)
        device = device_of(text)
        self.latents = encode(vae, pictures).float().to(device) * scale
        self.hints = edges(pictures).to(device)
        with torch.no_grad():
            self.text = embed(text, captions.ids([scene.caption for scene in scenes]))
            self.empty = embed(text, captions.empty).expand_as(self.text)

    @torch.no_grad()
    def probe(
        self, net: ControlNetModel, unet: UNet2DConditionModel, abar: Tensor
    ) -> dict[str, float]:
        """Return mean squared x0 errors over the latents' variance."""
        other = self.hints.roll(1, 0)
        none = torch.zeros_like(self.hints)
        probes = [("edges", t, self.hints, self.text) for t in PROBES]
        probes.append(("others", 850, other, self.text))
        probes.append(("none", 850, none, self.text))
        probes.append(("edges_alone", 850, self.hints, self.empty))
        errors = {}
        for name, t, hint, text in probes:
            predict_v = partial(predict, net, unet, text=text, hint=hint)
            errors[f"{name}{t}"] = x0_error(predict_v, self.latents, t, abar)
        return errors


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=40_000, rate=2e-3, ema=0.998)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--latents", type=Path, help="latents already encoded by the same autoencoder"
    )
    parser.add_argument(
        "--batch", type=int, default=24, help="samples per batch of each worker"
    )
    parser.add_argument(
        "--report", type=int, default=100, help="steps between points of the curve"
    )
    parser.add_argument(
        "--ship",
        action="store_true",
        help=f"write the run's weights to {TARGET} and stop",
    )
    args = parser.parse_args()
    begin(args)
    unet = frozen_unet().to(args.device)
    net = begun(unet, args.init).to(args.device)
    net.set_attn_processor(AttnProcessor())
    run = Run(args.run, net, Muon(net, args.rate, ends=ENDS), ema=args.ema)
    if args.ship:
        with run.averaged():
            net.half().save_pretrained(TARGET)
        return
    vae = frozen_vae().to(args.device, memory_format=torch.channels_last)
    scale = vae.config.scaling_factor
    z = cached_latents(args.data, args.latents or args.run / "latents", vae)
    maps = dataset.load(args.data)
    captions = Captions(args.run / "tokenizer")
    first = dataset.FIRST_TRAINING_SEED
    scenes = [dataset.training_scene(seed) for seed in range(first, first + len(z))]
    known = captions.of(scenes)
    text = frozen_text_encoder().to(args.device)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(args.device)
    held = HeldOut(vae, captions, text, scale)

    while run.done < args.samples:
        rng = batch_rng(args.seed, run.done, args.batch)
        run.pace(args.rate, args.samples, warm=2000)
        rows = torch.randint(len(z), (args.batch,), generator=rng)
        places = [divmod(row, dataset.SHARD) for row in rows.tolist()]
        pictures = np.stack([maps[shard][place] for shard, place in places])
        x0 = z[rows].to(args.device).float() * scale
        x, t, v = noised(x0, abar, rng)
        words = embed(text, captions.draw(known, rows, rng))
        hint = edges(pictures).to(args.device)
        error = predict(net, unet, x, t, words, hint) - v
        run.step(error.square().mean(), args.batch)
        if run.steps % args.report == 0 and not worker():
            with run.averaged():
                run.report(held.probe(net, unet, abar))
            run.save()
    if not worker():
        run.save()


if __name__ == "__main__":
    main()
