"""Train the fast edits of the built-in model: `python -m storybook.training.fast --run
RUN`.

A LoRA for the shipped UNet that edits in few steps, without guidance and inversion. It
learns under what an edit does: frames of a clip that see each other, attention that
binds regions to their words, everything outside given. Beside the noisy latents, the
network is given the edited cells and the latents of the source with its regions hidden,
as an inpainting model is. At high levels some samples start from the noised source, as
an edit of less strength does, and half of the batches from where the network itself
came in the steps before.

It learns from the true edits (`edits`), in latents and in pixels, and from critics
(`critics`). `--init` goes on from a shipped LoRA, as near to it as `--rank` allows.
"""

from __future__ import annotations

import argparse
import copy
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from storybook.training.critics import (
    Critic,
    Eye,
    error,
    hinge,
    meanings,
    pixel_error,
    pulled,
)
from storybook.training.edits import (
    FRAMES,
    Edits,
    decoded,
    edit_tensors,
    encoded,
    stacked,
)
from storybook.training.muon import Muon
from storybook.training.runs import Run, batch_rng, begin, drawers, mixed, options
from storybook.training.ship import ASSETS

log = logging.getLogger(__name__)
TARGET = ASSETS / "fast"
WEIGHTS = "pytorch_lora_weights.safetensors"
STILL = 0.25  # share of the batches that have one frame of each clip
DRAWN_EVERY = 60  # steps, where the processor that trains draws
LEVELS = 50
WALK = (999, 879, 759, 639, 499, 379, 259, 139)  # levels of an edit in eight steps
FROM_SOURCE = range(600, 960)  # levels at which an edit may start from the source
OWN = 0.5  # share of the batches that start from where the network came itself
LOOKED = 0.25  # share of the frames of a batch that are looked at in pixels
CRITICAL = 0.7  # pull of the critic over that of the error
PIXELS = 1.0  # pull of the error of pixels
SEEN = 0.7  # pull of the critic of pixels
CRITIC_RATE = 4e-4
HELD_OUT = range(700, 716)


