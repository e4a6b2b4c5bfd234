"""Train the fast edits of the built-in model: `python -m storybook.training.fast --run
RUN`.

All weights of the shipped UNet learn to draw an edit by a network that sees the source:
it reads the latents of the source beside the noisy ones, as InstructPix2Pix (Brooks et
al. 2023, arXiv:2211.09800). It learns under what an edit does, attention that binds
regions to their words, and is trained as any diffusion model, on velocities at levels
drawn at random, mostly inside the regions. Some samples begin from pure noise, and some
have no words, so that words can guide. A thing is drawn well when it has cells enough:
whole frames have `WHOLE` pixels, most samples are boxes of such.

It learns from the true edits of `edits`. `--init` goes on from a shipped file.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import save_torch_state_dict
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.diffusion.schedule import guide
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from storybook.training.edits import (
    WHOLE,
    Edits,
    decoded,
    edit_tensors,
    encoded,
    stacked,
)
from storybook.training.muon import Muon
from storybook.training.runs import (
    Run,
    batch_rng,
    begin,
    drawers,
    mixed,
    options,
    summed,
    worker,
    workers,
)
from storybook.training.ship import ASSETS

TARGET = ASSETS / "fast"
WHOLES = 0.3  # share of the batches of whole frames, a quarter as many each
WORDLESS = 0.15  # share of the samples
PURE = 0.15  # share of the samples that begin from pure noise
LEAST_LEVEL, NOISIEST = 60, 999
MOST_WEIGHT = 4.0  # of low levels
GROUND = 1.5  # more weight of ground, where the eye sees a haze of the old thing
FALL = 0.4  # share of the samples over which the rate falls
OUTSIDE = 0.05  # weight of what is not edited
VARIANCE = 0.16  # of latents inside the regions, about
HELD_OUT = range(700, 708)
# An edit as it is shown: steps, scale of the guidance, and the least level with it.
STEPS, SCALE, GUIDED_FROM = 8, 2.0, 300


def widen(unet: nn.Module) -> None:
    """Let the first layer read the latents of the source, too; they change nothing
    yet."""
    old = unet.conv_in
    channels = old.in_channels
    new = nn.Conv2d(2 * channels, old.out_channels, 3, padding=1)
    new.weight.data.zero_()
    new.weight.data[:, :channels] = old.weight.data
    new.load_state_dict({"weight": new.weight.data, "bias": old.bias.data})
    unet.conv_in = new.to(old.weight.device)


def attend_by(rows: Mapping[str, Tensor]) -> AttentionFn:
    """Return the attention of edits that are laid out each its own way: regions are
    bound to their words."""
    words = rows["words"].long()

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "self":
            # in parts: the fused kernel's backward pass is slow here
            scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
            return scores.softmax(-1).to(v) @ v
        codes = rows[f"codes{q.shape[2]}"].long()
        is_bound = (codes[..., None] == words[:, None]).any(2)
        return _modulated(q, k, v, codes, words, is_bound.float())

    return attend


def _modulated(
    q: Tensor, k: Tensor, v: Tensor, codes: Tensor, keys: Tensor, strength: Tensor
) -> Tensor:
    """Compute modulated attention, written out (arXiv:2502.17258, Eq. 4); no gradient
    goes through the range of the logits."""
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    span = (scores.amax(-1, keepdim=True) - scores.amin(-1, keepdim=True)).detach()
    same = (codes[..., None] == keys[:, None])[:, None]
    a = strength[:, None, :, None]
    scores = (1 - a) * scores + a * span * same
    return scores.softmax(-1).to(v) @ v


class Network:
    """The UNet as an edit calls it.

    Attributes:
        unet: Its weights; the first layer is widened.
    """

    def __init__(self, unet: nn.Module, backbone: StableDiffusion) -> None:
        self.unet = unet
        self._unscaled = backbone.unscaled
        abar = torch.from_numpy(backbone.schedule.alphas_cumprod)
        self._abar = abar.float().to(backbone.device)
        self._empty = backbone.embed([""]).vectors[0]

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise of some levels, one for each edit."""
        a = self._abar[t][:, None, None, None]
        return a.sqrt(), (1 - a).sqrt()

    def x0(self, rows: Mapping[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
        """Estimate clean latents of [edits, c, h, w] at one level for each."""
        seen = self._unscaled(rows["source"].float())
        change = {"attend": attend_by(rows), "queries": {}}
        with mixed(x.device):
            output = self.unet(
                torch.cat([x, seen], 1),
                t,
                rows["text"].float(),
                cross_attention_kwargs=change,
            ).sample
        a, s = self.levels(t)
        return a * x - s * output.float()

    def wordless(
        self, rows: Mapping[str, Tensor], which: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return edits of which some, or all, have the empty prompt, bound to
        nothing."""
        without: dict[str, Tensor] = {}
        for name, value in rows.items():
            gone = value
            if name == "text":
                gone = self._empty.to(value).expand_as(value)
            elif name == "words":
                gone = torch.full_like(value, -1)
            elif name.startswith("codes"):
                gone = torch.full_like(value, -2)
            if which is not None:
                of_edits = which.view(-1, *[1] * (value.ndim - 1))
                gone = torch.where(of_edits, gone, value)
            without[name] = gone
        return without

    @torch.no_grad()
    def edited(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Edit from pure noise by DDIM, as a run does, guided by words at high
        levels."""
        source = rows["source"].float()
        inside = rows["inside"].float()
        free = self.wordless(rows)
        x = _noise(source, torch.Generator().manual_seed(0))
        walk = [round(NOISIEST * (1 - step / STEPS)) for step in range(STEPS)]
        clean = x
        for level, following in zip(walk, [*walk[1:], 0], strict=True):
            t = torch.full((len(source),), level, device=source.device)
            found = self.x0(rows, x, t)
            if level >= GUIDED_FROM:
                found = guide(self.x0(free, x, t), found, SCALE)
            clean = inside * found + (1 - inside) * source
            a, s = self.levels(t)
            b, r = self.levels(torch.full_like(t, following))
            x = b * clean + r * (x - a * clean) / s
        return clean


def loss_of(
    network: Network, rows: Mapping[str, Tensor], rng: torch.Generator
) -> Tensor:
    """Return the loss of some edits, each at one level: squares of what the velocity
    lacks, those of low levels weighed less."""
    wanted = rows["wanted"].float()
    count = len(wanted)
    is_wordless = _chosen(count, WORDLESS, rng)
    rows = network.wordless(rows, is_wordless.to(wanted.device))
    t = torch.randint(LEAST_LEVEL, NOISIEST + 1, (count,), generator=rng)
    is_pure = _chosen(count, PURE, rng)
    t = torch.where(is_pure, NOISIEST, t)
    t = t.to(wanted.device)
    noise = _noise(wanted, rng)
    a, s = network.levels(t)
    noisy = a * wanted + s * noise
    from_noise = t == NOISIEST
    x = torch.where(from_noise[:, None, None, None], noise, noisy)
    ground = rows["ground"].float() / 100
    area = rows["inside"].float() * (1 + GROUND * ground) + OUTSIDE
    ratio = 1 / s.square()
    weight = area * ratio.clamp(max=MOST_WEIGHT)
    found = network.x0(rows, x, t)
    far = (found - wanted).square() * weight
    channels = wanted.shape[1]
    mean = far.sum() / (area.sum() * channels)
    return mean / VARIANCE


def _chosen(count: int, share: float, rng: torch.Generator) -> Tensor:
    return torch.rand(count, generator=rng) < share


def _noise(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng).to(like.device)


@torch.no_grad()
def probe(
    network: Network, rows: Mapping[str, Tensor]
) -> tuple[dict[str, float], Tensor]:
    """Return mean squared errors inside the regions over the variance there, of single
    steps and of whole edits; and the edits.

    These errors reward blur: `benchmarks.edit_quality` measures what is seen.
    """
    wanted = rows["wanted"].float()
    inside = rows["inside"].float()

    def share(found: Tensor) -> float:
        far = ((found - wanted).square() * inside).sum()
        return round(float(far / ((wanted - wanted.mean()).square() * inside).sum()), 4)

    figures = {}
    rng = torch.Generator().manual_seed(0)
    for level in (999, 499, 199):
        t = torch.full((len(wanted),), level, device=wanted.device)
        noise = _noise(wanted, rng)
        a, s = network.levels(t)
        x = noise if level == NOISIEST else a * wanted + s * noise
        figures[f"at{level}"] = share(network.x0(rows, x, t))
    edits = network.edited(rows)
    figures["edits"] = share(edits)
    return figures, edits


@torch.no_grad()
def sheet(
    edits: Tensor, rows: Mapping[str, Tensor], backbone: StableDiffusion
) -> Image.Image:
    """Return edits between source and truth, two a line."""
    frames = []
    for latents in (rows["source"].float(), edits):
        pixels = decoded(latents, backbone)
        frames.append((pixels.movedim(1, -1) + 1) * 127.5)
    frames.append(rows["truth"].float())
    rows_of_three = torch.cat(frames, 2).clamp(0, 255).byte().cpu().numpy()
    lines = [np.hstack(rows_of_three[i : i + 2]) for i in range(0, len(edits) - 1, 2)]
    return Image.fromarray(np.vstack(lines))


def changes(unet: nn.Module, base: nn.Module) -> dict[str, Tensor]:
    """Return what every weight of a network adds to that of the shipped one, in half
    precision, by its name in a LoRA file."""
    wide = copy.deepcopy(base).float().cpu()
    widen(wide)
    old = wide.state_dict()
    return {
        _in_file(name): (weight.detach().float().cpu() - old[name]).half()
        for name, weight in unet.state_dict().items()
    }


def _in_file(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"unet.{layer}.{'diff_b' if kind == 'bias' else 'diff'}"


def ship(unet: nn.Module, base: nn.Module, target: Path = TARGET) -> None:
    """Write the changes of the shipped network in files of at most 9 MB."""
    target.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(
        changes(unet, base),
        target,
        filename_pattern="pytorch_lora_weights{suffix}.safetensors",
        max_shard_size="9MB",
        metadata={"modelspec.resolution": f"{WHOLE}x{WHOLE}"},
    )


def go_on(unet: nn.Module, folder: Path) -> None:
    """Add the changes that `ship` wrote to a widened network."""
    added: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        added |= load_file(path)
    for name, weight in unet.state_dict().items():
        weight += added[_in_file(name)].to(weight)


class Training:
    """A training of all weights of the network."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        device = args.device
        self.backbone = load_backbone("storybook", device=device, dtype=torch.float32)
        self.backbone.vae.float().requires_grad_(False)
        unet = copy.deepcopy(self.backbone.unet).float()
        widen(unet)
        if args.init and not (args.run / "state.safetensors").exists():
            go_on(unet, args.init)
        unet.requires_grad_(True).to(device)
        by = Muon(unet, args.rate, ends=("conv_in", "conv_out"), decay=0.0)
        self.run = Run(args.run, unet, by, ema=args.ema)
        self.network = Network(unet, self.backbone)

    def train(self) -> None:
        """Train until there were as many samples, or minutes, as asked for."""
        args = self._args
        run = self.run
        # a run that goes on, every seed and every worker draw others
        first = run.done // args.rows + 10_000 * args.seed + 300_000 * worker()
        jobs = drawers(args)
        boxes = Edits(self.backbone, WHOLE // 2, args.held, first, jobs)
        wholes = Edits(self.backbone, WHOLE, args.held // 4, first + 150_000, jobs)
        held = encoded(stacked(map(edit_tensors, HELD_OUT)), self.backbone)
        if not run.done and not worker():
            self._report(held)
        began = time.monotonic()
        while run.done < (samples := self._samples(began)):
            rng = batch_rng(args.seed, run.done, args.rows)
            run.pace(args.rate, samples, warm=50 * args.rows, fall=FALL)
            # of all workers together, which wait for each other
            alike = batch_rng(args.seed, run.done, 0)
            is_whole = bool(torch.rand((), generator=alike) < WHOLES)
            edits, count = (wholes, args.rows // 4) if is_whole else (boxes, args.rows)
            rows = edits.choose(count, rng)
            run.step(loss_of(self.network, rows, rng), args.rows)
            if run.steps % args.report == 0 and not worker():
                self._report(held)
                run.save()
        if not worker():
            self._report(held)
            run.save()

    def _samples(self, began: float) -> float:
        """Return the samples of the whole training, by the clock those that it will
        have made."""
        if self._args.minutes is None:
            return self._args.samples
        gone = (time.monotonic() - began) / 60 / self._args.minutes
        if workers() > 1:  # all end together, though each has a clock
            gone = float(summed(torch.tensor(gone))) / workers()
        return max(1, self.run.done) if gone >= 1 else 1 + self.run.done / gone

    def _report(self, held: Mapping[str, Tensor]) -> None:
        with self.run.averaged():
            figures, edits = probe(self.network, held)
            picture = sheet(edits, held, self.backbone)
        self.run.report(figures)
        picture.save(self._args.run / f"edits_{self.run.done}.webp", quality=80)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = options(__doc__ or "", samples=600_000, rate=3e-3, ema=0.998)
    parser.add_argument("--rows", type=int, default=32, help="frames of a batch")
    parser.add_argument(
        "--minutes", type=float, help="end by the clock instead of by --samples"
    )
    parser.add_argument("--held", type=int, default=6000, help="edits held at a time")
    parser.add_argument("--report", type=int, default=600)
    parser.add_argument("--ship", type=Path, help="write the files there, and stop")
    return parser.parse_args()


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    args = arguments()
    begin(args)
    training = Training(args)
    if args.ship:
        with training.run.averaged():
            ship(training.run.model, training.backbone.unet, args.ship)
        return
    training.train()


if __name__ == "__main__":
    main()
