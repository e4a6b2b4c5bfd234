"""Train the motion adapter: `python -m storybook.train_motion --run RUN`.

AnimateDiff's modules (Guo et al. 2023, arXiv:2307.04725) at half the width, after every block's attention of
the shipped UNet, which does not change. Frames of an edit share their noise in part, in full, or less the
farther apart they are, so those of training do too. The run folder keeps weights, averages and optimiser as
safetensors and resumes from them; `--init` starts from shipped weights; `--ship` writes in half precision.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange, repeat
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel

from regrain.editing.models.unet.motion_modules import between_frames, places
from storybook import dataset
from storybook.muon import Muon
from storybook.ship import ASSETS
from storybook.train_autoencoder import SIZE
from storybook.train_unet import PROBES, SCHEDULE, Captions, embed, encode
from storybook.training import Run, begin, mixed, options, worker, workers
from storybook.world import Scene, render_frames, sample_scene

log = logging.getLogger(__name__)
TARGET, WEIGHTS = ASSETS / "motion", "diffusion_pytorch_model.safetensors"
HEADS = (2, 4, 8)  # by level, as in the UNet
POSITIONS = 32
ROWS = 32  # frames of a batch
# Frames of a clip and how often; what is drawn has 8, 16 and 32. One frame must stay what it was.
LENGTHS = {1: 0.05, 8: 0.55, 16: 0.3, 32: 0.1}
SHARED = {"own": 0.3, "half": 0.2, "shared": 0.3, "falling": 0.2}  # noise and how often
SHARD = 40  # clips of each length


class Motion(nn.Module):
    """Modules for a UNet, by the names of diffusers' adapters; new ones, not from `init`, add nothing."""

    def __init__(self, unet: UNet2DConditionModel, init: Path | None = None) -> None:
        super().__init__()
        self.after = places(unet)
        levels = dict(enumerate(unet.config["block_out_channels"]))
        levels |= {-1 - i: width for i, width in enumerate(reversed(levels.values()))}
        heads = dict(zip(unet.config["block_out_channels"], HEADS, strict=True))
        widths = {}
        for name in self.after:
            way, number = name.split(".")[:2]
            widths[name] = (
                levels[int(number) if way == "down_blocks" else -1 - int(number)]
                if way != "mid_block"
                else levels[-1]
            )
        self.heads = {place: heads[widths[name]] for name, place in self.after.items()}
        for name, width in widths.items():
            own = self
            *way, last = name.split(".")
            for part in way:
                if not hasattr(own, part):
                    own.add_module(part, nn.Module())
                own = own.get_submodule(part)
            count = heads[width]
            module = AnimateDiffTransformer3D(
                count, width // 2 // count, width, activation_fn="geglu"
            )
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
            own.add_module(last, module)
        if init:
            self.load_state_dict(load_file(init / WEIGHTS))

    def patch(self, frames: int):
        """The change of a call with `frames` frames to a clip."""
        weights = {
            place: dict(self.get_submodule(name).named_parameters())
            for name, place in self.after.items()
        }
        return between_frames(weights, self.heads, frames)


def noise_like(clips: Tensor, kind: str, rng: torch.Generator) -> Tensor:
    """Normal noise for [clips, frames, ...] that frames share: not at all, half of its variance, all, or less
    the farther apart they are (0.9 to the power of the distance), as in inverted latents."""
    own = torch.randn(clips.shape, generator=rng)
    if kind == "falling":
        for i in range(1, clips.shape[1]):
            own[:, i] = 0.9 * own[:, i - 1] + (1 - 0.9**2) ** 0.5 * own[:, i]
        return own
    share = {"own": 0.0, "half": 0.5, "shared": 1.0}[kind]
    common = torch.randn(clips[:, :1].shape, generator=rng)
    return share**0.5 * common + (1 - share) ** 0.5 * own


def predict(
    motion: Motion | None, unet: UNet2DConditionModel, clips: Tensor, t: Tensor, text: Tensor
) -> Tensor:
    """Predicted v of latents [clips, frames, 16, 16, 16] at one level per clip; text [clips, tokens, d]."""
    frames = clips.shape[1]
    rows = (rearrange(clips, "b f c h w -> (b f) c h w"), t.repeat_interleave(frames))
    words = repeat(text, "b n d -> (b f) n d", f=frames)
    with mixed():
        if motion is None:
            v = unet(*rows, words).sample
        else:
            with motion.patch(frames)(unet), sdpa_kernel(SDPBackend.MATH):
                v = unet(*rows, words).sample
    return rearrange(v.float(), "(b f) c h w -> b f c h w", f=frames)


def scenes_of(shard: int, frames: int) -> list[Scene]:
    """The scenes of a shard with this many frames."""
    first = dataset.FIRST_TRAINING_SEED + shard * SHARD
    return [
        sample_scene(s, frames, (1, 1, 1, 1, 2, 2, 2, 2, 2, 3)[s % 10])
        for s in range(first, first + SHARD)
    ]


