"""Train the motion adapter: `python -m storybook.training.motion --run RUN`.

AnimateDiff's modules (Guo et al. 2023, arXiv:2307.04725) at half the width, after every
block's attention of the shipped UNet, which does not change. Frames of an edit share
their noise in part, in full, or less the farther apart they are, so those of training
do too. The run folder keeps weights, averages and optimiser as safetensors and resumes
from them; `--init` starts from shipped weights; `--ship` writes in half precision.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange, repeat
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel

from regrain.editing.models.intervention import Patch
from regrain.editing.models.unet.motion_modules import between_frames, places
from storybook import dataset
from storybook.rendering import render_frames
from storybook.training.autoencoder import SIZE
from storybook.training.muon import Muon
from storybook.training.runs import (
    Each,
    Run,
    batch_rng,
    begin,
    device_of,
    in_jobs,
    mixed,
    options,
    worker,
    workers,
)
from storybook.training.ship import (
    ASSETS,
    frozen_text_encoder,
    frozen_unet,
    frozen_vae,
    halves,
)
from storybook.training.unet import PROBES, SCHEDULE, Captions, embed, encode, x0_error
from storybook.world import Scene, sample_scene

log = logging.getLogger(__name__)
TARGET = ASSETS / "motion"
WEIGHTS = "diffusion_pytorch_model.safetensors"
HEADS = (2, 4, 8)  # by level, as in the UNet
POSITIONS = 32
ROWS = 32  # frames of a batch
# Frames of a clip and how often; what is drawn has 8, 16 and 32. One frame must stay
# what it was.
LENGTHS = {1: 0.05, 8: 0.55, 16: 0.3, 32: 0.1}
SHARED = {"own": 0.3, "half": 0.2, "shared": 0.3, "falling": 0.2}  # noise and how often
SHARD = 40  # clips of each length
HELD_OUT = range(500, 516)  # seeds of the scenes on which errors are reported


class Motion(nn.Module):
    """Modules for a UNet, by the names of diffusers' adapters; new ones, not from
    `init`, add nothing."""

    def __init__(self, unet: UNet2DConditionModel, init: Path | None = None) -> None:
        super().__init__()
        self.after = places(unet)
        self.heads = {}
        widths = unet.config["block_out_channels"]
        for name, place in self.after.items():
            level = _level(name, len(widths))
            self.heads[place] = HEADS[level]
            self._add(name, _module(widths[level], HEADS[level]))
        if init:
            self.load_state_dict(load_file(init / WEIGHTS))

    def _add(self, name: str, module: nn.Module) -> None:
        """Add a submodule under a name with dots."""
        owner: nn.Module = self
        *way, last = name.split(".")
        for part in way:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.add_module(last, module)

    def patch(self, frames: int) -> Patch:
        """Return the change of a call with `frames` frames to a clip."""
        weights = {}
        for name, place in self.after.items():
            weights[place] = dict(self.get_submodule(name).named_parameters())
        return between_frames(weights, self.heads, frames)


def _level(name: str, levels: int) -> int:
    """Return the level of the UNet, 0 at the top, of a module such as
    "up_blocks.0.motion_modules.1"."""
    part, number = name.split(".")[:2]
    if part == "down_blocks":
        return int(number)
    if part == "up_blocks":
        return levels - 1 - int(number)
    return levels - 1


def _module(width: int, heads: int) -> AnimateDiffTransformer3D:
    """Return a new module that adds nothing."""
    module = AnimateDiffTransformer3D(
        heads, width // 2 // heads, width, activation_fn="geglu"
    )
    nn.init.zeros_(module.proj_out.weight)
    nn.init.zeros_(module.proj_out.bias)
    return module


def noise_like(clips: Tensor, kind: str, rng: torch.Generator) -> Tensor:
    """Draw normal noise for [clips, frames, ...] of a kind of `SHARED`.

    Frames share none of it, half of its variance, all, or less the farther apart they
    are: 0.9 to the power of their distance, as in inverted latents.
    """
    own = torch.randn(clips.shape, generator=rng).to(clips.device)
    if kind == "falling":
        for i in range(1, clips.shape[1]):
            own[:, i] = 0.9 * own[:, i - 1] + (1 - 0.9**2) ** 0.5 * own[:, i]
        return own
    share = {"own": 0.0, "half": 0.5, "shared": 1.0}[kind]
    common = torch.randn(clips[:, :1].shape, generator=rng).to(clips.device)
    return share**0.5 * common + (1 - share) ** 0.5 * own


def predict(
    motion: Motion | None,
    unet: UNet2DConditionModel,
    clips: Tensor,
    t: Tensor,
    text: Tensor,
) -> Tensor:
    """Return predicted v of latents [clips, frames, 16, 16, 16] at one level per clip.

    `text` is [clips, tokens, d]; without `motion`, frames do not see each other.
    """
    frames = clips.shape[1]
    x = rearrange(clips, "b f c h w -> (b f) c h w")
    levels = t.repeat_interleave(frames)
    words = repeat(text, "b n d -> (b f) n d", f=frames)
    with mixed(x.device):
        if motion is None:
            v = unet(x, levels, words).sample
        else:
            with motion.patch(frames)(unet), sdpa_kernel(SDPBackend.MATH):
                v = unet(x, levels, words).sample
    return rearrange(v.float(), "(b f) c h w -> b f c h w", f=frames)


def scenes_of(shard: int, frames: int) -> list[Scene]:
    """Return the scenes of a shard with this many frames."""
    first = dataset.FIRST_TRAINING_SEED + shard * SHARD
    seeds = range(first, first + SHARD)
    return [sample_scene(seed, frames, dataset.actors_of(seed)) for seed in seeds]


def cached_clips(
    folder: Path, shards: int, vae: AutoencoderDC, each: Each = map
) -> dict[int, Tensor]:
    """Return latents, float16 [clips, frames, 16, 16, 16], by frames; workers draw what
    is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [frames for frames in LENGTHS if frames > 1]
    targets = [folder / f"clips_{shard:05d}.safetensors" for shard in range(shards)]
    for shard in range(worker(), shards, workers()):
        target = targets[shard]
        if target.exists():
            continue
        clips = {}
        for frames in lengths:
            clips[str(frames)] = encoded(scenes_of(shard, frames), vae, each)
        partial = target.with_suffix(".partial")
        save_file(clips, partial)
        partial.replace(target)
        log.info("drew shard %d of %d", shard + 1, shards)
    if workers() > 1:
        dist.barrier()
    read = [load_file(target) for target in targets]
    return {
        frames: torch.cat([shard[str(frames)] for shard in read]) for frames in lengths
    }