class LowRank(nn.Module):
    """Low-rank changes of all layers of a UNet, whose first layer is widened.

    Args:
        unet: The UNet; its weights do not change.
        rank: Rank of every change.
        goal: Changes of flat weights to start from, by the name of the layer: the
            nearest of this rank are taken.
    """

    def __init__(
        self, unet: nn.Module, rank: int, goal: Mapping[str, Tensor] | None
    ) -> None:
        super().__init__()
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        self.names: dict[str, str] = {}
        for name, module in unet.named_modules():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            weight = module.weight.detach()
            flat = weight.flatten(1)
            least = min(rank, *flat.shape)
            key = name.replace(".", "_")
            self.names[key] = name
            change = torch.zeros_like(flat)
            if goal is not None:
                change = goal[name]
            up, down = _factors(change, least)
            if goal is None and name == "conv_in":
                down[:, :] += 0.02 * torch.randn(down.shape)
            self.down[key] = nn.Parameter(down)
            self.up[key] = nn.Parameter(up)

    def weights(self, unet: nn.Module) -> dict[str, Tensor]:
        """Return the changed weights, by their names."""
        changed = {}
        for key, name in self.names.items():
            weight = unet.get_submodule(name).weight
            delta = (self.up[key] @ self.down[key]).view_as(weight)
            changed[f"{name}.weight"] = weight + delta
        return changed

    def tensors(self, unet: nn.Module) -> dict[str, Tensor]:
        """Return the factors as a LoRA file has them, in half precision."""
        found = {}
        for key, name in self.names.items():
            weight = unet.get_submodule(name).weight
            down = self.down[key].detach()
            up = self.up[key].detach()
            if weight.ndim == 4:
                down = down.view(-1, *weight.shape[1:])
                up = up[:, :, None, None]
            found[f"unet.{name}.lora_A.weight"] = down.half().cpu().contiguous()
            found[f"unet.{name}.lora_B.weight"] = up.half().cpu().contiguous()
        return found


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return up and down, whose product comes nearest to a matrix; what is left of the
    rank is ready to learn."""
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    root = s[:rank].sqrt()
    up = u[:, :rank] * root
    down = root[:, None] * v[:rank]
    idle = s[:rank] <= 1e-4 * s[0]
    up[:, idle] = 0
    free = torch.randn(rank, change.shape[1]) / change.shape[1] ** 0.5
    down[idle] = free[idle]
    return up.contiguous(), down.contiguous()


def changes_of(path: Path) -> dict[str, Tensor]:
    """Return the changes of flat weights in a LoRA file, by the name of the layer."""
    found = load_file(path)
    changes = {}
    for key, down in found.items():
        if key.endswith(".lora_A.weight"):
            up = found[key.replace("lora_A", "lora_B")]
            name = key.removeprefix("unet.").removesuffix(".lora_A.weight")
            changes[name] = up.flatten(1).float() @ down.flatten(1).float()
    return changes


def widen(unet: nn.Module) -> None:
    """Let the first layer take the edited cells and the latents of the source, too;
    they change nothing yet."""
    old = unet.conv_in
    channels = old.in_channels
    new = nn.Conv2d(2 * channels + 1, old.out_channels, 3, padding=1)
    new.weight.data.zero_()
    new.weight.data[:, :channels] = old.weight.data
    new.load_state_dict({"weight": new.weight.data, "bias": old.bias.data})
    unet.conv_in = new.requires_grad_(False)


def attend_by(rows: Mapping[str, Tensor], frames: int) -> AttentionFn:
    """Return the attention of an edit, for clips that are laid out each its own way:
    frames see each other, and regions are bound to their words."""
    words = rows["words"].long().repeat_interleave(frames, 0)

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "self":
            return across_frames(q, k, v, frames, "all")
        codes = rows[f"codes{q.shape[2]}"].long()[:, :frames].flatten(0, 1)
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
    """The UNet with the changes, as an edit calls it."""

    def __init__(self, unet: nn.Module, changes: LowRank, abar: Tensor) -> None:
        self._unet = unet
        self._changes = changes
        self._abar = abar

    def x0(self, rows: Mapping[str, Tensor], x: Tensor, t: Tensor) -> Tensor:
        """Estimate clean latents of [clips, frames, c, h, w] at one level per clip."""
        clips, frames = x.shape[:2]
        given = [x, rows["inside"][:, :frames], rows["given"][:, :frames]]
        wide = torch.cat([part.float() for part in given], 2).flatten(0, 1)
        text = rows["text"].float().repeat_interleave(frames, 0)
        change = {"attend": attend_by(rows, frames), "queries": {}}
        with mixed(x.device):
            output = torch.func.functional_call(
                self._unet,
                self._changes.weights(self._unet),
                (wide, t.repeat_interleave(frames), text),
                {"cross_attention_kwargs": change},
            ).sample
        v = output.float().unflatten(0, (clips, frames))
        a, s = levels(self._abar, t)
        return a * x - s * v


def levels(abar: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return signal and noise of some levels, one for each clip."""
    a = abar[t][:, None, None, None, None]
    return a.sqrt(), (1 - a).sqrt()


def shown_frames(
    rows: Mapping[str, Tensor], frames: int, rng: torch.Generator
) -> dict[str, Tensor]:
    """Return edits of so many frames, the same ones of all clips."""
    first = int(torch.randint(FRAMES - frames + 1, (), generator=rng))
    shown = {}
    for name, value in rows.items():
        of_frames = name not in ("words", "text")
        shown[name] = value[:, first : first + frames] if of_frames else value
    return shown


def draw_levels(count: int, rng: torch.Generator) -> Tensor:
    """Draw levels; half of them are those that an edit visits."""
    any_level = torch.randint(1, LEVELS + 1, (count,), generator=rng) * 20 - 1
    visited = torch.tensor(WALK)[torch.randint(len(WALK), (count,), generator=rng)]
    return torch.where(torch.rand(count, generator=rng) < 0.5, visited, any_level)


