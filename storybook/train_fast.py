"""Train the fast edits of the built-in model: `python -m storybook.train_fast --run
RUN`.

A LoRA for the shipped UNet that edits in few steps, without guidance and inversion. It
learns under what an edit does: frames of a clip that see each other, attention that
binds regions to their words, everything outside given. The true edit of a drawn scene
is drawn for free: the same motion with another look. Beside the noisy latents, the
network is given the edited cells and the latents of the source with its regions hidden,
as an inpainting model is. At high levels some samples start from the noised source, as
an edit of less strength does.

The LoRA may start from the difference to another UNet, `--from`, such as one distilled
on pictures (Luo et al. 2023, arXiv:2310.04378). Some batches start from the network's
own estimate at a noisier level, as sampling does.

Many edits fit the same words, and their mean is blurred. So a critic learns to tell
true edits from the network's, and the network to deceive it (Sauer et al. 2023,
arXiv:2311.17042, with a small critic of latents).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.media.labels import grow_labels
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.recipe.inpainting import GREY
from regrain.editing.recipe.layout import lay_out
from regrain.editing.recipe.window import edited_cells
from storybook import dataset
from storybook.muon import Muon
from storybook.ship import ASSETS
from storybook.train_autoencoder import SIZE
from storybook.training import Run, batch_rng, begin, mixed, options
from storybook.world import (
    ACCESSORIES,
    BACKGROUNDS,
    COLORS,
    FPS,
    KINDS,
    STYLES,
    WHERE,
    Scene,
    cast_of,
    owners,
    render_frames,
    replace,
    surface_ids,
)

log = logging.getLogger(__name__)
TARGET = ASSETS / "fast"
FRAMES = 4  # of a clip
ROWS = 32  # frames of a batch
STILL = 0.35  # share of the batches that have one frame of each clip
SHARD = 64  # clips
SHARDS = 48  # held at a time
DRAWN_EVERY = 30  # steps
LEVELS = 50
FIRST = (999, 879, 759, 639, 499)  # levels that few steps visit, and are trained more
FROM_SOURCE = range(600, 960)  # levels at which an edit may start from the source
OWN = 0.25  # share of the batches that start from the network's own estimate
OUTSIDE = 0.1  # weight of the error outside the edited cells
CRITICAL = 1.0  # pull of the critic over that of the error
CRITIC_RATE = 4e-4
HELD_OUT = range(700, 716)
_C = 1e-3


@dataclass(frozen=True)
class Change:
    """A region of an edit: its mask, bool [frames, size, size], and its words before
    and after."""

    mask: np.ndarray
    source: str
    prompt: str


def sample_edit(seed: int) -> tuple[Scene, Scene, list[int], EditRequest]:
    """Draw an edit: the scene, the same with another look, the frames that are shown,
    and the request."""
    rng = np.random.default_rng([seed, 17])
    scene = dataset.training_scene(seed)
    if rng.random() < 0.3:
        scene = _plain(scene)
    stride = int(rng.integers(1, 3))
    first = int(rng.integers(scene.frames - (FRAMES - 1) * stride))
    frames = [first + stride * i for i in range(FRAMES)]
    cast = cast_of(scene)
    actor_of, _ = owners(cast)
    labels = np.stack(
        [actor_of[surface_ids(scene, cast, SIZE, frame)] for frame in frames]
    )
    truth, changes = _changed(scene, labels, rng)
    request = _request(scene, frames, changes, rng)
    return scene, truth, frames, request


def _plain(scene: Scene) -> Scene:
    """Return a scene with actors in their natural colours, in the usual style."""
    actors = tuple(
        dataclasses.replace(actor, color=None, accessory=None) for actor in scene.actors
    )
    return dataclasses.replace(scene, actors=actors, style=STYLES[0])


def _changed(
    scene: Scene, labels: np.ndarray, rng: np.random.Generator
) -> tuple[Scene, list[Change]]:
    """Draw what changes."""
    kind = rng.choice(
        ["actors", "look", "background", "style"], p=[0.7, 0.18, 0.08, 0.04]
    )
    if kind == "style":
        style = str(rng.choice([s for s in STYLES if s != scene.style]))
        truth = dataclasses.replace(scene, style=style)
        return truth, [Change(labels >= 0, scene.caption, truth.caption)]
    if kind == "background":
        other = [name for name in BACKGROUNDS if name != scene.background]
        truth = replace(scene, background=str(rng.choice(other)))
        where = WHERE[scene.background], WHERE[truth.background]
        return truth, [Change(labels == 0, *where)]
    truth = scene
    count = int(rng.integers(1, len(scene.actors) + 1))
    chosen = sorted(rng.permutation(len(scene.actors))[:count].tolist())
    for i in chosen:
        truth = _new_look(truth, i, rng, other_kind=kind == "actors")
    changes = []
    for i in chosen:
        mask = labels == i + 1
        if mask.any():
            phrases = scene.actors[i].phrase, truth.actors[i].phrase
            changes.append(Change(mask, *phrases))
    return truth, changes


def _new_look(
    scene: Scene, actor: int, rng: np.random.Generator, other_kind: bool
) -> Scene:
    """Return the scene with one actor of another kind, or in other colours and
    clothes."""
    who = scene.actors[actor]
    look: dict[str, str | None] = {}
    if other_kind:
        look["kind"] = str(rng.choice([kind for kind in KINDS if kind != who.kind]))
        if rng.random() < 0.6:
            look |= {"color": None, "accessory": None}
    if "color" not in look and rng.random() < 0.6:
        look["color"] = str(rng.choice(COLORS))
    if "accessory" not in look and rng.random() < 0.5:
        look["accessory"] = str(rng.choice(ACCESSORIES))
    return replace(scene, actor=actor, **look)


def _request(
    scene: Scene,
    frames: list[int],
    changes: list[Change],
    rng: np.random.Generator,
) -> EditRequest:
    """Return the request of an edit, with masks that are exact, grown, or rough."""
    pictures = render_frames(scene, SIZE, tuple(frames))
    labels = np.zeros(pictures.shape[:3], np.uint8)
    grow = int(rng.integers(1, 9)) if rng.random() < 0.65 else 0
    rough = rng.random() < 0.15
    regions = []
    for number, change in enumerate(changes, 1):
        for frame, mask in enumerate(change.mask):
            wide = _wider(mask, grow, rough)
            labels[frame][wide & (labels[frame] == 0)] = number
        regions.append(
            Region(
                f"r{number}",
                number,
                prompt=change.prompt,
                source=change.source,
                margin=0,
            )
        )
    clip = ArrayClip(pictures, fps=Fraction(FPS))
    return EditRequest(clip, labels, tuple(regions), source_prompt=scene.caption)


def _wider(mask: np.ndarray, grow: int, rough: bool) -> np.ndarray:
    """Return a mask grown by some pixels, or the box around it."""
    if rough and mask.any():
        y, x = np.nonzero(mask)
        box = np.zeros_like(mask)
        box[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        mask = box
    return grow_labels(mask[None].astype(np.uint8), {1: grow})[0] > 0


def draw_shard(number: int, backbone: StableDiffusion) -> dict[str, Tensor]:
    """Draw the edits of a shard: latents of source and true edit, edited cells, codes of
    the tokens of every grid, and the words."""
    first = dataset.FIRST_TRAINING_SEED + 50_000_000 + number * SHARD
    return _stacked(
        edit_tensors(seed, backbone) for seed in range(first, first + SHARD)
    )


def _stacked(rows: Iterator[dict[str, Tensor] | None]) -> dict[str, Tensor]:
    found = [row for row in rows if row is not None]
    return {key: torch.stack([row[key] for row in found]) for key in found[0]}


@torch.no_grad()
def edit_tensors(seed: int, backbone: StableDiffusion) -> dict[str, Tensor] | None:
    """Return the tensors of one edit; None if nothing of it shows."""
    scene, truth, frames, request = sample_edit(seed)
    if not request.regions or not request.edited_mask.read(0, FRAMES).any():
        return None
    source = request.clip.read(0, FRAMES)
    drawn = render_frames(truth, SIZE, tuple(frames))
    edited = request.edited_mask.read(0, FRAMES)[..., None]
    wanted = np.where(edited, drawn, source)
    hides = not edited.all()  # of a whole frame, nothing would be left to see
    given = np.where(edited, GREY, source) if hides else source
    grid = backbone.grid(FRAMES, SIZE, SIZE)
    layout, texts = lay_out(backbone, request, grid)
    tensors: dict[str, Tensor] = {
        "source": backbone.encode(source).half(),
        "given": backbone.encode(given).half(),
        "wanted": backbone.encode(wanted).half(),
        "inside": edited_cells(request, backbone.device)(grid.size).to(torch.int8),
        "words": layout.words.to(torch.int8),
        "text": texts["cond"].vectors[0].half(),
    }
    for site in backbone.sites:
        tokens = grid.at(site).tokens
        tensors[f"codes{tokens}"] = layout.codes(site).to(torch.int8)
    return {name: value.cpu() for name, value in tensors.items()}


class Edits:
    """The newest shards of drawn edits."""

    def __init__(self, folder: Path, backbone: StableDiffusion) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._backbone = backbone
        self._held: dict[int, dict[str, Tensor]] = {}
        self.rows: dict[str, Tensor] = {}

    def at(self, steps: int) -> dict[str, Tensor]:
        """Return the edits to train on after some steps."""
        last = 4 + steps // DRAWN_EVERY
        wanted = range(max(0, last - SHARDS), last)
        if wanted and wanted[-1] in self._held:
            return self.rows
        for number in wanted:
            if number not in self._held:
                self._held[number] = self._drawn(number)
        for number in [*self._held]:
            if number not in wanted:
                del self._held[number]
                self._path(number).unlink(missing_ok=True)
        shards = list(self._held.values())
        self.rows = {key: torch.cat([s[key] for s in shards]) for key in shards[0]}
        return self.rows

    def _drawn(self, number: int) -> dict[str, Tensor]:
        path = self._path(number)
        if not path.exists():
            partial = path.with_suffix(".partial")
            save_file(draw_shard(number, self._backbone), partial)
            partial.replace(path)
        return load_file(path)

    def _path(self, number: int) -> Path:
        return self._folder / f"edits_{number:06d}.safetensors"


class LowRank(nn.Module):
    """Low-rank changes of all layers of a UNet, whose first layer is widened.

    Args:
        unet: The UNet; its weights do not change.
        rank: Rank of every change.
        goal: Weights to start near, by name: the best changes of this rank.
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
                change = _widened(goal[f"{name}.weight"], weight).flatten(1) - flat
            up, down = _factors(change, least)
            if name == "conv_in":
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
            found[f"unet.{name}.lora_A.weight"] = down.half().contiguous()
            found[f"unet.{name}.lora_B.weight"] = up.half().contiguous()
        return found


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return up and down, whose product comes nearest to a matrix."""
    if not change.any():
        down = torch.randn(rank, change.shape[1]) / change.shape[1] ** 0.5
        return torch.zeros(len(change), rank), down
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).contiguous(), (root[:, None] * v[:rank]).contiguous()


def _widened(weight: Tensor, like: Tensor) -> Tensor:
    """Return the weight of a first layer with zeros for further channels."""
    weight = weight.float()
    if weight.shape == like.shape:
        return weight
    wide = torch.zeros_like(like)
    wide[:, : weight.shape[1]] = weight
    return wide


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


def error(found: Tensor, wanted: Tensor, inside: Tensor) -> Tensor:
    """Return the pseudo-Huber error, mostly of the edited cells; for each clip."""
    weight = OUTSIDE + (1 - OUTSIDE) * inside
    far = ((found - wanted).square() + _C**2).sqrt() - _C
    return (far * weight).mean((1, 2, 3, 4)) / weight.mean((1, 2, 3, 4))


def draw_levels(count: int, rng: torch.Generator) -> Tensor:
    """Draw levels; half of them are those at which few steps begin."""
    any_level = torch.randint(1, LEVELS + 1, (count,), generator=rng) * 20 - 1
    firsts = torch.tensor(FIRST)[torch.randint(len(FIRST), (count,), generator=rng)]
    return torch.where(torch.rand(count, generator=rng) < 0.5, firsts, any_level)


class Critic(nn.Module):
    """Network that tells true latents from drawn ones, cell by cell, by the cells
    around."""

    def __init__(self, channels: int = 16, width: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(channels + 1, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Say how true latents look, [clips, frames, 1, h, w]; `inside` marks what is
        drawn."""
        seen = torch.cat([x, inside], 2).flatten(0, 1)
        return self.layers(seen).unflatten(0, x.shape[:2])


