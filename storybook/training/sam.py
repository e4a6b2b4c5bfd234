"""Train the built-in SAM: `python -m storybook.training.sam --run RUN --samples 24000`.

A sample is one picture with several prompts. Most start with one click, answered by
three masks: the whole object, its part, and the part of that part. One level is chosen
as the target. Corrective clicks where the answer is wrong, with that answer as mask
prompt, must then lead the single mask to it. The other prompts start with a box or, as
in tracking, with a displaced mask and a click. Training starts on small pictures. The
run saves weights and optimiser as safetensors and resumes from them; `--init` starts
from shipped weights with a fresh optimiser; `--ship` writes half-precision weights.
Random numbers depend only on the seed and the sample.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from regrain.editing.media.clip import ArrayClip
from regrain.masks.draw import deepest, iou
from regrain.masks.models.embedded import PRIOR, Embedded, Prompts, trusting
from regrain.masks.models.sam import predict
from regrain.masks.models.single_files import FILE
from regrain.masks.models.tiny_sam import SIZE, STRIDE, WIDTH, build_tiny_sam
from regrain.masks.segmentation.click import segment
from storybook import rendering, world
from storybook.click_pictures import Picture, training_picture
from storybook.training.muon import Muon
from storybook.training.runs import Run, begin, device_of, mixed, options, worker

log = logging.getLogger(__name__)
PROMPTS = 3  # of each picture
# pictures kept in memory, and how often each is seen before the next block
BLOCK, REUSE = 512, 2
ASSETS = Path(__file__).parents[2] / "assets" / "storybook" / "sam"
# Names of input and output layers, which AdamW updates.
ENDS = (
    "fine.1.",
    "sharp.",
    "prompt_encoder",
    "mask_tokens",
    "hypernetworks",
    "iou_prediction",
    "affinity",
)
# how often the target is the whole, the part, the part of the part
LEVELS = (0.3, 0.6, 0.1)
# how often a click is the deepest pixel of what it should change, not a random one
DEEPEST = 0.6
MIN_AREA = 0.0008  # of the picture; smaller targets are left out


def set_size(sam: Sam, size: int) -> None:
    """Set the working size in pixels, a multiple of 16; training starts small."""
    encoder: Any = sam.image_encoder
    encoder.img_size = size
    tokens = size // STRIDE
    prompts: Any = sam.prompt_encoder
    prompts.image_embedding_size = (tokens, tokens)
    prompts.input_image_size = (size, size)
    prompts.mask_input_size = (4 * tokens, 4 * tokens)


def save_tiny_sam(sam: Sam, folder: Path) -> None:
    """Write the weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().half().contiguous()
        for name, value in sam.state_dict().items()
    }
    save_file(weights, folder / FILE)