@dataclass(frozen=True)
class Drawn:
    """Latents that the network drew, [clips, frames, c, h, w], and those it should
    have."""

    found: Tensor
    wanted: Tensor
    source: Tensor
    inside: Tensor

    @property
    def shown(self) -> Tensor:
        """The edit as a run would show it: the source outside the edited cells."""
        return self._over_source(self.found)

    @property
    def true(self) -> Tensor:
        """The true edit, shown in the same way."""
        return self._over_source(self.wanted)

    def _over_source(self, x: Tensor) -> Tensor:
        return self.inside * x + (1 - self.inside) * self.source


def draw(
    network: Network,
    rows: Mapping[str, Tensor],
    abar: Tensor,
    rng: torch.Generator,
) -> Drawn:
    """Draw clips from random levels, some from the source, some from where the network
    came itself."""
    wanted = rows["wanted"].float()
    source = rows["source"].float()
    inside = rows["inside"].float()
    device = wanted.device
    if torch.rand((), generator=rng) < OWN:
        taken = int(torch.randint(len(WALK), (), generator=rng))
        t = torch.full((len(wanted),), WALK[taken], device=device)
        clean = walk(network, rows, WALK[:taken], abar, rng)
        x = _noised(clean, t, abar, rng) if taken else _noise(wanted, rng)
    else:
        t = draw_levels(len(wanted), rng).to(device)
        begins = (t >= FROM_SOURCE.start) & (t < FROM_SOURCE.stop)
        begins &= torch.rand(len(t), generator=rng).to(device) < 0.5
        clean = torch.where(begins[:, None, None, None, None], source, wanted)
        x = _noised(clean, t, abar, rng)
    return Drawn(network.x0(rows, x, t), wanted, source, inside)


