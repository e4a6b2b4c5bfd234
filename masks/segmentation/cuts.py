"""Masks from clicks on real clips: colours, places and motion are weighed, and the best
outline is cut.

A first click begins small, a box with several sizes; further clicks correct the mask,
or divide it anew where nothing shows how far a mistake reaches. No network is needed.
Where there is a SAM, it is asked about the first click or box, and about points of what
that leads to; cuts begin with its answers too, and the best one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from regrain.editing.media.lazy_frames import Mask, Shape
from regrain.editing.storage.threads import each
from regrain.masks.draw import BrushStroke, brush, iou, signed_distance, spread
from regrain.masks.models.embedded import Box, Doubt, Marks, Points, Prompts, trusting
from regrain.masks.segmentation.cut_evidence import (
    Scene,
    Soft,
    by_color,
    by_motion,
    by_place,
    rim,
)
from regrain.masks.segmentation.cut_solver import (
    SURE,
    distance,
    divide,
    nearest_share,
    touching,
)

_SEED = 0.015  # radius of a click, of the short side
_NOWHERE = np.zeros((0, 2))

# A mask begins small and is refined in rounds.
_START = 0.015  # share of the frame that a first click begins with
_BOXED = (0.3, 0.5, 0.7)  # shares of a box that its thing may cover
_BIAS = -0.7  # evidence against a pixel that nothing is known of: most are background
_NEAR = 0.08  # of the long side: how far a mask may grow in a round
_NEARNESS = 0.5  # weight of the evidence of what is near
_ADVICE = 5.0  # the most of a network's answer
_POINTS = 5  # of the first outline that a network is asked about
# Mean overlap with the other masks that a click may mean, from which the best one is
# trusted; see `benchmarks/README.md`.
_TRUSTED = 0.85


class _Round(NamedTuple):
    """Weights of colours at their places, and of motion."""

    placed: float
    moved: float


# A first guess must not bind colours to places; motion finds things, but its outlines
# are loose.
_ROUNDS = (_Round(0.0, 1.0), _Round(0.0, 1.0), _Round(0.5, 1.0), _Round(0.5, 0.5))
_EVENLY = _Round(1.0, 1.0)

# A correction changes what is near a click, in several sizes.
_CORRECTION_ROUNDS = 2
_PRIOR = 4.0  # evidence of the mask so far
_RADII = (0.01, 0.02, 0.05, 0.11, 0.25)  # of the height: how large a mistake may be
_ROOM = 6.0  # so far beyond the nearest edge a mistake may reach, in distances to it
_CHANGE = 0.25  # what changing all of a mask counts against lying on edges
_ALIKE = 1.0  # evidence from which a pixel looks like a click's surroundings

# A click that takes away where no correction ends at edges divides the mask anew.
_VAGUE = 0.3  # score of corrections without edges
_STRAIGHT = 0.06  # what a way costs without edges, which cost 1 on average
# A neck is narrower than this share of a click's depth; so many widths are tried.
_NECK = 0.5
_NECKS = 6
_WALL = 1e3  # what a way costs outside a mask
_TAKEN = 2.0  # how far what is taken away reaches, in depths of the click

# Returns a network's logits for each point (x, y) by itself, or for the box if there are
# none; all in pixels of the scene.
Ask = Callable[[Points], Sequence[Soft]]


class Seeds(NamedTuple):
    """Pixels that are certainly inside, and those certainly outside."""

    inside: Mask
    outside: Mask


def seeds_of(
    shape: Shape,
    points: Points,
    labels: Marks,
    strokes: Sequence[BrushStroke] = (),
    box: Box | None = None,
) -> Seeds:
    """Draw clicks, strokes and what is outside a box on the working grid; the later
    covers the earlier.

    All is in pixels of the grid, whose height and width are `shape`; see `Prompts`.
    """
    inside = outside = np.zeros(shape, bool)
    radius = max(1.0, _SEED * min(shape))
    dots = [
        BrushStroke(((float(x), float(y)),), radius, erase=not label)
        for (x, y), label in zip(points, labels, strict=True)
    ]
    for stroke in (*strokes, *dots):
        inside = brush(inside, stroke)
        outside = brush(outside, replace(stroke, erase=not stroke.erase))
    if box is not None:
        x0, y0, x1, y1 = np.round(box).astype(int)
        beyond = np.ones(shape, bool)
        beyond[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = False
        inside = inside & ~beyond
        outside = outside | beyond
    return Seeds(inside, outside)


def begin(
    scene: Scene,
    seeds: Seeds,
    click: Float[np.ndarray, "clicks 2"] = _NOWHERE,
    ask: Ask | None = None,
    doubt: Doubt = trusting,
) -> Soft:
    """Cut out what a first click, stroke or box marks.

    A network's answer depends much on where it is clicked, and of a box it may know
    little. So a mask is cut out from its first answer, and the network is asked about
    several points of that mask.

    `seeds` are what is certain: without anything inside, the thing is looked for in all
    that is not outside. `click` is the first click, if any, (x, y), `ask` a network to
    ask, and `doubt` is called where the click may mean very different masks.
    """
    starts = _starts(scene, seeds)
    if ask is None:
        return _best(scene, each(partial(_grown, scene, seeds), starts))
    (first,) = _advice(ask, click)
    masks = _all_grown(scene, seeds, [first], starts)
    rough = _best(scene, masks, [first > 0]) > 0.5
    further = _advice(ask, spread(rough, _POINTS)) if rough.any() else []
    if len(click):  # the first answer to it has a vote
        mean = np.mean([first, *further], axis=0)
        masks += _all_grown(scene, seeds, [mean])
        best = _best(scene, masks, [first > 0])
        others = [mask > 0.5 for mask in masks if mask is not best]
        alike = [iou(best > 0.5, other) for other in others]
        if alike and np.mean(alike) < _TRUSTED:
            doubt()
        return best
    # For a box, of the masks that further answers lead to, the one most like the others.
    counts = range(1, len(further) + 1)
    means = [np.mean(further[:count], axis=0) for count in counts]
    masks = _all_grown(scene, seeds, means) or masks
    others = [mask > 0.5 for mask in masks]
    return _best(scene, masks, others)


def _advice(ask: Ask, points: np.ndarray) -> list[Soft]:
    """Return a network's answers as evidence, capped."""
    answers = ask(points)
    return [np.clip(one, -_ADVICE, _ADVICE).astype(np.float32) for one in answers]