def decode(
    sam: Sam, features: Tensor, prompts: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return all four masks of the decoder and their qualities; every picture has as
    many prompts."""
    places = sam.prompt_encoder.get_dense_pe()
    features = features.repeat_interleave(len(prompts[0]) // len(features), 0)
    masks, quality = sam.mask_decoder.predict_masks(features, places, *prompts)
    return masks.float(), quality.float()


def encoded(
    sam: Any,
    clicks: tuple[Tensor, Tensor] | None = None,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Encode prompts, which are in main memory: points with their labels, boxes, and
    masks."""
    device = device_of(sam)
    points = None if clicks is None else (clicks[0].to(device), clicks[1].to(device))
    boxes = None if boxes is None else boxes.to(device)
    masks = None if masks is None else masks.to(device)
    return sam.prompt_encoder(points, boxes, masks)


class Affinity(nn.Module):
    """Tokens that belong to a click, by the encoder's features alone: it trains before
    the decoder can."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(WIDTH, 3 * 16, 1)
        self.scale = nn.Parameter(torch.tensor([5.0] * 3))
        self.shift = nn.Parameter(torch.tensor([-2.5] * 3))

    def forward(self, features: Tensor, targets: Targets) -> Tensor:
        """Return the cross-entropy over the three levels, of features with one picture
        per prompt."""
        each = F.normalize(self.embed(features).unflatten(1, (3, 16)).float(), dim=2)
        x, y = (targets.clicks // STRIDE).T
        clicked = each[torch.arange(len(each)), :, :, y, x]
        logits = torch.einsum("blc,blchw->blhw", clicked, each)
        logits = logits * self.scale[:, None, None] + self.shift[:, None, None]
        wanted = F.avg_pool2d(targets.masks, STRIDE // 2).to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, wanted)


class Targets:
    """Targets of a batch, in main memory: per prompt a pixel of an object, and the
    masks of its three levels there.

    Attributes:
        size: Side of the pictures in pixels.
        clicks: int64 [prompts, 2], (x, y).
        masks: float32 [prompts, 3, size / 2, size / 2], 0 to 1, on the decoder's grid.
        usable: float32 [prompts, 3], 0 for levels that are too small.
        one: float32 [prompts, size / 2, size / 2]: the mask that corrections lead to.
    """

    def __init__(self, pictures: list[Picture], rng: np.random.Generator) -> None:
        clicks = []
        masks = []
        usable = []
        wanted = []
        for picture in pictures:
            levels = picture.levels
            for _ in range(PROMPTS):
                level = int(rng.choice(3, p=LEVELS))
                x, y = _pixel(levels, level, rng)
                numbers = levels[:, y, x]
                three = levels == numbers[:, None, None]
                fits = [bool(mask.mean() >= MIN_AREA) for mask in three]
                if not fits[level]:
                    level = 0
                clicks.append((x, y))
                masks.append(three)
                usable.append([True, *fits[1:]])
                wanted.append(level)
        self.size = pictures[0].image.shape[0]
        self.clicks = torch.tensor(clicks)
        full = torch.from_numpy(np.stack(masks)).float()
        self.masks = F.avg_pool2d(full, 2)  # edges keep their fractions
        self.usable = torch.tensor(usable).float()
        self.wanted = torch.tensor(wanted)
        self.one = self.masks[torch.arange(len(wanted)), self.wanted]


def _pixel(levels: np.ndarray, level: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a pixel of the target in a random object: the whole, or one of its parts."""
    whole = levels[0]
    things = [n for n in np.unique(whole) if n and (whole == n).mean() >= 2 * MIN_AREA]
    inside = np.ones(whole.shape, bool)
    if things:
        inside = whole == rng.choice(things)
    if things and level:
        numbers = np.unique(levels[level][inside])
        inside = levels[level] == rng.choice(numbers)
    return deepest(inside) if rng.random() < DEEPEST else _inner_pixel(inside, rng)


def _inner_pixel(inside: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a pixel of a mask, more often a deep one than one at the edge."""
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3).ravel()
    # it is unbounded if everything is inside
    depth = np.minimum(depth, 1e3).astype(float)
    odds = (depth**1.5).cumsum()
    number = np.searchsorted(odds, rng.random() * odds[-1], side="right")
    y, x = divmod(int(number), inside.shape[1])
    return x, y


def correct(
    target: Tensor, answer: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Click, per prompt, on what is missing (label 1) or too much (label 0), in pixels
    of the picture."""
    points = []
    labels = []
    for want, got in zip((target > 0.5).numpy(), answer.numpy(), strict=True):
        x, y = _correction(want, got, rng)
        points.append((2 * x + 0.5, 2 * y + 0.5))
        labels.append(float(want[y, x]))
    return torch.tensor(points)[:, None].float(), torch.tensor(labels)[:, None]


def _correction(
    want: np.ndarray, got: np.ndarray, rng: np.random.Generator
) -> tuple[int, int]:
    """Draw a pixel where `got` is wrong; where it is right everywhere, one of the
    target."""
    wrong = want ^ got
    if not wrong.any():
        return _inner_pixel(want if want.any() else ~want, rng)
    if rng.random() < DEEPEST:
        return deepest(wrong)
    parts, numbers = cv2.connectedComponents(wrong.astype(np.uint8))
    sizes = np.bincount(numbers.ravel(), minlength=parts)[1:]
    part = 1 + rng.choice(parts - 1, p=sizes / sizes.sum())
    return _inner_pixel(numbers == part, rng)


def boxes_of(target: Tensor, rng: np.random.Generator) -> Tensor:
    """Return bounding boxes in pixels of the picture, each side off by up to a
    tenth."""
    boxes = []
    for mask in (target > 0.5).numpy():
        y, x = np.nonzero(mask)
        if not mask.any():
            y = x = np.array([0, 1])
        left = x.min()
        top = y.min()
        right = x.max() + 1
        bottom = y.max() + 1
        box = 2.0 * np.array([left, top, right, bottom])
        width, height = box[2:] - box[:2]
        off = rng.normal(0, 0.05, 4).clip(-0.1, 0.1)
        boxes.append(box + np.array([width, height, width, height]) * off)
    return torch.from_numpy(np.stack(boxes)).float()


def displaced(target: Tensor, rng: np.random.Generator) -> Tensor:
    """Return masks as a tracker passes them: shifted, scaled, and slightly grown or
    shrunk."""
    size = target.shape[-1]
    masks = []
    for mask in (target > 0.5).numpy().astype(np.uint8):
        change = _small_change(mask, rng)
        moved = cv2.warpAffine(mask, change, (size, size))
        side = int(rng.integers(1, 4))
        kernel = np.ones((side, side), np.uint8)
        grow_or_shrink = cv2.dilate if rng.random() < 0.5 else cv2.erode
        altered = grow_or_shrink(moved, kernel)
        masks.append(altered > 0)
    return torch.from_numpy(np.stack(masks))


def _small_change(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a 2x3 map that scales a mask about its middle and shifts it, both by a
    little."""
    y, x = np.nonzero(mask)
    if not mask.any():
        y = x = np.zeros(1)
    middle = np.array([x.mean(), y.mean()])
    reach = 0.06 * (np.ptp(x) + np.ptp(y)) / 2 + 0.5
    scale = rng.uniform(0.92, 1.08)
    dx, dy = middle * (1 - scale) + rng.normal(0, reach, 2)
    return np.array([[scale, 0, dx], [0, scale, dy]])


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, stronger near edges of small things, plus Dice; one value per
    mask."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    sure = torch.exp(-entropy.detach())
    focal = ((1.1 - sure) * entropy).mean((-2, -1))
    p = logits.sigmoid()
    overlap = 2 * (p * target).sum((-2, -1)) + 1
    return 10 * focal + 1 - overlap / (p.sum((-2, -1)) + target.sum((-2, -1)) + 1)


def quality_loss(quality: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of the predicted IoU."""
    got = logits.detach() > 0
    want = target > 0.5
    both = (got & want).sum((-2, -1))
    either = (got | want).sum((-2, -1)).clamp(min=1)
    return (quality - both / either) ** 2


def look_where_clicked(sam: Any) -> None:
    """Start with attention that matches equal positions in tokens and picture, which
    speeds up training."""
    transformer = sam.mask_decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        nn.init.orthogonal_(attention.q_proj.weight, 1.5)
        attention.k_proj.weight.data.copy_(attention.q_proj.weight.data)


def pixels_of(sam: Any, pictures: list[Picture]) -> Tensor:
    """Return pictures as the encoder takes them, padded as `Sam.preprocess` pads."""
    x = (
        torch.from_numpy(np.stack([p.image for p in pictures]))
        .permute(0, 3, 1, 2)
        .float()
        .to(device_of(sam))
    )
    x = (x - sam.pixel_mean) / sam.pixel_std
    for row, picture in zip(x, pictures, strict=True):
        width, height = picture.frame
        row[:, height:] = 0
        row[:, :, width:] = 0
    return x


def answer_loss(masks: Tensor, quality: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each mask of some prompts and of the quality it was given."""
    return mask_loss(masks, target) + quality_loss(quality, masks, target)


class Begun(NamedTuple):
    """A batch after its first answer: loss, the answered masks, and the clicks so
    far."""

    loss: Tensor | None
    answer: Tensor
    points: Tensor
    labels: Tensor


def begin_with(
    start: float, sam: Any, features: Tensor, targets: Targets, rng: Any
) -> Begun:
    """Answer the first prompts of a batch.

    A click is answered by three masks, a box by one; with a displaced mask, there is no
    loss yet.

    Args:
        start: 0 to 1. 86 % of it means clicks, 7 % boxes, the rest displaced masks.
        sam: The model to train.
        features: Features of the pictures.
        targets: Targets of the batch.
        rng: Random numbers of the batch.
    """
    points = targets.clicks[:, None].float()
    labels = torch.ones(len(points), 1)
    if start < 0.86:
        prompts = encoded(sam, (points, labels))
        loss, answer = _three_answers(sam, features, prompts, targets)
        return Begun(loss, answer, points, labels)
    if start < 0.93:
        boxes = boxes_of(targets.one, rng)
        prompts = encoded(sam, boxes=boxes)
        loss, answer = _single_answer(sam, features, prompts, targets)
        no_points = points[:, :0]
        no_labels = labels[:, :0]
        return Begun(loss, answer, no_points, no_labels)
    return Begun(None, displaced(targets.one, rng), points, labels)


def _three_answers(
    sam: Any, features: Tensor, prompts: tuple[Tensor, Tensor], targets: Targets
) -> tuple[Tensor, Tensor]:
    """Answer encoded prompts by a mask of each level; return the loss and the first
    masks, in main memory."""
    masks, quality = decode(sam, features, prompts)
    each = answer_loss(masks[:, 1:], quality[:, 1:], targets.masks.to(masks))
    weights = targets.usable * torch.tensor([2.0, 1.0, 0.5])
    loss = (each * weights.to(each)).sum(1).mean()
    return loss, (masks[:, 1] > 0).cpu()


def _single_answer(
    sam: Any, features: Tensor, prompts: tuple[Tensor, Tensor], targets: Targets
) -> tuple[Tensor, Tensor]:
    """Answer encoded prompts by one mask each; return the mean loss and the masks."""
    masks, quality = decode(sam, features, prompts)
    loss = answer_loss(masks[:, 0], quality[:, 0], targets.one.to(masks)).mean()
    return loss, (masks[:, 0] > 0).cpu()


def training_loss(
    sam: Any,
    affinity: Affinity | None,
    pictures: list[Picture],
    rng: np.random.Generator,
    first: bool = False,
) -> Tensor:
    """Return the loss of a batch over its first answer and one or two corrections; none
    with `first`."""
    targets = Targets(pictures, rng)
    set_size(sam, targets.size)
    features = sam.image_encoder(pixels_of(sam, pictures))
    losses: list[Tensor] = []
    if affinity:
        each = features[:, :WIDTH].repeat_interleave(PROMPTS, 0)
        losses.append(3 * affinity(each, targets))
    loss, answer, points, labels = begin_with(rng.random(), sam, features, targets, rng)
    if loss is not None:
        losses.append(loss)
    corrections = 0
    if not first:
        corrections = 2 if rng.random() < 0.6 else 1
    for _ in range(corrections):
        point, label = correct(targets.one, answer, rng)
        points = torch.cat([points, point], 1)
        labels = torch.cat([labels, label], 1)
        prior = None
        if rng.random() < 0.9:  # clicks may also come without the mask they correct
            prior = PRIOR * (2.0 * answer[:, None].float() - 1)
        prompts = encoded(sam, (points, labels), masks=prior)
        loss, answer = _single_answer(sam, features, prompts, targets)
        losses.append(loss)
    return sum(losses, torch.zeros(()))


def answer_iou(sam: Sam, image: np.ndarray, want: np.ndarray, clicks: int) -> float:
    """Return the IoU after clicks at the deepest point: first of the target, then of
    the largest mistakes."""
    predictor: Any = SamPredictor(sam)
    predictor.set_image(image)
    frame = Embedded(image, "", predictor.features, predictor.input_size)
    points = [deepest(want)]
    labels = [1]
    got = None
    for click in range(clicks):
        clicked = np.array(points, float), np.array(labels)
        got = predict(sam, frame, Prompts(*clicked, None, got, ()), None, trusting)
        wrong = want ^ got
        if click + 1 < clicks and wrong.any():
            points.append(deepest(wrong))
            labels.append(int(want[points[-1][::-1]]))
    return iou(got, want)


def wanted_masks(
    labels: np.ndarray, parts: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every actor of a frame, and every part of it that covers at least 0.3 % of
    the frame."""
    for number in range(1, int(labels.max()) + 1):
        actor = labels == number
        yield "actor", actor
        for part in np.unique(parts[actor]):
            mask = actor & (parts == part)
            if mask.mean() >= 0.003:
                yield "part", mask


@torch.no_grad()
def held_out(sam: Sam, scenes: int, size: int = 256) -> dict[str, float]:
    """Return IoU on held-out scenes, after one click on each actor and three on each of
    its parts."""
    sam.eval()
    clicks = {"actor": 1, "part": 3}
    ious = {"actor": [], "part": []}
    for seed in range(scenes):
        scene = world.sample_scene(seed, 8, 1 + seed % 3)
        drawn = rendering.render(dataclasses.replace(scene, frames=1), size)
        for kind, mask in wanted_masks(drawn.labels[0], drawn.parts[0]):
            ious[kind].append(answer_iou(sam, drawn.frames[0], mask, clicks[kind]))
    sam.train()
    return {
        "actor": float(np.mean(ious["actor"])),
        "actor_worst": float(np.min(ious["actor"])),
        "part": float(np.mean(ious["part"])),
    }


def taken_away(
    ask: Callable, wanted: np.ndarray, clicks: int = 2
) -> list[float] | None:
    """Return the IoU after a first click, and after each click that takes away where
    the mask leaks most.

    `ask` finds a mask from points, labels and a `previous` one. None if under 15 % of
    the first mask leaks.
    """
    points = [deepest(wanted)]
    labels = [1]
    got = ask(points, labels)
    leak = got & ~wanted
    if not got.any() or leak.sum() < 0.15 * got.sum():
        return None
    ious = [iou(got, wanted)]
    for _ in range(clicks):
        leak = got & ~wanted
        if leak.any():
            points = [*points, deepest(leak)]
            labels = [*labels, 0]
            got = ask(points, labels, previous=got)
        ious.append(iou(got, wanted))
    return ious


@torch.no_grad()
def remove_clicks(scenes: int, size: int = 256) -> dict[str, list[float]]:
    """Return, by finder, the mean of `taken_away` over actors and parts of scenes, and
    their number."""
    found = {"sam": [], "cuts": []}
    for seed in range(scenes):
        scene = world.sample_scene(seed, 8, 1 + seed % 3)
        drawn = rendering.render(scene, size)
        clip = ArrayClip(drawn.frames, Fraction(8))
        for _, wanted in wanted_masks(drawn.labels[0], drawn.parts[0]):
            for finder, rows in found.items():
                ask = partial(segment, drawn.frames[0], method=finder, clip=clip)
                ious = taken_away(ask, wanted)
                if ious:
                    rows.append(ious)
    means = {}
    for finder, rows in found.items():
        if rows:
            means[finder] = [*np.mean(rows, 0).round(3).tolist(), len(rows)]
    return means


@lru_cache(maxsize=BLOCK)
def _picture(seed: int, index: int, size: int) -> Picture:
    return training_picture(seed, index, size)


def pictures_at(seed: int, sample: int, size: int, count: int) -> list[Picture]:
    """Return the batch of `count` that starts at `sample`; a block comes in a new order
    each time."""
    block, place = divmod(sample, BLOCK * REUSE)
    turn, start = divmod(place, BLOCK)
    order = np.random.default_rng([seed, block, turn]).permutation(BLOCK)
    numbers = order[start : start + count].tolist()
    return [_picture(seed, block * BLOCK + number, size) for number in numbers]


def begins_anew(folder: Path, init: Path | None) -> bool:
    """Return whether a run started, or starts, without earlier weights."""
    state = folder / "state.safetensors"
    if not state.exists():
        return init is None
    return any(name.startswith("w/affinity.") for name in load_file(state))


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=24_000, rate=1.2e-3, ema=0.998)
    parser.add_argument(
        "--until", type=int, help="stop after this sample; resume later"
    )
    parser.add_argument(
        "--batch", type=int, default=8, help="samples per batch of each worker"
    )
    parser.add_argument(
        "--small",
        type=float,
        default=0.7,
        help="share of samples that use smaller pictures",
    )
    parser.add_argument(
        "--small-size",
        type=int,
        default=128,
        help="their side in pixels, a multiple of 16",
    )
    parser.add_argument(
        "--first",
        type=float,
        default=0.3,
        help="share of samples before corrections begin",
    )
    parser.add_argument("--every", type=int, default=100, help="steps between saves")
    parser.add_argument(
        "--ship",
        action="store_true",
        help=f"write the run's weights to {ASSETS} and stop",
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure the run, or `--init`, and stop"
    )
    args = parser.parse_args()
    begin(args)
    sam = build_tiny_sam().train()
    if args.init:
        sam.load_state_dict(load_file(args.init / FILE))
    else:
        look_where_clicked(sam)
    both = nn.ModuleDict({"sam": sam})
    affinity = None
    if begins_anew(args.run, args.init):
        affinity = Affinity()
        both["affinity"] = affinity
    both.to(args.device)
    run = Run(args.run, both, Muon(both, args.rate, ends=ENDS), args.ema)
    if args.ship or args.measure:
        with run.averaged():
            if args.ship:
                save_tiny_sam(sam, ASSETS)
            log.info("%s", held_out(sam, 200))
            leaks = remove_clicks(10)
            log.info(
                "IoU of masks that leak, after 0, 1 and 2 clicks that take away: %s",
                leaks,
            )
        return

    while run.done < min(args.samples, args.until or args.samples):
        run.pace(args.rate, args.samples, warm=400)
        progress = run.done / args.samples
        first = run.done + worker() * args.batch
        size = args.small_size if progress < args.small else SIZE
        pictures = pictures_at(args.seed, first, size, args.batch)
        with mixed(args.device):
            rng = np.random.default_rng([args.seed, first, 1])
            loss = training_loss(
                sam, affinity, pictures, rng, first=progress < args.first
            )
        run.step(loss, args.batch)
        if run.steps % args.every == 0 and not worker():
            run.save()
            with run.averaged():
                run.report(held_out(sam, 20))
    if not worker():
        run.save()


if __name__ == "__main__":
    main()
