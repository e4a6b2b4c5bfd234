"""Cuts on made-up clips: textured things that move over a textured background."""

import itertools
from fractions import Fraction

import cv2
import numpy as np
import pytest
from made_masks import RED, discs, drifting

from regrain.editing.media.clip import ArrayClip
from regrain.masks.draw import BrushStroke, deepest, iou
from regrain.masks.models import sam
from regrain.masks.segmentation import cut_motion, cuts
from regrain.masks.segmentation.click import segment
from regrain.masks.segmentation.cut_evidence import Scene
from regrain.masks.segmentation.cut_motion import scene_of
from regrain.masks.segmentation.cut_solver import (
    distance,
    divide,
    nearest_share,
    touching,
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
            answers = []
            for point, around in asks:
                asked.append((point.tolist(), around))
                answers.append(np.where(decide(point), 9.0, -9.0).astype(np.float32))
            return answers

        monkeypatch.setattr(sam, "missing", lambda: None)
        monkeypatch.setattr(sam, "logits", logits)
        monkeypatch.setattr(
            "regrain.masks.segmentation.click.embed", lambda image: image
        )
        return asked

    return answer


def ask(clip, points, labels, frame=MIDDLE, **how):
    image = clip.read(frame, frame + 1)[0]
    return segment(image, points, labels, method="cuts", clip=clip, frame=frame, **how)


def test_one_click_finds_what_moves():
    clip, discs = HIDDEN
    click = [deepest(discs[MIDDLE])]
    seen = ask(clip, click, [1])
    assert iou(seen, discs[MIDDLE]) > 0.75
    assert (ask(clip, click, [1]) == seen).all()  # as it was shown before the click
    image = clip.read(MIDDLE, MIDDLE + 1)[0]
    assert (
        iou(segment(image, click, [1], method="cuts"), discs[MIDDLE]) < 0.6
    )  # nothing else tells it


@pytest.mark.parametrize("frame", [0, MIDDLE, COUNT - 1])
def test_one_click_finds_a_thing_of_its_own_colours(frame):
    clip, discs = BRIGHT
    assert iou(ask(clip, [deepest(discs[frame])], [1], frame), discs[frame]) > 0.9


def test_a_picture_alone_is_enough():
    clip, discs = BRIGHT
    for alone in (ArrayClip(clip.read(0, 1), Fraction(8)), None):
        found = segment(
            clip.read(0, 1)[0], [deepest(discs[0])], [1], method="cuts", clip=alone
        )
        assert iou(found, discs[0]) > 0.85


def test_a_network_is_heard(network):
    """Where a SAM is here, its answer to the first click counts."""
    clip, discs = BRIGHT
    asked = network(lambda _: discs[MIDDLE])
    # colours tell little
    image = cv2.GaussianBlur(clip.read(MIDDLE, MIDDLE + 1)[0], (0, 0), 12)
    click = deepest(discs[MIDDLE])
    found = segment(image, [click], [1], method="cuts")
    assert iou(found, discs[MIDDLE]) > 0.9
    assert asked[0] == ([[*map(float, click)]], None)
    count = len(asked)
    segment(image, [click], [1], previous=found, method="cuts")
    assert len(asked) == count  # corrections ask nobody


def test_of_a_box_a_network_is_asked_at_several_points(network):
    """It knows nothing of the box and is wrong at the first point; at the others it is
    right, so they win."""
    y, x = np.mgrid[:96, :128]
    body, wrong = np.hypot((x - 64) / 2, y - 48) < 20, x < 50
    asked = network(
        lambda points: ~body if not len(points) else wrong if len(asked) == 2 else body
    )
    box = (20, 24, 108, 72)
    image = np.full((96, 128, 3), 90, np.uint8)
    image[24:73, 20:109] += (30 * body[24:73, 20:109, None]).astype(np.uint8)
    found = segment(image, [], [], box=box, method="cuts")
    assert iou(found, body) > 0.9
    (first, *points) = asked
    assert first[0] == []
    assert first[1] == pytest.approx(box)
    assert len({tuple(at[0]) for at, _ in points}) == 5
    asked.clear()
    segment(image, [(64, 48)], [1], box=box, method="cuts")
    assert asked[0] == ([[64.0, 48.0]], None)  # a click says more than a box


def test_of_a_click_a_network_is_asked_again_where_its_answer_leads():
    """Its answer to the click runs past the drawn outline; to points of that it knows
    better."""
    scene = Scene(np.full((40, 60, 3), 90, np.uint8))
    loose, right = np.zeros(scene.shape, bool), np.zeros(scene.shape, bool)
    loose[6:34, 4:40] = right[10:30, 10:50] = True
    cv2.rectangle(scene.image, (10, 10), (49, 29), (200, 200, 200))
    click, asked = np.array([[15.0, 20.0]]), []

    def ask(points):
        answers = []
        for point in points.tolist():
            asked.append(point)
            answer = loose if len(asked) == 1 else right
            answers.append(np.where(answer, 9.0, -9.0).astype(np.float32))
        return answers

    found = cuts.begin(
        scene, cuts.seeds_of(scene.shape, click, np.array([1])), click, ask
    )
    assert asked[0] == click[0].tolist()
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
        if given and not alike:
            mask[40:60, 10:60] = 1
        given.append(mask)
        return mask

    monkeypatch.setattr(cuts, "_grown", grown)
    image = np.full((96, 96, 3), 90, np.uint8)
    doubts = []
    segment(
        image,
        [(20, 20)],
        [1],
        method="cuts",
        doubt=lambda: doubts.append(1),
        **more,
    )
    assert len(given) > 1
    assert bool(doubts) == told


def test_in_a_box_a_network_may_find_nothing():
    scene = Scene(np.full((40, 60, 3), 90, np.uint8))
    box = np.array([2.0, 2, 57, 37])
    seeds = cuts.seeds_of(scene.shape, np.zeros((0, 2)), np.zeros(0, int), box=box)
    nothing = np.full(scene.shape, -9, np.float32)
    assert cuts.begin(scene, seeds, ask=lambda points: [nothing]).shape == scene.shape


ON_RED, ON_BLUE = (
    BrushStroke(((45, 60), (75, 60)), 4),
    BrushStroke(((130, 60), (150, 60)), 4),
)
OFF_BLUE = BrushStroke(ON_BLUE.points, 4, erase=True)


@pytest.mark.parametrize(
    ("points", "labels", "how", "expected", "least"),
    [
        # a further click adds
        ([(60, 60), (140, 60)], [1, 1], {"previous": DISC}, BOTH, 0.9),
        # and takes away
        ([(60, 60), (140, 60)], [1, 0], {"previous": BOTH}, DISC, 0.95),
        # it agrees, so next to nothing changes
        ([(60, 60)], [1], {"previous": BOTH}, BOTH, 0.97),
        # all at once: one after the other
        ([(60, 60), (140, 60)], [1, 1], {}, BOTH, 0.9),
        ([], [], {"box": (22, 22, 98, 98)}, DISC, 0.9),
        ([], [], {"strokes": [ON_RED]}, DISC, 0.9),
        ([], [], {"strokes": [OFF_BLUE], "previous": BOTH}, DISC, 0.9),
    ],
)
def test_clicks_boxes_and_strokes_add_and_take_away(
    points, labels, how, expected, least
):
    found = segment(IMAGE, points, labels, method="cuts", **how)
    assert iou(found, expected) > least
    # what was right stays
    assert "previous" not in how or iou(found & DISC, DISC) > 0.95
    assert "box" not in how or not found[:, 101:].any()


@pytest.mark.parametrize(
    "how", [{"points": [(30, 48), (90, 48)], "point_labels": [1, 0]}, {}]
)
def test_a_click_that_takes_away_where_nothing_ends_divides_the_mask_anew(how):
    """Colours are the same on both sides of a line, and the mask covers both."""
    image = np.full((96, 128, 3), 90, np.uint8)
    cv2.line(image, (50, 0), (50, 95), (200, 200, 200))
    # of a mask that was never clicked
    how = how or {"points": [(90, 48)], "point_labels": [0]}
    left = np.arange(128) < 50
    found = segment(image, previous=np.ones((96, 128), bool), method="cuts", **how)
    assert iou(found, np.tile(left, (96, 1))) > 0.9


@pytest.mark.parametrize("top", [20, 0])
@pytest.mark.parametrize("spot", [(90, 62), (86, 58), (94, 66)])
def test_a_click_in_a_gap_takes_the_gap_alone(spot, top):
    """What is behind a shirt, an arm, shorts and a leg shows between them."""
    behind = np.random.default_rng(0).integers(20, 32, (120, 160, 3), dtype=np.uint8)
    image = behind + np.uint8([0, 70, 90])
    image[44:100, 50:108] = (200, 140, 110)
    image[44:100, 108:130] = 20
    # a thin shirt, or a thick one
    image[top:44, 50:130] = 230
    thing = np.zeros(image.shape[:2], bool)
    thing[top:100, 50:130] = True
    mask = thing.copy()
    thing[44:80, 72:108] = False
    image[44:80, 72:108] = behind[44:80, 72:108] + np.uint8([0, 70, 90])
    click = (90, (top + 44) // 2)
    found = segment(image, [click, spot], [1, 0], previous=mask, method="cuts")
    assert iou(found, thing) > 0.97


@pytest.mark.parametrize("joint", [0, 4, 20])
@pytest.mark.parametrize("clicked", [True, False])
def test_a_click_takes_away_what_a_neck_alone_joins_to_the_thing(joint, clicked):
    """Two squares of one colour; a wide joint makes them one thing."""
    thing, other = (np.zeros((80, 160), np.uint8) for _ in range(2))
    thing[20:64, 10:60] = other[24:60, 90:130] = 1
    mask = (thing | other).astype(bool)
    mask[42 - joint // 2 : 42 + joint // 2, 60:90] = True
    image = np.full((80, 160, 3), 90, np.uint8)
    held, spot = (np.zeros(mask.shape, bool) for _ in range(2))
    held[42, 35], spot[42, 110] = clicked, True
    loose = cuts._loose_piece(mask, held, spot)
    assert loose.any() == (joint < 20)
    assert not (loose & (thing > 0)).any()
    points = [(35, 42), (110, 42)] if clicked else [(110, 42)]
    marks = [1, 0] if clicked else [0]
    left = segment(image, points, marks, previous=mask, method="cuts")
    assert not left[42, 110]
    assert left[thing > 0].all()
    assert joint == 20 or not left[other > 0].any()


def test_a_further_click_changes_the_piece_that_it_lies_in_and_no_other(monkeypatch):
    """The cut flips three pieces: the click's, another on its side, and one on the
    other side."""
    before, after = (np.zeros((12, 20), np.float32) for _ in range(2))
    before[:, :8] = 1
    after[:6, :12] = 1  # to the right of the mask there is more, below it is lost
    after[9:, 16:] = 1
    spot = np.zeros(before.shape, bool)
    spot[3, 10] = True
    wanted = before.copy()
    wanted[:6, 8:12] = 1
    monkeypatch.setattr(cuts, "_cut", lambda *given: after)
    click = cuts.Seeds(spot, np.zeros_like(spot))
    scene = Scene(np.full((*spot.shape, 3), 90, np.uint8))
    assert (cuts.correct(scene, click, before, click) == wanted).all()


def test_of_two_answers_the_one_that_ends_where_motion_does_is_taken():
    """Without edges of colours and without a network; whatever else was found has no
    vote."""
    flow = np.zeros((2, 40, 60), np.float32)
    flow[0, :, 20:40] = 3
    scene = Scene(np.full((40, 60, 3), 90, np.uint8), (flow,))
    right, wrong, same = (np.zeros((40, 60), bool) for _ in range(3))
    right[:, 20:40] = wrong[:, 10:30] = same[:, 10:30] = True
    network = [wrong]
    right, wrong, same = (one.astype(np.float32) for one in (right, wrong, same))
    assert cuts._best(scene, [wrong, same, right], []) is right
    assert cuts._best(scene, [right, wrong, same], []) is right
    # edges of motion count as much
    assert cuts._best(scene, [right, wrong], network) is right
    assert cuts._best(Scene(scene.image), [right, wrong], network) is wrong


def test_large_frames_are_answered_at_their_size():
    large, wanted = (a.repeat(4, 0).repeat(4, 1) for a in (IMAGE, DISC))
    assert iou(segment(large, [(240, 240)], [1], method="cuts"), wanted) > 0.9


def test_the_motion_of_a_frame_is_computed_once(monkeypatch):
    clip, discs = BRIGHT
    image = 255 - clip.read(2, 3)[0]  # seen by no other test
    computed, flow = [], cut_motion.flow_between
    monkeypatch.setattr(
        cut_motion, "flow_between", lambda *given: computed.append(1) or flow(*given)
    )
    scene = scene_of(image, clip, 2)
    # one and three frames on, one back; there are no three before it
    assert len(scene.flows) == 3
    assert len(computed) == 5
    assert scene_of(image, clip, 2) is scene
    assert scene_of(image, clip, 1) is not scene


def test_motion_to_frames_around_is_chained():
    clip, discs = HIDDEN
    scene = scene_of(clip.read(MIDDLE, MIDDLE + 1)[0], clip, MIDDLE)
    middle = discs[MIDDLE] & ~(
        cv2.dilate((~discs[MIDDLE]).astype(np.uint8), np.ones((17, 17))) > 0
    )
    across = [float(np.median(flow[0][middle])) for flow in scene.flows]
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


def test_pieces_without_a_click_are_dropped():
    spot = np.zeros(DISC.shape, bool)
    spot[60, 60] = True
    assert (touching(BOTH, spot) == DISC).all()
    assert (touching(DISC, ~DISC) == DISC).all()