def _all_grown(
    scene: Scene, seeds: Seeds, advice: Sequence[Soft], starts: Sequence[Mask] = ()
) -> list[Soft]:
    """Grow a mask from each start, by a network's first answer, and from each of its
    answers that is not empty."""
    begun = [(start, advice[0]) for start in starts]
    begun += [(hint > 0, hint) for hint in advice if (hint > 0).any()]
    return each(lambda one: _grown(scene, seeds, *one), begun)


def _starts(scene: Scene, seeds: Seeds) -> list[Mask]:
    """Return a small mask around a click; within a box, its middle in several sizes."""
    begun = seeds.inside
    shares = [_START]
    if not begun.any():
        depth = signed_distance(~seeds.outside)
        share_of_box = float((depth > 0).mean())
        shares = [share * share_of_box for share in _BOXED]
        begun = depth > 0.7 * depth.max()
    cost = (0.25 + scene.edges + 0.7 * scene.shifts).astype(np.float32)
    far = distance(begun, cost)
    far[seeds.outside] = far.max() + 1
    return [nearest_share(far, share) for share in shares]


def _grown(
    scene: Scene, seeds: Seeds, start: Mask, hint: np.ndarray | None = None
) -> Soft:
    """Refine a mask in rounds; `hint` is a network's evidence."""
    inside = start.astype(np.float32)
    around = np.maximum(rim(scene.shape), seeds.outside)
    outside = around * (1 - inside)
    for turn, weights in enumerate(_ROUNDS):
        seen = _seen(
            scene,
            inside,
            outside,
            weights,
        )
        # evidence for what is near the mask so far, against what is far
        sigma = _NEAR * max(inside.shape)
        wide = cv2.GaussianBlur(inside, (0, 0), sigma)
        near = (_NEARNESS * np.log((wide + 0.05) / 0.3)).astype(np.float32)
        evidence = seen + near + _BIAS
        if hint is not None:
            evidence += hint
        inside = _cut(
            scene,
            evidence,
            seeds,
            inside,
        )
        outside = 1 - inside
        if turn == 0:
            outside = np.maximum(around, 0.3) * outside
    return inside


def _seen(scene: Scene, inside: Soft, outside: Soft, weights: _Round = _EVENLY) -> Soft:
    """Return the evidence of the frame itself."""
    evidence = by_color(scene, inside, outside) + weights.moved * by_motion(
        scene, inside, outside
    )
    if weights.placed:
        evidence = evidence + weights.placed * by_place(scene, inside, outside)
    return evidence


