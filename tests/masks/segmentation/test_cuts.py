"""Cuts on made-up clips: textured things that move over a textured background."""

import itertools
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from json_files import read_json
from made_masks import RED, discs, drifting

from regrain.editing.media.clip import ArrayClip
from regrain.masks.draw import BrushStroke, deepest, iou
from regrain.masks.models import sam
from regrain.masks.segmentation import click, cut_motion, cut_solver, cuts
from regrain.masks.segmentation.click import segment
from regrain.masks.segmentation.cut_evidence import Scene
from regrain.masks.segmentation.cut_motion import scene_of
from regrain.masks.segmentation.cut_solver import (
    distance,
    divide,
    nearest_share,
)

COUNT, MIDDLE = 7, 3
IMAGE, DISC, BLUE = discs()
BOTH = DISC | BLUE


def moving(**colors):
    """A disc that goes right while the background goes left: the clip, and the disc on
    each frame."""
    clip, truth = drifting((50, 3), radius=24, count=COUNT, size=(96, 128), **colors)
    return clip, [masks[1] for masks in truth]


HIDDEN = moving()  # of the background's colours: motion alone tells it apart
BRIGHT = moving(colors=RED)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Cuts must do without a network's advice."""
    monkeypatch.setattr(sam, "missing", lambda: "not here")


@pytest.fixture
def network(monkeypatch):
    """A SAM whose answers are those of a function of a point, or of none for a box;
    gives what it got."""
    asked = []

    def answer(decide):
        def logits(frame, points, box):
            asks = [(point[None], None) for point in points] or [(points, box)]
            asked.extend((point.tolist(), around) for point, around in asks)
            return [as_logits(decide(point)) for point, _ in asks]

        monkeypatch.setattr(sam, "missing", lambda: None)
        monkeypatch.setattr(sam, "logits", logits)
        monkeypatch.setattr(click, "embed", lambda image: image)
        return asked

    return answer


def as_logits(mask):
    return np.where(mask, 9.0, -9.0).astype(np.float32)


def ask(clip, points, labels, frame=MIDDLE, **how):
    image = clip.read(frame, frame + 1)[0]
    return segment(image, points, labels, method="cuts", clip=clip, frame=frame, **how)


def test_one_click_finds_what_moves():
    clip, discs = HIDDEN
    at = [deepest(discs[MIDDLE])]
    seen = ask(clip, at, [1])
    assert iou(seen, discs[MIDDLE]) > 0.75
    assert (ask(clip, at, [1]) == seen).all()  # as it was shown before the click
    alone = clip.read(MIDDLE, MIDDLE + 1)
    for nothing_else in (None, ArrayClip(alone, Fraction(8))):
        found = segment(alone[0], at, [1], method="cuts", clip=nothing_else)
        assert iou(found, discs[MIDDLE]) < 0.6


@pytest.mark.parametrize("frame", [0, MIDDLE, COUNT - 1])
def test_one_click_finds_a_thing_of_its_own_colours(frame):
    clip, discs = BRIGHT
    assert iou(ask(clip, [deepest(discs[frame])], [1], frame), discs[frame]) > 0.9


def test_a_network_is_heard(network):
    """Where a SAM is here, its answer to the first click counts."""
    clip, discs = BRIGHT
    asked = network(lambda _: discs[MIDDLE])
    # colours tell little
    image = cv2.GaussianBlur(clip.read(MIDDLE, MIDDLE + 1)[0], (0, 0), 12)
    at = deepest(discs[MIDDLE])
    found = segment(image, [at], [1], method="cuts")
    assert iou(found, discs[MIDDLE]) > 0.9
    assert asked[0] == ([[*map(float, at)]], None)
    asked.clear()
    segment(image, [at], [1], previous=found, method="cuts")
    assert not asked  # corrections ask nobody


def test_of_a_box_a_network_is_asked_at_several_points(network):
    """It knows nothing of the box and is wrong at the first point; at the others it is
    right, so they win."""
    y, x = np.mgrid[:96, :128]
    body, wrong = np.hypot((x - 64) / 2, y - 48) < 20, x < 50
    answers = iter([~body, wrong])
    asked = network(lambda _: next(answers, body))
    box = (20, 24, 108, 72)
    image = np.full((96, 128, 3), 90, np.uint8)
    image[24:73, 20:109][body[24:73, 20:109]] = 120
    found = segment(image, [], [], box=box, method="cuts")
    assert iou(found, body) > 0.9
    (first, *points) = asked
    assert first == ([], pytest.approx(box))
    assert len({tuple(at[0]) for at, _ in points}) == 5
    asked.clear()
    segment(image, [(64, 48)], [1], box=box, method="cuts")
    assert asked[0] == ([[64.0, 48.0]], None)  # a click says more than a box