def encoded(scenes: Sequence[Scene], vae: AutoencoderDC, each: Each = map) -> Tensor:
    """Draw scenes of the same length, and return their latents: float16 [clips, frames,
    16, 16, 16]."""
    drawn = each(partial(render_frames, size=SIZE), scenes)
    return torch.stack([encode(vae, frames) for frames in drawn])


class HeldOut:
    """Held-out clips, and the error with noise of each kind."""

    def __init__(
        self, vae: AutoencoderDC, captions: Captions, text: CLIPTextModel, scale: float
    ) -> None:
        scenes = [dataset.training_scene(seed) for seed in HELD_OUT]
        self.clips = encoded(scenes, vae).float().to(device_of(text)) * scale
        with torch.no_grad():
            self.text = embed(text, captions.ids([scene.caption for scene in scenes]))

    @torch.no_grad()
    def probe(
        self, motion: Motion | None, unet: UNet2DConditionModel, abar: Tensor
    ) -> dict[str, float]:
        """Return mean squared x0 errors over the latents' variance, by kind of noise
        and level."""

        def predict_v(x: Tensor, levels: Tensor) -> Tensor:
            parts = zip(x.split(4), levels.split(4), self.text.split(4), strict=True)
            return torch.cat([predict(motion, unet, *part) for part in parts])

        figures = {}
        for kind in SHARED:
            for t in PROBES[:4]:
                noise = noise_like(self.clips, kind, torch.Generator().manual_seed(t))
                figures[f"{kind}{t}"] = x0_error(predict_v, self.clips, t, abar, noise)
        return figures