def _cut(
    scene: Scene, evidence: Soft, seeds: Seeds, start: Soft, kept: Mask | None = None
) -> Soft:
    """Cut along the best outline; drop pieces that touch neither a click nor `kept`."""
    evidence = np.where(seeds.outside, -SURE, evidence)
    evidence = np.where(seeds.inside, SURE, evidence).astype(np.float32)
    soft = divide(evidence, *scene.fences, start)
    held = seeds.inside if kept is None else seeds.inside | kept
    mask = soft > 0.5
    stays = touching(mask, held) | ~mask
    return np.where(stays, soft, 0).astype(np.float32)


def _best(scene: Scene, masks: Sequence[Soft], voters: Sequence[Mask] = ()) -> Soft:
    """Choose the mask that agrees most with the voters, and lies best on edges of
    colours and of motion."""

    def score(soft: Soft) -> float:
        mask = soft > 0.5
        agreement = np.mean([iou(mask, voter) for voter in voters]) if voters else 0
        return float(
            agreement + _on_edges(scene.edges, mask) + _on_edges(scene.shifts, mask)
        )

    return max(masks, key=score)


def correct(scene: Scene, seeds: Seeds, so_far: Soft, new: Seeds) -> Soft:
    """Correct a mask, 0..1, where new seeds contradict it; everything else stays."""
    soft = so_far
    for marked, inside in ((new.inside, True), (new.outside, False)):
        count, numbers = cv2.connectedComponents(
            marked.astype(np.uint8), connectivity=8
        )
        for number in range(1, count):
            spot = numbers == number
            wrong = (soft > 0.5) != inside
            if wrong[spot].mean() > 0.5:
                soft = _corrected(scene, seeds, soft, spot, inside)
    return soft


def _divided(
    scene: Scene, seeds: Seeds, so_far: Soft, spot: Mask, depth: float
) -> Soft:
    """Divide a mask anew: remove what is nearer to a click outside the thing than to
    those on it.

    Colours do not count: those around the click have led to no outline.
    """
    cost = (_STRAIGHT + scene.edges + 0.7 * scene.shifts).astype(np.float32)
    kept = distance(seeds.inside, cost) + 0.5
    taken = distance(spot, cost) + 0.5
    reach = _TAKEN * depth * float(np.median(cost)) + 0.5
    nearer = np.maximum(np.log(taken / kept), 4 * np.log(taken / reach))
    mask = so_far > 0.5
    evidence = np.where(mask, nearer, -_PRIOR).clip(-_PRIOR, _PRIOR)
    start = (mask & (nearer > 0)).astype(np.float32)
    return _cut(scene, evidence, seeds, start)


def _loose_piece(mask: Mask, held: Mask, spot: Mask) -> Mask:
    """Return the piece of a mask at a spot that hangs together with what was clicked on
    the thing by a narrow neck alone, or not at all; nothing where there is none.

    Without such clicks, the mask's deepest place is on the thing.
    """
    depth = signed_distance(mask)
    held = held & mask
    if not held.any():
        held = depth == depth.max()
    wide = float(depth[spot].max())
    for width in np.linspace(0, _NECK * wide, _NECKS):
        left = depth > width
        piece = touching(left, spot)
        apart = (spot & left).any() and not (held & piece).any()
        if apart and (held & left).any():
            return mask & (_way(piece, mask) < _way(left & ~piece, mask))
    return np.zeros_like(mask)


def _way(start: Mask, mask: Mask) -> np.ndarray:
    """Return how far it is to each pixel from a start, within a mask."""
    return distance(start, np.where(mask, 1, _WALL).astype(np.float32))


def _corrected(
    scene: Scene, seeds: Seeds, so_far: Soft, spot: Mask, inside: bool
) -> Soft:
    """Correct one mistake: of several sizes the one whose new outline lies on the
    strongest edges."""
    before = so_far > 0.5
    if not inside:
        loose = _loose_piece(before, seeds.inside, spot)
        if loose.any():
            return np.where(loose, 0, so_far).astype(np.float32)
    side = before != inside  # where the mistake may be
    depth = float(signed_distance(side | spot)[spot].max())
    tried = _corrections(
        scene,
        seeds,
        so_far,
        spot,
        inside,
        depth,
    )
    scores = [_fit(scene, before, soft > 0.5) for soft in tried]
    best = max(scores)
    if not inside and best < _VAGUE:
        return _divided(scene, seeds, so_far, spot, depth)
    return tried[scores.index(best)]