def test_of_a_click_a_network_is_asked_again_where_its_answer_leads():
    """Its answer to the click runs past the drawn outline; to points of that it knows
    better."""
    scene = Scene(np.full((40, 60, 3), 90, np.uint8))
    loose, right = np.zeros((2, *scene.shape), bool)
    loose[6:34, 4:40] = right[10:30, 10:50] = True
    cv2.rectangle(scene.image, (10, 10), (49, 29), (200, 200, 200))
    at, asked = np.array([[15.0, 20.0]]), []

    def ask(points):
        asked.extend(points.tolist())
        known = [
            loose if point == at[0].tolist() else right for point in points.tolist()
        ]
        return [as_logits(mask) for mask in known]

    found = cuts.begin(scene, cuts.seeds_of(scene.shape, at, np.array([1])), at, ask)
    assert asked[0] == at[0].tolist()
    assert len({*map(str, asked)}) == 6
    assert iou(found > 0.5, right) > 0.9


@pytest.mark.parametrize(
    ("alike", "more", "told"),
    [(True, {}, False), (False, {}, True), (False, {"box": (5, 5, 90, 90)}, False)],
)
def test_a_click_that_may_mean_very_different_masks_is_doubted(
    network, monkeypatch, alike, more, told
):
    network(lambda points: np.ones((96, 96), bool))
    given = []

    def grown(scene, seeds, start, hint=None):
        mask = np.zeros(scene.shape, np.float32)
        mask[10:40, 10:40] = 1
        mask[40:60, 10:60] = bool(given) and not alike
        given.append(mask)
        return mask

    monkeypatch.setattr(cuts, "_grown", grown)
    image = np.full((96, 96, 3), 90, np.uint8)
    doubts = []
    how = {"method": "cuts", "doubt": lambda: doubts.append(1)}
    segment(image, [(20, 20)], [1], **how, **more)
    assert len(given) > 1
    assert bool(doubts) == told


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((4, 4, 44, 44), False),  # around the thing
        ((10, 4, 44, 44), True),  # along its left side
        ((4, 10, 44, 44), True),
        ((4, 4, 35, 44), True),
        ((4, 4, 44, 35), True),
        ((10, 4, 44, 84), False),  # along a third of it
        ((4, 4, 8, 8), False),  # too small to tell
    ],
)
@pytest.mark.parametrize("at_edge", [False, True])
def test_a_mask_that_runs_along_its_box_is_doubted(monkeypatch, box, told, at_edge):
    """Where the frame ends the box as well, that says nothing."""
    mask = np.zeros((96, 96), bool)
    mask[10:36, 10:36] = True
    if at_edge:
        mask = mask[box[1] : box[3] + 1, box[0] : box[2] + 1]
        box = (0, 0, mask.shape[1] - 1, mask.shape[0] - 1)
        told = mask.mean() > 0.5
    monkeypatch.setattr(click, "_by_cuts", lambda *_: mask)
    monkeypatch.setattr(click, "_tidied", lambda mask, _: mask)
    doubts = []
    image = np.zeros((*mask.shape, 3), np.uint8)
    segment(image, [], [], box=box, method="cuts", doubt=lambda: doubts.append(1))
    assert bool(doubts) == told


def test_in_a_box_a_network_may_find_nothing(network):
    network(lambda _: np.zeros((40, 60), bool))
    image = np.full((40, 60, 3), 90, np.uint8)
    found = segment(image, [], [], box=(2, 2, 57, 37), method="cuts")
    assert found.shape == (40, 60)


CLICKS = read_json(Path(__file__).with_name("clicks.json"))
"""On two discs: what is given, and what is found."""