def training_loss(
    motion: Motion,
    unet: UNet2DConditionModel,
    x0: Tensor,
    text: Tensor,
    kind: str,
    abar: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Return the weighted error of v for clips [clips, frames, 16, 16, 16], each at one
    random level."""
    t = torch.randint(1000, (len(x0),), generator=rng).to(x0.device)
    noise = noise_like(x0, kind, rng)
    a = abar[t].sqrt()[:, None, None, None, None]
    s = (1 - abar)[t].sqrt()[:, None, None, None, None]
    v = predict(motion, unet, a * x0 + s * noise, t, text)
    wanted = a * noise - s * x0
    error = (v - wanted).square().mean((1, 2, 3, 4))
    snr = abar[t] / (1 - abar[t])
    return (5.0 / (snr + 5.0) * error).mean()


def ship(motion: Motion, target: Path = TARGET) -> None:
    """Write a folder in diffusers' format, in half precision."""
    target.mkdir(parents=True, exist_ok=True)
    save_file(halves(motion.state_dict()), target / WEIGHTS)
    facts = {
        "_class_name": "MotionAdapter",
        "motion_max_seq_length": POSITIONS,
        "motion_num_attention_heads": HEADS,
        "motion_norm_num_groups": 32,
    }
    (target / "config.json").write_text(json.dumps(facts, indent=2) + "\n")


def _chosen(rng: np.random.Generator, odds: Mapping[Any, float]) -> Any:
    """Draw a key; the values are the probabilities."""
    return rng.choice([*odds], p=[*odds.values()])


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=1_000_000, rate=3e-3, ema=0.99)
    parser.add_argument(
        "--shards", type=int, default=25, help=f"of {SHARD} clips of each length"
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
    motion = Motion(unet, args.init).to(args.device)
    run = Run(args.run, motion, Muon(motion, args.rate, ends=()), ema=args.ema)
    if args.ship:
        with run.averaged():
            ship(motion)
        return
    vae = frozen_vae().to(args.device)
    scale = vae.config.scaling_factor
    clips = cached_clips(args.run / "clips", args.shards, vae, in_jobs(args))
    captions = Captions(args.run / "tokenizer")
    known = {}
    for frames in clips:
        scenes = []
        for shard in range(args.shards):
            scenes += scenes_of(shard, frames)
        known[frames] = captions.of(scenes)
    text = frozen_text_encoder().to(args.device)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(args.device)
    held = HeldOut(vae, captions, text, scale)
    if not run.done and not worker():
        run.report(held.probe(None, unet, abar))

    while run.done < args.samples:
        # Length and noise of the batch are the same for every worker.
        common = np.random.default_rng(args.seed * 1_000_003 + run.done)
        frames = int(_chosen(common, LENGTHS))
        kind = str(_chosen(common, SHARED))
        rng = batch_rng(args.seed, run.done, ROWS)
        run.pace(args.rate, args.samples, warm=4000)
        source = max(frames, 8)
        latents = clips[source]
        rows = torch.randint(len(latents), (ROWS // frames,), generator=rng)
        first = int(torch.randint(source - frames + 1, (), generator=rng))
        x0 = latents[rows, first : first + frames].to(args.device).float() * scale
        words = embed(text, captions.draw(known[source], rows, rng))
        loss = training_loss(motion, unet, x0, words, kind, abar, rng)
        run.step(loss, ROWS)
        if run.steps % args.report == 0 and not worker():
            with run.averaged():
                run.report(held.probe(motion, unet, abar))
            run.save()
    if not worker():
        run.save()


if __name__ == "__main__":
    main()
