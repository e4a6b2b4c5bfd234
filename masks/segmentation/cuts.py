"""Masks from clicks on real clips: colours, places and motion are weighed, and the best outline is cut.

A first click begins small, a box with several sizes; further clicks correct the mask, or divide it anew where
much of it is wrong. No network is needed.
Where there is a SAM, it is asked about the first click or box, and about points of what that leads to; cuts
begin with its answers too, and the best one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from regrain.masks.draw import BrushStroke, brush, iou, signed_distance, spread
from regrain.masks.segmentation.cut_evidence import Scene, Soft, by_color, by_motion, by_place, rim
from regrain.masks.segmentation.cut_solver import SURE, distance, divide, nearest_share, touching

Mask = Bool[np.ndarray, "h w"]
_SEED = 0.015  # radius of a click, of the short side
_NOWHERE = np.zeros((0, 2))

# A mask begins small and is refined in rounds.
_START = 0.015  # share of the frame that a first click begins with
_BOXED = (0.3, 0.5, 0.7)  # shares of a box that its thing may cover
_BIAS = -0.7  # evidence against a pixel that nothing is known of: most are background
_NEAR, _NEARNESS = (
    0.08,
    0.5,
)  # of the long side: how far a mask may grow in a round; what that counts
_ADVICE = 5.0  # the most of a network's answer
_POINTS = 5  # of the first outline that a network is asked about


class _Round(NamedTuple):
    """Weights of colours at their places, and of motion."""

    placed: float
    moved: float


# A first guess must not bind colours to places; motion finds things, but its outlines are loose.
_ROUNDS = (_Round(0.0, 1.0), _Round(0.0, 1.0), _Round(0.5, 1.0), _Round(0.5, 0.5))
_EVENLY = _Round(1.0, 1.0)

# A correction changes what is near a click, in several sizes.
_CORRECTION_ROUNDS = 2
_PRIOR = 4.0  # evidence of the mask so far
_RADII = (0.01, 0.02, 0.05, 0.11, 0.25)  # of the height: how large a mistake may be
_ROOM = 6.0  # so far beyond the nearest edge a mistake may reach, in distances to it
_CHANGE = 1.0  # what changing all of a mask counts against lying on edges
_ALIKE = 1.0  # evidence from which a pixel looks like a click's surroundings

# A click that takes away in the middle of a mask says that much of it is wrong: the mask is divided anew.
_MIDDLE = 0.4  # depth of such a click, of the mask's
_STRAIGHT = 0.06  # what a way costs without edges, which cost 1 on average
_TAKEN = 2.0  # how far what is taken away reaches, in depths of the click

# What a network says of points (x, y), or of the box if there are none: logits, all in pixels of the scene.
Ask = Callable[[Float[np.ndarray, "points 2"]], Float32[np.ndarray, "h w"]]


class Seeds(NamedTuple):
    """What is certain: pixels inside and outside."""

    inside: Mask
    outside: Mask


def seeds_of(
    shape: tuple[int, int],
    points: Float[np.ndarray, "points 2"],
    labels: Int[np.ndarray, " points"],
    strokes: Sequence[BrushStroke] = (),
    box: Float[np.ndarray, "4"] | None = None,
) -> Seeds:
    """Draw clicks, strokes and what is outside a box on the working grid; the later covers the earlier.

    All is in pixels of the grid, whose height and width are `shape`. Clicks are (x, y), labelled 1 inside and
    0 outside; strokes are inside or, erasing, outside; the box is x0, y0, x1, y1.
    """
    inside = outside = np.zeros(shape, bool)
    dots = [
        BrushStroke(((float(x), float(y)),), max(1.0, _SEED * min(shape)), erase=not label)
        for (x, y), label in zip(points, labels, strict=True)
    ]
    for one in [*strokes, *dots]:
        inside, outside = brush(inside, one), brush(outside, replace(one, erase=not one.erase))
    if box is not None:
        x0, y0, x1, y1 = np.round(box).astype(int)
        beyond = np.ones(shape, bool)
        beyond[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = False
        inside, outside = inside & ~beyond, outside | beyond
    return Seeds(inside, outside)


def begin(
    scene: Scene,
    seeds: Seeds,
    click: Float[np.ndarray, "clicks 2"] = _NOWHERE,
    ask: Ask | None = None,
) -> Soft:
    """Cut out what a first click, stroke or box means.

    A network's answer depends much on where it is clicked, and of a box it may know little. So what the first
    answer leads to is cut out, and the network is asked about several points of that.

    `seeds` are what is certain: without anything inside, the thing is looked for in all that is not outside.
    `click` is the first click, if any, (x, y), and `ask` a network to ask.
    """
    starts = _starts(scene, seeds)
    if ask is None:
        return _best(scene, [_grown(scene, seeds, start) for start in starts])
    first = _advice(ask, click)
    masks = [_grown(scene, seeds, start, first) for start in starts] + _advised(
        scene, seeds, [first]
    )
    rough = _best(scene, masks, [first > 0]) > 0.5
    further = [_advice(ask, point[None]) for point in spread(rough, _POINTS)] if rough.any() else []
    if len(click):
        masks += _advised(scene, seeds, [np.mean([first, *further], axis=0)])
        return _best(scene, masks, [first > 0])
    means = [np.mean(further[: n + 1], axis=0) for n in range(len(further))]
    masks = _advised(scene, seeds, means) or masks
    return _best(scene, masks, [mask > 0.5 for mask in masks])


def _advice(ask: Ask, points: np.ndarray) -> np.ndarray:
    """A network's answer as evidence, capped."""
    return np.clip(ask(points), -_ADVICE, _ADVICE).astype(np.float32)