@pytest.mark.parametrize("kind", CLICKS)
def test_clicks_boxes_and_strokes_add_and_take_away(kind):
    masks = {"disc": DISC, "both": BOTH}
    how = dict(CLICKS[kind])
    expected, least = masks[how.pop("found")], how.pop("least")
    if "previous" in how:
        how["previous"] = masks[how["previous"]]
    strokes = [BrushStroke(**one) for one in how.pop("strokes", [])]
    found = segment(
        IMAGE,
        how.pop("points"),
        how.pop("labels"),
        strokes=strokes,
        method="cuts",
        **how,
    )
    assert iou(found, expected) > least
    # what was right stays
    assert "previous" not in how or iou(found & DISC, DISC) > 0.95
    assert "box" not in how or not found[:, 101:].any()


@pytest.mark.parametrize("points", [[(30, 48), (90, 48)], [(90, 48)]])
def test_a_click_that_takes_away_where_nothing_ends_divides_the_mask_anew(points):
    """Colours are the same on both sides of a line, and the mask, clicked or not, covers
    both."""
    image = np.full((96, 128, 3), 90, np.uint8)
    cv2.line(image, (50, 0), (50, 95), (200, 200, 200))
    left = np.zeros((96, 128), bool)
    left[:, :50] = True
    given = {"previous": left | True, "method": "cuts"}
    found = segment(image, points, [1, 0][-len(points) :], **given)
    assert iou(found, left) > 0.9