@torch.no_grad()
def walk(
    network: Network,
    rows: Mapping[str, Tensor],
    visited: tuple[int, ...],
    abar: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Edit from pure noise through some levels, as a run does: the clean latents that
    the last of them gave."""
    source = rows["source"].float()
    inside = rows["inside"].float()
    clean = source
    for number, level in enumerate(visited):
        t = torch.full((len(source),), level, device=source.device)
        x = _noised(clean, t, abar, rng) if number else _noise(source, rng)
        found = network.x0(rows, x, t)
        clean = inside * found + (1 - inside) * source
    return clean


def _noised(x: Tensor, t: Tensor, abar: Tensor, rng: torch.Generator) -> Tensor:
    """Add noise that is the same in all frames of a clip."""
    a, s = levels(abar, t)
    return a * x + s * _noise(x, rng)


def _noise(like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw noise that is the same in all frames of a clip."""
    one = torch.randn(like[:, :1].shape, generator=rng).to(like.device)
    return one.expand_as(like)


@dataclass(frozen=True)
class Look:
    """Some of the clips in pixels of -1 to 1, [clips, frames, 3, h, w]: as drawn, as
    the true latents decode, and as the truth was drawn; and the edited cells and their
    words."""

    drawn: Tensor
    true: Tensor
    truth: Tensor
    inside: Tensor
    meaning: Tensor

    @property
    def area(self) -> Tensor:
        """The edited cells in pixels."""
        side = self.drawn.shape[-1] // self.inside.shape[-1]
        return self.inside.repeat_interleave(side, -1).repeat_interleave(side, -2)


def look_at(
    drawn: Drawn, rows: Mapping[str, Tensor], meaning: Tensor, backbone: StableDiffusion
) -> Look:
    """Decode the first clips of a batch."""
    clips, frames = drawn.found.shape[:2]
    few = max(1, round(LOOKED * clips))
    shown = decoded(drawn.shown[:few].flatten(0, 1), backbone)
    with torch.no_grad():
        true = decoded(drawn.true[:few].flatten(0, 1), backbone)
    truth = rows["truth"][:few].movedim(-1, 2).float() / 127.5 - 1
    shape = (few, frames)
    return Look(
        shown.unflatten(0, shape),
        true.unflatten(0, shape),
        truth,
        drawn.inside[:few],
        meaning[:few],
    )


class Judges:
    """The two critics, of latents and of pixels, and their training."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.critic = Critic().to(device)
        self.eye = Eye().to(device)
        self._runs = []
        for name, network in (("critic", self.critic), ("eye", self.eye)):
            by = torch.optim.AdamW(network.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
            self._runs.append(Run(folder / name, network, by))

    def loss(self, drawn: Drawn, look: Look, meaning: Tensor) -> Tensor:
        """Return the loss of a batch that was drawn."""
        far = error(drawn.found, drawn.wanted, drawn.inside).mean()
        doubt = self.critic(drawn.shown, drawn.inside, meaning) * drawn.inside
        seen = -sum(
            (on * look.inside).sum() for on in self.eye(look.drawn, look.meaning)
        )
        wrong = pixel_error(look.drawn, look.truth, look.area)
        others = [(CRITICAL, -doubt.sum()), (PIXELS, wrong), (SEEN, seen)]
        return pulled(drawn.found, far, others)

    def learn(self, drawn: Drawn, look: Look, meaning: Tensor, rows: int) -> None:
        """Learn to tell the true edits of a batch from those that were drawn."""
        inside = drawn.inside
        on_true = self.critic(drawn.true, inside, meaning)
        on_drawn = self.critic(drawn.shown.detach(), inside, meaning)
        self._runs[0].step(hinge(on_true, on_drawn, inside), rows)
        pairs = zip(
            self.eye(look.true, look.meaning),
            self.eye(look.drawn.detach(), look.meaning),
            strict=True,
        )
        told = [hinge(true, false, look.inside) for true, false in pairs]
        self._runs[1].step(sum(told[1:], told[0]), rows)

    def save(self) -> None:
        """Save both with their optimisers."""
        for run in self._runs:
            run.save()


@torch.no_grad()
def probe(
    network: Network,
    rows: Mapping[str, Tensor],
    abar: Tensor,
) -> tuple[dict[str, float], Tensor]:
    """Return mean squared errors inside the regions over the variance there, of single
    steps and of whole edits; and the edits."""
    wanted = rows["wanted"].float()
    inside = rows["inside"].float()

    def share(found: Tensor) -> float:
        far = ((found - wanted).square() * inside).sum()
        return round(float(far / ((wanted - wanted.mean()).square() * inside).sum()), 4)

    figures = {}
    rng = torch.Generator().manual_seed(0)
    for level in (999, 499, 199):
        t = torch.full((len(wanted),), level, device=wanted.device)
        found = network.x0(rows, _noised(wanted, t, abar, rng), t)
        figures[f"at{level}"] = share(found)
    edits = walk(network, rows, WALK, abar, rng)
    figures["edits"] = share(edits)
    spread = (edits * inside).std() / (wanted * inside).std()
    figures["spread"] = round(float(spread), 4)
    detail = _detail(edits, inside) / _detail(wanted, inside)
    figures["detail"] = round(float(detail), 4)
    if wanted.shape[1] > 1:
        flicker = _change(edits, inside) / _change(wanted, inside)
        figures["flicker"] = round(float(flicker), 4)
    return figures, edits


def _detail(x: Tensor, inside: Tensor) -> Tensor:
    """Measure how much cells differ from their neighbours, inside the regions."""
    steps = (x[..., 1:] - x[..., :-1]).abs() * inside[..., 1:] * inside[..., :-1]
    return steps.mean()


def _change(x: Tensor, inside: Tensor) -> Tensor:
    """Measure how much frames differ from those before, inside the regions."""
    return (x.diff(dim=1).abs() * inside[:, 1:] * inside[:, :-1]).mean()


@torch.no_grad()
def sheet(
    edits: Tensor, rows: Mapping[str, Tensor], backbone: StableDiffusion
) -> Image.Image:
    """Return the first, fourth and last frame of edits beside source and truth."""
    lines = []
    for own, source, truth in zip(edits, rows["source"], rows["truth"], strict=True):
        shown = [0, len(own) // 2, len(own) - 1]
        parts = [truth[shown].float()]
        for latents in (own, source.float()):
            pixels = decoded(latents[shown], backbone)
            parts.insert(0, (pixels.movedim(1, -1) + 1) * 127.5)
        lines.append(torch.cat([part for group in parts for part in group], 1))
    picture = torch.cat(lines).clamp(0, 255).byte().cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(picture))


def ship(changes: LowRank, unet: nn.Module, target: Path = TARGET) -> None:
    """Write the LoRA."""
    target.mkdir(parents=True, exist_ok=True)
    save_file(changes.tensors(unet), target / WEIGHTS)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = options(__doc__ or "", samples=1_600_000, rate=8e-4, ema=0.998)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rows", type=int, default=32, help="frames of a batch")
    parser.add_argument(
        "--minutes", type=float, help="end by the clock instead of by --samples"
    )
    parser.add_argument("--held", type=int, default=2000, help="edits held at a time")
    parser.add_argument("--report", type=int, default=100)
    parser.add_argument("--ship", type=Path, help="write the LoRA there, and stop")
    return parser.parse_args()


class Training:
    """A training of the LoRA."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        device = args.device
        self.backbone = load_backbone("storybook", device=device, dtype=torch.float32)
        self.backbone.vae.float().requires_grad_(False)
        self.unet = copy.deepcopy(self.backbone.unet).float().requires_grad_(False)
        widen(self.unet)
        resumes = (args.run / "state.safetensors").exists()
        goal = changes_of(args.init / WEIGHTS) if args.init and not resumes else None
        self.changes = LowRank(self.unet.cpu(), args.rank, goal).to(device)
        self.unet.to(device)
        by = Muon(self.changes, args.rate, ends=("conv_in", "conv_out"), decay=0.0)
        self.run = Run(args.run, self.changes, by, ema=args.ema)
        abar = torch.from_numpy(self.backbone.schedule.alphas_cumprod)
        self._abar = abar.float().to(device)
        self._network = Network(self.unet, self.changes, self._abar)

    def train(self) -> None:
        """Train until there were as many samples, or minutes, as asked for."""
        args = self._args
        run = self.run
        judges = Judges(args.run, args.device)
        first = run.done // args.rows // DRAWN_EVERY
        edits = Edits(self.backbone, args.held, first, drawers(args))
        while edits.count < args.rows:
            edits.take()
        held = encoded(stacked(map(edit_tensors, HELD_OUT)), self.backbone)
        if not run.done:
            self._report(held)
        began = time.monotonic()
        while run.done < self._samples(began):
            if run.steps % DRAWN_EVERY == 0 or edits.draws_beside:
                edits.take()
            rng = batch_rng(args.seed, run.done, args.rows)
            run.pace(args.rate, self._samples(began), warm=50 * args.rows)
            self._step(edits, judges, rng)
            if run.steps % args.report == 0:
                self._report(held)
                run.save()
                judges.save()
        self._report(held)
        run.save()
        judges.save()

    def _samples(self, began: float) -> float:
        """Return the samples of the whole training, by the clock those that it will
        have made."""
        if self._args.minutes is None:
            return self._args.samples
        gone = (time.monotonic() - began) / 60 / self._args.minutes
        return max(1, self.run.done) if gone >= 1 else 1 + self.run.done / gone

    def _step(self, edits: Edits, judges: Judges, rng: torch.Generator) -> None:
        frames = 1 if torch.rand((), generator=rng) < STILL else FRAMES
        count = self._args.rows // frames
        rows = shown_frames(edits.choose(count, rng), frames, rng)
        meaning = meanings(rows)
        drawn = draw(self._network, rows, self._abar, rng)
        look = look_at(drawn, rows, meaning, self.backbone)
        self.run.step(judges.loss(drawn, look, meaning), self._args.rows)
        judges.learn(drawn, look, meaning, self._args.rows)

    def _report(self, held: Mapping[str, Tensor]) -> None:
        with self.run.averaged():
            figures, edits = probe(self._network, held, self._abar)
            picture = sheet(edits, held, self.backbone)
            ship(self.changes, self.unet, self._args.run / f"lora_{self.run.done}")
        self.run.report(figures)
        picture.save(self._args.run / f"edits_{self.run.done}.webp", quality=80)


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    args = arguments()
    begin(args)
    training = Training(args)
    if args.ship:
        with training.run.averaged():
            ship(training.changes, training.unet, args.ship)
        return
    training.train()


if __name__ == "__main__":
    main()