def _advised(scene: Scene, seeds: Seeds, advice: Sequence[np.ndarray]) -> list[Soft]:
    """What each answer of a network leads to, begun with the answer itself."""
    return [_grown(scene, seeds, hint > 0, hint) for hint in advice if (hint > 0).any()]


def _starts(scene: Scene, seeds: Seeds) -> list[Mask]:
    """A small one around a click; within a box, its middle in several sizes."""
    cost = (0.25 + scene.edges + 0.7 * scene.shifts).astype(np.float32)
    begun, shares = seeds.inside, np.array([_START])
    if not begun.any():
        depth = signed_distance(~seeds.outside)
        begun, shares = depth > 0.7 * depth.max(), np.array(_BOXED) * float((depth > 0).mean())
    far = distance(begun, cost)
    far[seeds.outside] = far.max() + 1
    return [nearest_share(far, share) for share in shares]


def _grown(scene: Scene, seeds: Seeds, start: Mask, hint: np.ndarray | None = None) -> Soft:
    """One start, refined in rounds."""
    inside = start.astype(np.float32)
    around = np.maximum(rim(scene.shape), seeds.outside)
    outside = around * (1 - inside)
    for turn, weights in enumerate(_ROUNDS):
        evidence = _seen(scene, inside, outside, weights) + _nearness(inside) + _BIAS
        if hint is not None:
            evidence += hint
        inside = _cut(scene, evidence, seeds, inside)
        outside = 1 - inside if turn else np.maximum(around, 0.3) * (1 - inside)
    return inside


def _seen(scene: Scene, inside: Soft, outside: Soft, weights: _Round = _EVENLY) -> Soft:
    """All that the frame itself says."""
    evidence = by_color(scene, inside, outside) + weights.moved * by_motion(scene, inside, outside)
    return (
        evidence + weights.placed * by_place(scene, inside, outside) if weights.placed else evidence
    )


def _nearness(inside: Soft) -> Soft:
    """For what is near the mask so far, against what is far."""
    wide = cv2.GaussianBlur(
        inside, (0, 0), _NEAR * max(inside.shape), borderType=cv2.BORDER_REPLICATE
    )
    return (_NEARNESS * np.log((wide + 0.05) / 0.3)).astype(np.float32)


def _cut(scene: Scene, evidence: Soft, seeds: Seeds, start: Soft, kept: Mask | None = None) -> Soft:
    """The best outline; pieces that touch neither a click nor what is to be kept are dropped."""
    evidence = np.where(seeds.inside, SURE, np.where(seeds.outside, -SURE, evidence)).astype(
        np.float32
    )
    soft = divide(evidence, *scene.fences, start)
    held = seeds.inside if kept is None else seeds.inside | kept
    return np.where(touching(soft > 0.5, held) | (soft <= 0.5), soft, 0).astype(np.float32)


def _best(scene: Scene, masks: Sequence[Soft], voters: Sequence[Mask] = ()) -> Soft:
    """The mask that agrees most with the voters, and lies best on edges of colours and of motion."""

    def score(soft: Soft) -> float:
        mask = soft > 0.5
        agreement = np.mean([iou(mask, voter) for voter in voters]) if voters else 0
        return float(agreement + _on_edges(scene.edges, mask) + _on_edges(scene.shifts, mask))

    return max(masks, key=score)


def correct(scene: Scene, seeds: Seeds, so_far: Soft, new: Seeds) -> Soft:
    """Correct a mask, 0..1, where new seeds contradict it; what nobody contradicts stays."""
    soft = so_far
    for wrong, inside in ((new.inside, True), (new.outside, False)):
        count, numbers = cv2.connectedComponents(wrong.astype(np.uint8), connectivity=8)
        for number in range(1, count):
            spot = numbers == number
            if ((soft > 0.5) != inside)[spot].mean() > 0.5:
                soft = _corrected(scene, seeds, soft, spot, inside)
    return soft