@pytest.mark.parametrize("top", [20, 0])
@pytest.mark.parametrize("spot", [(90, 62), (86, 58), (94, 66)])
def test_a_click_in_a_gap_takes_the_gap_alone(spot, top):
    """What is behind a shirt, an arm, shorts and a leg shows between them."""
    noise = np.random.default_rng(0).integers(20, 32, (120, 160, 3), np.uint8)
    behind = noise + np.uint8([0, 70, 90])
    image = behind.copy()
    image[44:100, 50:108] = (200, 140, 110)
    image[44:100, 108:130] = 20
    # a thin shirt, or a thick one
    image[top:44, 50:130] = 230
    gap = np.s_[44:80, 72:108]
    image[gap] = behind[gap]
    mask = np.zeros(image.shape[:2], bool)
    mask[top:100, 50:130] = True
    thing = mask.copy()
    thing[gap] = False
    points = [(90, (top + 44) // 2), spot]
    found = segment(image, points, [1, 0], previous=mask, method="cuts")
    assert iou(found, thing) > 0.97


@pytest.mark.parametrize("joint", [0, 4, 20])
@pytest.mark.parametrize("clicked", [True, False])
def test_a_click_takes_away_what_a_neck_alone_joins_to_the_thing(joint, clicked):
    """Two squares of one colour; a wide joint makes them one thing."""
    thing, other, mask, held, spot = np.zeros((5, 80, 160), bool)
    thing[20:64, 10:60] = other[24:60, 90:130] = spot[42, 110] = True
    held[42, 35] = clicked
    mask |= thing | other
    mask[42 - joint // 2 : 42 + joint // 2, 60:90] = True
    loose = cuts._loose_piece(mask, held, spot)
    assert loose.any() == (joint < 20)
    assert not (loose & thing).any()
    image = np.full((80, 160, 3), 90, np.uint8)
    points, marks = [(35, 42), (110, 42)], [1, 0]
    given = {"previous": mask, "method": "cuts"}
    left = segment(image, points[not clicked :], marks[not clicked :], **given)
    assert not left[42, 110]
    assert left[thing].all()
    assert joint == 20 or not left[other].any()


def test_a_further_click_changes_the_piece_that_it_lies_in_and_no_other(monkeypatch):
    """The cut flips three pieces: the click's, another on its side, and one on the
    other side."""
    before, after = np.zeros((2, 12, 20), np.float32)
    before[:, :8] = 1
    after[:6, :12] = 1  # to the right of the mask there is more, below it is lost
    after[9:, 16:] = 1
    wanted = before.copy()
    wanted[:6, 8:12] = 1
    spot = np.zeros(before.shape, bool)
    spot[3, 10] = True
    monkeypatch.setattr(cuts, "_cut", lambda *given: after)
    at = cuts.Seeds(spot, spot & False)
    scene = Scene(np.full((*spot.shape, 3), 90, np.uint8))
    assert (cuts.correct(scene, at, before, at) == wanted).all()


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_answers_the_one_that_ends_where_motion_does_is_taken(first):
    """Without edges of colours and without a network; whatever else was found has no
    vote."""
    flow = np.zeros((40, 60, 2), np.float32)
    flow[:, 20:40, 0] = 3
    scene = Scene(np.full((40, 60, 3), 90, np.uint8), (flow,))
    right, wrong = np.zeros((2, 40, 60), np.float32)
    right[:, 20:40] = wrong[:, 10:30] = 1
    answers = [right, wrong, wrong.copy()]
    best = cuts._best(scene, answers[first:] + answers[:first], [])
    assert best is right
    # edges of motion count as much
    network = [wrong > 0]
    assert cuts._best(scene, [right, wrong], network) is right
    assert cuts._best(Scene(scene.image), [right, wrong], network) is wrong


def test_large_frames_are_answered_at_their_size():
    large, wanted = (a.repeat(4, 0).repeat(4, 1) for a in (IMAGE, DISC))
    assert iou(segment(large, [(240, 240)], [1], method="cuts"), wanted) > 0.9


def test_the_motion_of_a_frame_is_computed_once(watched):
    clip, discs = BRIGHT
    image = 255 - clip.read(2, 3)[0]  # seen by no other test
    computed = watched(cut_motion, "flow_between")
    scene = scene_of(image, clip, 2)
    # one and three frames on, one back; there are no three before it
    assert (len(scene.flows), len(computed)) == (3, 5)
    assert scene_of(image, clip, 2) is scene
    assert scene_of(image, clip, 1) is not scene


def test_motion_to_frames_around_is_chained():
    clip, discs = HIDDEN
    scene = scene_of(clip.read(MIDDLE, MIDDLE + 1)[0], clip, MIDDLE)
    inside = cv2.erode(discs[MIDDLE].astype(np.uint8), np.ones((17, 17))) > 0
    across = [float(np.median(flow[..., 0][inside])) for flow in scene.flows]
    assert across == pytest.approx([3, 9, -3, -9], abs=0.7)


def divided(evidence, right, down, x, iterations):
    """The iterations as published, on the whole picture."""
    ahead, across, along = x, 0, 0
    for _ in range(iterations):
        across = np.clip(across + 0.35 * np.diff(ahead, axis=1), -right, right)
        along = np.clip(along + 0.35 * np.diff(ahead, axis=0), -down, down)
        pull = np.diff(np.pad(across, ((0, 0), (1, 1))), axis=1)
        pull += np.diff(np.pad(along, ((1, 1), (0, 0))), axis=0)
        before, x = x, np.clip(x + 0.35 * (evidence + pull), 0, 1)
        ahead = 2 * x - before
    return x


def test_a_cut_looks_as_far_as_a_mask_moves():
    """A spot grows by 20 pixels where little is against it."""
    rng = np.random.default_rng(3)
    evidence = rng.uniform(-0.02, 0, (70, 90))
    evidence[30:36, 40:47] = 5
    right, down = rng.uniform(1, 3, (70, 89)), rng.uniform(1, 3, (69, 90))
    start = np.zeros(evidence.shape)
    start[33, 43] = start[0, :5] = 1
    whole = divided(evidence, right, down, start, 40)
    assert whole[15].any()
    single = (one.astype(np.float32) for one in (evidence, right, down, start))
    assert divide(*single) == pytest.approx(whole, abs=1e-4)


def test_a_cut_is_sought_only_where_something_can_move():
    """40 turns reach as many pixels, and one more is beside the last."""
    evidence = np.full((200, 300), -1, np.float32)
    evidence[100, 150] = 1
    part = cut_solver._moving_part(np.zeros_like(evidence), evidence)
    assert part == (slice(59, 142), slice(109, 192))


def test_ways_are_as_short_as_they_can_be():
    cost = np.random.default_rng(2).uniform(0.5, 3, (9, 11)).astype(np.float32)
    seeds = np.zeros(cost.shape, bool)
    seeds[4, 2] = True
    found = np.where(seeds, 0, np.inf)
    # Bellman and Ford's: each turn settles the ways of one more step
    for _ in range(cost.size):
        around = np.pad(found, 1, constant_values=np.inf)
        for dy, dx in itertools.product(range(3), range(3)):
            step = cost * (2**0.5 if dy != 1 and dx != 1 else 1)
            found = np.minimum(found, around[dy : dy + 9, dx : dx + 11] + step)
    assert distance(seeds, cost) == pytest.approx(found, abs=0.05)
    assert nearest_share(found.astype(np.float32), 0.2).sum() == round(0.2 * cost.size)