def critic_loss(critic: Critic, rows: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
    """Return the hinge loss of a critic that sees true edits and drawn ones."""
    frames = drawn.shape[1]
    inside = rows["inside"][:, :frames].float()
    on_true = (1 - critic(rows["wanted"][:, :frames].float(), inside)).relu()
    on_drawn = (1 + critic(drawn, inside)).relu()
    return ((on_true + on_drawn) * inside).sum() / inside.sum().clamp(min=1)


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
        return self.inside * self.found + (1 - self.inside) * self.source

    def loss(self, critic: Critic) -> Tensor:
        """Return the error, and what the critic says, whose pull on the latents is a
        fixed share of the error's."""
        far = error(self.found, self.wanted, self.inside).mean()
        doubt = -(critic(self.shown, self.inside) * self.inside).sum()
        pulls = []
        for part in (far, doubt):
            (gradient,) = torch.autograd.grad(part, self.found, retain_graph=True)
            pulls.append(gradient.norm())
        return far + CRITICAL * pulls[0] / pulls[1].clamp(min=1e-8) * doubt


def draw(
    network: Network,
    rows: Mapping[str, Tensor],
    frames: int,
    abar: Tensor,
    rng: torch.Generator,
) -> Drawn:
    """Draw the first frames of some clips from random levels, some from the network's
    own estimate, some from the source."""
    wanted = rows["wanted"][:, :frames].float()
    source = rows["source"][:, :frames].float()
    inside = rows["inside"][:, :frames].float()
    device = wanted.device
    t = draw_levels(len(wanted), rng).to(device)
    clean = wanted
    if torch.rand((), generator=rng) < OWN:
        before = (t + 240).clamp(max=999)
        x = _noised(wanted, before, abar, rng)
        with torch.no_grad():
            own = network.x0(rows, x, before)
        clean = inside * own + (1 - inside) * source
        clean = torch.where((before > t)[:, None, None, None, None], clean, wanted)
    else:
        begins = (t >= FROM_SOURCE.start) & (t < FROM_SOURCE.stop)
        begins &= torch.rand(len(t), generator=rng).to(device) < 0.5
        clean = torch.where(begins[:, None, None, None, None], source, clean)
    found = network.x0(rows, _noised(clean, t, abar, rng), t)
    return Drawn(found, wanted, source, inside)


def _noised(x: Tensor, t: Tensor, abar: Tensor, rng: torch.Generator) -> Tensor:
    """Add noise that is the same in all frames of a clip."""
    noise = torch.randn(x[:, :1].shape, generator=rng).to(x.device)
    a, s = levels(abar, t)
    return a * x + s * noise


@torch.no_grad()
def probe(
    network: Network, rows: Mapping[str, Tensor], abar: Tensor
) -> dict[str, float]:
    """Return mean squared errors inside the regions over the variance there, of single
    steps and of edits of seven."""
    wanted = rows["wanted"].float()
    source = rows["source"].float()
    inside = rows["inside"].float()

    def share(found: Tensor) -> float:
        far = ((found - wanted).square() * inside).sum()
        return round(float(far / ((wanted - wanted.mean()).square() * inside).sum()), 4)

    figures = {}
    rng = torch.Generator().manual_seed(0)
    for level in (999, 499, 199):
        t = torch.full((len(wanted),), level, device=wanted.device)
        figures[f"at{level}"] = share(
            network.x0(rows, _noised(wanted, t, abar, rng), t)
        )
    estimate = source
    for level in (879, 759, 639, 499, 379, 259, 139):
        t = torch.full((len(wanted),), level, device=wanted.device)
        found = network.x0(rows, _noised(estimate, t, abar, rng), t)
        estimate = inside * found + (1 - inside) * source
    figures["edits"] = share(estimate)
    spread = (estimate * inside).std() / (wanted * inside).std()
    figures["spread"] = round(float(spread), 4)
    figures["detail"] = round(
        float(_detail(estimate, inside) / _detail(wanted, inside)), 4
    )
    return figures


def _detail(x: Tensor, inside: Tensor) -> Tensor:
    """Measure how much cells differ from their neighbours, inside the regions."""
    steps = (x[..., 1:] - x[..., :-1]).abs() * inside[..., 1:] * inside[..., :-1]
    return steps.mean()


def ship(changes: LowRank, unet: nn.Module, target: Path = TARGET) -> None:
    """Write the LoRA."""
    target.mkdir(parents=True, exist_ok=True)
    save_file(changes.tensors(unet), target / "pytorch_lora_weights.safetensors")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = options(__doc__ or "", samples=1_600_000, rate=1e-3, ema=0.998)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--from", dest="goal", type=Path, help="UNet to start near")
    parser.add_argument("--report", type=int, default=100)
    parser.add_argument("--ship", type=Path, help="write the LoRA there, and stop")
    return parser.parse_args()


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    args = arguments()
    begin(args)
    backbone = load_backbone("storybook", device=args.device)
    unet = copy.deepcopy(backbone.unet).float().cpu().requires_grad_(False)
    widen(unet)
    resumes = (args.run / "state.safetensors").exists()
    goal = load_file(args.goal) if args.goal and not resumes else None
    changes = LowRank(unet, args.rank, goal)
    if args.init and not resumes:
        known = load_file(args.init / "state.safetensors")
        changes.load_state_dict(
            {key: known[f"e/{key}"] for key in changes.state_dict()}
        )
    unet.to(args.device)
    changes.to(args.device)
    optimiser = Muon(changes, args.rate, ends=("conv_in", "conv_out"), decay=0.0)
    run = Run(args.run, changes, optimiser, ema=args.ema)
    if args.ship:
        with run.averaged():
            ship(changes, unet, args.ship)
        return
    log.info("%d weights", sum(p.numel() for p in changes.parameters()))
    critic = Critic().to(args.device)
    by = torch.optim.AdamW(critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
    judging = Run(args.run / "critic", critic, by)
    abar = torch.from_numpy(backbone.schedule.alphas_cumprod).float().to(args.device)
    network = Network(unet, changes, abar)
    pool = Edits(args.run / "edits", backbone)
    held = _stacked(edit_tensors(seed, backbone) for seed in HELD_OUT)
    held = {key: value.to(args.device) for key, value in held.items()}
    if not run.done:
        run.report(probe(network, held, abar))
    while run.done < args.samples:
        known = pool.at(run.steps)
        rng = batch_rng(args.seed, run.done, ROWS)
        run.pace(args.rate, args.samples, warm=1600)
        frames = 1 if torch.rand((), generator=rng) < STILL else FRAMES
        count = ROWS // frames
        chosen = torch.randint(len(known["words"]), (count,), generator=rng)
        rows = {key: value[chosen].to(args.device) for key, value in known.items()}
        drawn = draw(network, rows, frames, abar, rng)
        run.step(drawn.loss(critic), ROWS)
        judging.step(critic_loss(critic, rows, drawn.shown.detach()), ROWS)
        if run.steps % args.report == 0:
            with run.averaged():
                run.report(probe(network, held, abar))
            run.save()
            judging.save()
    run.save()
    judging.save()


if __name__ == "__main__":
    main()