def _divided(scene: Scene, seeds: Seeds, so_far: Soft, spot: Mask, depth: float) -> Soft:
    """Divide a mask anew: what is nearer to a click that takes away than to those on the thing goes.

    Colours are not asked: where much is wrong, they are what misled.
    """
    cost = (_STRAIGHT + scene.edges + 0.7 * scene.shifts).astype(np.float32)
    kept, taken = (distance(ends, cost) + 0.5 for ends in (seeds.inside, spot))
    reach = _TAKEN * depth * float(np.median(cost)) + 0.5
    nearer = np.maximum(np.log(taken / kept), 4 * np.log(taken / reach))
    evidence = np.where(so_far > 0.5, np.clip(nearer, -_PRIOR, _PRIOR), -_PRIOR)
    return _cut(
        scene,
        evidence.astype(np.float32),
        seeds,
        ((so_far > 0.5) & (nearer > 0)).astype(np.float32),
    )


def _corrected(scene: Scene, seeds: Seeds, so_far: Soft, spot: Mask, inside: bool) -> Soft:
    """Correct one mistake: of several sizes the one whose new outline lies on the strongest edges."""
    side = (so_far > 0.5) != inside  # where the mistake may be
    depth = float(signed_distance(side | spot)[spot].max())
    if not inside and depth > _MIDDLE * signed_distance(side).max():
        return _divided(scene, seeds, so_far, spot, depth)
    cost = (1 + 6 * (scene.edges + 0.7 * scene.shifts) / 3).astype(np.float32)
    far = distance(spot, cost)
    best, chosen = -np.inf, so_far
    for radius in _RADII:
        reach = radius * scene.shape[0]
        if reach > max(_ROOM * depth, _RADII[0] * scene.shape[0]):
            break
        field = _field(scene, far, cost, side, reach)
        soft = so_far
        for _ in range(_CORRECTION_ROUNDS):
            within = soft * (1 - field) + inside * field
            evidence = _seen(scene, within, 1 - within) + _PRIOR * (2 * so_far - 1) * (
                1 - 2 * field
            )
            soft = _cut(scene, evidence.astype(np.float32), seeds, soft, so_far > 0.5)
        flipped = (soft > 0.5) != (so_far > 0.5)
        # Only the piece that the click lies in changes, and only to what the click says.
        soft = np.where(touching(flipped & side, spot) | ~flipped, soft, so_far).astype(np.float32)
        score = _fit(scene, so_far > 0.5, soft > 0.5)
        if score > best:
            best, chosen = score, soft
    return chosen


def _field(scene: Scene, far: np.ndarray, cost: np.ndarray, side: Mask, reach: float) -> Soft:
    """Where a click of a reach counts, 0..1: near it, and near what looks like that on the same side."""
    usual = float(np.median(cost))
    field = np.exp(-np.square(far / (reach * usual)) / 2).astype(np.float32)
    alike = by_color(scene, field, (1 - field) * ~side + 1e-3)
    near = np.exp(-np.square(far / (2.5 * reach * usual)) / 2)
    return np.where(side, np.maximum(field, near * (alike > _ALIKE)), field * 0.5).astype(
        np.float32
    )


def _fit(scene: Scene, before: Mask, after: Mask) -> float:
    """How strong the edges are along the new outline, less what has changed."""
    changed = before != after
    if not changed.any():
        return -1.0
    new = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    share = float(changed.sum() / max(int((before | after).sum()), 1))
    return _on_edges(scene.edges, after, new) - _CHANGE * share


def _on_edges(slopes: Soft, mask: Mask, where: Mask | bool = True) -> float:
    """How strong the edges are along a mask's outline, 0..1; 1 where there is none, as a whole piece went."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    outline = mask & ~inner & where
    strength = np.minimum(cv2.dilate(slopes, np.ones((3, 3), np.uint8)) / 3, 1.0)
    return float(strength[outline].mean()) if outline.any() else 1.0


def find(
    scene: Scene,
    points: Float[np.ndarray, "points 2"],
    labels: Int[np.ndarray, " points"],
    box: Float[np.ndarray, "4"] | None = None,
    previous: Mask | None = None,
    strokes: Sequence[BrushStroke] = (),
    ask: Ask | None = None,
) -> Soft:
    """Cut out what is marked, on the working grid: one click after the other, or as corrections of a mask.

    Points, labels, box and strokes are as for `seeds_of`, points in the order of the clicks; `previous` is a
    mask to correct, and `ask` a network to ask about a first click or box.

    Returns:
        How surely each pixel is inside, 0..1.
    """
    seeds = seeds_of(scene.shape, points, labels, strokes, box)
    if previous is None:
        first = np.flatnonzero(labels)[:1]
        drawn = () if len(first) else strokes
        begun = seeds_of(scene.shape, points[first], labels[first], drawn, box)
        soft = begin(scene, begun, points[first], ask if len(first) or box is not None else None)
    else:
        soft = previous.astype(np.float32)
    for n in range(len(points)):
        soft = correct(
            scene, seeds, soft, seeds_of(scene.shape, points[n : n + 1], labels[n : n + 1])
        )
    soft = correct(scene, seeds, soft, seeds_of(scene.shape, points[:0], labels[:0], strokes))
    return np.where(seeds.inside, 1, np.where(seeds.outside, 0, soft)).astype(np.float32)