def _corrections(
    scene: Scene, seeds: Seeds, so_far: Soft, spot: Mask, inside: bool, depth: float
) -> list[Soft]:
    """Return corrections of a mistake, from small to large; `depth` is the distance of
    its click from the nearest edge."""
    side = (so_far > 0.5) != inside
    slopes = scene.edges + 0.7 * scene.shifts
    cost = (1 + 6 * slopes / 3).astype(np.float32)
    far = distance(spot, cost)
    height = scene.shape[0]
    most = max(_ROOM * depth, _RADII[0] * height)

    def corrected(reach: float) -> Soft:
        field = _field(
            scene,
            far,
            cost,
            side,
            reach,
        )
        # cut anew where the click counts; elsewhere the mask so far is evidence
        soft = so_far
        for _ in range(_CORRECTION_ROUNDS):
            within = soft * (1 - field) + inside * field
            seen = _seen(scene, within, 1 - within)
            prior = _PRIOR * (2 * so_far - 1) * (1 - 2 * field)
            evidence = (seen + prior).astype(np.float32)
            soft = _cut(scene, evidence, seeds, soft, so_far > 0.5)
        # Only the piece that the click lies in, and what changes to what it says.
        flipped = (soft > 0.5) != (so_far > 0.5)
        changes = touching(flipped & side, spot) | ~flipped
        return np.where(changes, soft, so_far).astype(np.float32)

    reaches = [radius * height for radius in _RADII if radius * height <= most]
    return each(corrected, reaches)


def _field(
    scene: Scene, far: np.ndarray, cost: np.ndarray, side: Mask, reach: float
) -> Soft:
    """Return where a click counts, 0..1: near it, and near what looks like that on the
    same side."""
    usual = float(np.median(cost))
    field = np.exp(-np.square(far / (reach * usual)) / 2).astype(np.float32)
    alike = by_color(scene, field, (1 - field) * ~side + 1e-3) > _ALIKE
    near = np.exp(-np.square(far / (2.5 * reach * usual)) / 2)
    on_side = np.maximum(field, near * alike)
    return np.where(side, on_side, field * 0.5).astype(np.float32)


def _fit(scene: Scene, before: Mask, after: Mask) -> float:
    """Score a correction: the strength of edges along the new outline, less the share
    that changed."""
    changed = before != after
    if not changed.any():
        return -1.0
    new = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    share = float(changed.sum() / max(int((before | after).sum()), 1))
    return _on_edges(scene.edges, after, new) - _CHANGE * share


def _on_edges(slopes: Soft, mask: Mask, where: Mask | bool = True) -> float:
    """Return the mean strength of edges along a mask's outline, 0..1; 1 if a whole
    piece went."""
    around = np.ones((3, 3), np.uint8)
    inner = cv2.erode(mask.astype(np.uint8), around, borderValue=1) > 0
    outline = mask & ~inner & where
    if not outline.any():
        return 1.0
    strength = np.minimum(cv2.dilate(slopes, around) / 3, 1.0)
    return float(strength[outline].mean())


def find(
    scene: Scene, prompts: Prompts, ask: Ask | None = None, doubt: Doubt = trusting
) -> Soft:
    """Cut out what is marked, on the working grid: one click after the other, or as
    corrections of a mask.

    `ask` is a network to ask about a first click or box, `doubt` is called where the
    mask of a first click is not to be trusted.

    Returns:
        A soft mask: 0 is surely outside, 1 surely inside.
    """
    points, labels, box, previous, strokes = prompts
    seeds = seeds_of(
        scene.shape,
        points,
        labels,
        strokes,
        box,
    )
    if previous is None:
        # With the first click on the thing or, without one, with the strokes.
        first = np.flatnonzero(labels)[:1]
        clicked = len(first) > 0
        drawn = () if clicked else strokes
        begun = seeds_of(
            scene.shape,
            points[first],
            labels[first],
            drawn,
            box,
        )
        asked = ask if clicked or box is not None else None
        soft = begin(
            scene,
            begun,
            points[first],
            asked,
            doubt,
        )
    else:
        soft = previous.astype(np.float32)
    in_turn = [
        seeds_of(scene.shape, points[n : n + 1], labels[n : n + 1])
        for n in range(len(points))
    ]
    in_turn.append(seeds_of(scene.shape, points[:0], labels[:0], strokes))
    for new in in_turn:
        soft = correct(
            scene,
            seeds,
            soft,
            new,
        )
    soft = np.where(seeds.outside, 0, soft)
    return np.where(seeds.inside, 1, soft).astype(np.float32)