def cached_clips(folder: Path, shards: int, vae: AutoencoderDC) -> dict[int, Tensor]:
    """Float16 [clips, frames, 16, 16, 16] by frames; each worker draws its share of what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [frames for frames in LENGTHS if frames > 1]
    for shard in range(worker(), shards, workers()):
        target = folder / f"clips_{shard:05d}.safetensors"
        if not target.exists():
            clips = {
                str(frames): torch.stack(
                    [encode(vae, render_frames(s, SIZE)) for s in scenes_of(shard, frames)]
                )
                for frames in drawn
            }
            save_file(clips, partial := target.with_suffix(".partial"))
            partial.replace(target)
            log.info("drew shard %d of %d", shard + 1, shards)
    if workers() > 1:
        dist.barrier()
    read = [load_file(folder / f"clips_{shard:05d}.safetensors") for shard in range(shards)]
    return {frames: torch.cat([shard[str(frames)] for shard in read]) for frames in drawn}


class HeldOut:
    """16 held-out clips, and the error with noise of each kind."""

    def __init__(
        self, vae: AutoencoderDC, captions: Captions, text: CLIPTextModel, scale: float
    ) -> None:
        scenes = [dataset.training_scene(s) for s in range(500, 516)]
        self.clips = (
            torch.stack([encode(vae, render_frames(s, SIZE)) for s in scenes]).float() * scale
        )
        with torch.no_grad():
            self.text = embed(text, captions.ids([s.caption for s in scenes]))

    @torch.no_grad()
    def probe(
        self, motion: Motion | None, unet: UNet2DConditionModel, abar: Tensor
    ) -> dict[str, float]:
        """Mean squared x0 error over the latents' variance, by kind of noise and level."""
        out = {}
        for kind in SHARED:
            for t in PROBES[:4]:
                noise = noise_like(self.clips, kind, torch.Generator().manual_seed(t))
                a, s = abar[t].sqrt(), (1 - abar[t]).sqrt()
                x = a * self.clips + s * noise
                levels = torch.full((4,), t)
                v = torch.cat(
                    [
                        predict(motion, unet, some, levels, words)
                        for some, words in zip(x.split(4), self.text.split(4), strict=True)
                    ]
                )
                error = ((a * x - s * v) - self.clips).square().mean()
                out[f"{kind}{t}"] = round(float(error / self.clips.var()), 4)
        return out


def training_loss(
    motion: Motion,
    unet: UNet2DConditionModel,
    x0: Tensor,
    text: Tensor,
    kind: str,
    abar: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Weighted error of v for clips [clips, frames, 16, 16, 16], each at one random level."""
    t = torch.randint(1000, (len(x0),), generator=rng)
    noise = noise_like(x0, kind, rng)
    a, s = (level[t].sqrt()[:, None, None, None, None] for level in (abar, 1 - abar))
    v = predict(motion, unet, a * x0 + s * noise, t, text)
    error = (v - (a * noise - s * x0)).square().mean((1, 2, 3, 4))
    return (5.0 / (abar[t] / (1 - abar[t]) + 5.0) * error).mean()


def ship(motion: Motion, target: Path = TARGET) -> None:
    """Write a folder in diffusers' format, in half precision."""
    target.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().half().contiguous() for name, value in motion.state_dict().items()
    }
    save_file(weights, target / WEIGHTS)
    facts = {
        "_class_name": "MotionAdapter",
        "motion_max_seq_length": POSITIONS,
        "motion_num_attention_heads": HEADS,
        "motion_norm_num_groups": 32,
    }
    (target / "config.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=1_000_000, rate=3e-3, ema=0.99)
    parser.add_argument("--shards", type=int, default=25, help=f"of {SHARD} clips of each length")
    parser.add_argument("--report", type=int, default=100, help="steps between points of the curve")
    parser.add_argument(
        "--ship", action="store_true", help=f"write the run's weights to {TARGET} and stop"
    )
    args = parser.parse_args()
    begin(args)
    unet = UNet2DConditionModel.from_pretrained(ASSETS / "unet", torch_dtype=torch.float32)
    # Written out: the fused kernel's backward pass is slow here.
    unet.requires_grad_(False).set_attn_processor(AttnProcessor())
    motion = Motion(unet, args.init)
    run = Run(args.run, motion, Muon(motion, args.rate, ends=()), ema=args.ema)
    if args.ship:
        with run.averaged():
            ship(motion)
        return
    vae = AutoencoderDC.from_pretrained(ASSETS / "vae", torch_dtype=torch.float32).eval()
    scale = json.loads((ASSETS / "vae" / "config.json").read_text())["scaling_factor"]
    clips = cached_clips(args.run / "clips", args.shards, vae)
    captions = Captions(args.run / "tokenizer")
    known = {
        frames: captions.of([s for shard in range(args.shards) for s in scenes_of(shard, frames)])
        for frames in clips
    }
    text = CLIPTextModel.from_pretrained(
        ASSETS / "text_encoder", dtype=torch.float32
    ).requires_grad_(False)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    held = HeldOut(vae, captions, text, scale)
    if not run.done and not worker():
        run.report(held.probe(None, unet, abar))

    while run.done < args.samples:
        seed = args.seed * 1_000_003 + run.done
        shape = np.random.default_rng(seed)  # of the batch, the same for every worker
        frames = int(shape.choice([*LENGTHS], p=[*LENGTHS.values()]))
        kind = str(shape.choice([*SHARED], p=[*SHARED.values()]))
        rng = torch.Generator().manual_seed(seed + worker() * ROWS)
        run.pace(args.rate, args.samples, warm=4000)
        source = max(frames, 8)
        rows = torch.randint(len(clips[source]), (ROWS // frames,), generator=rng)
        first = int(torch.randint(source - frames + 1, (), generator=rng))
        x0 = clips[source][rows, first : first + frames].float() * scale
        words = embed(text, captions.draw(known[source], rows, rng))
        run.step(training_loss(motion, unet, x0, words, kind, abar, rng), ROWS)
        if run.steps % args.report == 0 and not worker():
            with run.averaged():
                run.report(held.probe(motion, unet, abar))
            run.save()
    if not worker():
        run.save()


if __name__ == "__main__":
    main()
