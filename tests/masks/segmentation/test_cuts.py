"""Cuts on made-up clips: textured things that move over a textured background."""

import heapq
from fractions import Fraction

import cv2
import numpy as np
import pytest

from regrain.editing.media.clip import ArrayClip
from regrain.masks.draw import BrushStroke, deepest
from regrain.masks.models import sam
from regrain.masks.models.finders import find_finder, finders, usual
from regrain.masks.segmentation import cut_motion, cuts
from regrain.masks.segmentation.click import segment
from regrain.masks.segmentation.cut_evidence import Scene
from regrain.masks.segmentation.cut_motion import scene_of
from regrain.masks.segmentation.cut_solver import distance, divide, nearest_share, touching

HEIGHT, WIDTH, COUNT, MIDDLE = 96, 128, 7, 3


def texture(seed, colors):
    """Blotches of these colours, large enough to be moved."""
    noise = np.random.default_rng(seed).random((2 * HEIGHT, 2 * WIDTH), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.0)
    share = np.argsort(np.argsort(noise.ravel())).reshape(noise.shape) / noise.size
    low, high = np.array(colors, np.float32)
    return (low + (high - low) * share[..., None]).astype(np.uint8)


def moving(colors, seed=0):
    """A disc that goes right while the background goes left: the clip, and the disc on each frame."""
    behind, thing = texture(seed, ((60, 90, 60), (150, 190, 150))), texture(seed + 9, colors)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames, discs = [], []
    for n in range(COUNT):
        disc = np.hypot(x - 50 - 3 * n, y - 46) < 24
        picture = behind[20 : 20 + HEIGHT, 40 + n : 40 + n + WIDTH].copy()
        shown = thing[40 : 40 + HEIGHT, 60 - 3 * n : 60 - 3 * n + WIDTH]
        picture[disc] = shown[disc]
        frames.append(picture)
        discs.append(disc)
    return ArrayClip(np.stack(frames), Fraction(8)), discs


@pytest.fixture(scope="module")
def hidden():
    """A disc of the background's colours: motion alone tells it apart."""
    return moving(((60, 90, 60), (150, 190, 150)))


@pytest.fixture(scope="module")
def bright():
    """A red disc."""
    return moving(((150, 30, 30), (250, 110, 60)))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Cuts must do without a network's advice."""
    monkeypatch.setattr(sam, "missing", lambda: "not here")


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def ask(clip, points, labels, frame=MIDDLE, **how):
    image = clip.read(frame, frame + 1)[0]
    return segment(image, points, labels, method="cuts", clip=clip, frame=frame, **how)


def test_one_click_finds_what_moves(hidden):
    clip, discs = hidden
    click = [deepest(discs[MIDDLE])]
    seen = ask(clip, click, [1])
    assert iou(seen, discs[MIDDLE]) > 0.75
    image = clip.read(MIDDLE, MIDDLE + 1)[0]
    assert iou(segment(image, click, [1], method="cuts"), discs[MIDDLE]) < 0.6  # nothing else tells it


@pytest.mark.parametrize("frame", [0, MIDDLE, COUNT - 1])
def test_one_click_finds_a_thing_of_its_own_colours(bright, frame):
    clip, discs = bright
    assert iou(ask(clip, [deepest(discs[frame])], [1], frame), discs[frame]) > 0.9


def test_a_picture_alone_is_enough(bright):
    clip, discs = bright
    for alone in (ArrayClip(clip.read(0, 1), Fraction(8)), None):
        found = segment(clip.read(0, 1)[0], [deepest(discs[0])], [1], method="cuts", clip=alone)
        assert found.shape == discs[0].shape
        assert iou(found, discs[0]) > 0.85


def test_a_network_is_heard(bright, monkeypatch):
    """Where a SAM is here, its answer to the first click counts."""
    clip, discs = bright
    asked = []

    def advise(frame, points, labels, box):
        asked.append((points.tolist(), labels.tolist(), box))
        return np.where(discs[MIDDLE], 9.0, -9.0).astype(np.float32)

    monkeypatch.setattr(sam, "missing", lambda: None)
    monkeypatch.setattr(sam, "logits", advise)
    monkeypatch.setattr("regrain.masks.segmentation.click.embed", lambda image: image)
    image = cv2.GaussianBlur(clip.read(MIDDLE, MIDDLE + 1)[0], (0, 0), 12)  # colours tell little
    click = deepest(discs[MIDDLE])
    found = segment(image, [click], [1], method="cuts")
    assert iou(found, discs[MIDDLE]) > 0.9
    assert asked[0] == ([[*map(float, click)]], [1], None)
    count = len(asked)
    segment(image, [click], [1], previous=found, method="cuts")
    assert len(asked) == count  # corrections ask nobody


def test_of_a_box_a_network_is_asked_at_several_points(monkeypatch):
    """It knows nothing of the box and is wrong at the first point; at the others it is right, so they win."""
    y, x = np.mgrid[:96, :128]
    body, wrong = np.hypot((x - 64) / 2, y - 48) < 20, x < 50
    asked = []

    def advise(frame, points, labels, box):
        asked.append((points.tolist(), labels.tolist(), box))
        answer = ~body if not len(points) else wrong if len(asked) == 2 else body
        return np.where(answer, 9.0, -9.0).astype(np.float32)

    monkeypatch.setattr(sam, "missing", lambda: None)
    monkeypatch.setattr(sam, "logits", advise)
    monkeypatch.setattr("regrain.masks.segmentation.click.embed", lambda image: image)
    box = (20, 24, 108, 72)
    image = np.full((96, 128, 3), 90, np.uint8)
    image[24:73, 20:109] += (30 * body[24:73, 20:109, None]).astype(np.uint8)
    found = segment(image, [], [], box=box, method="cuts")
    assert iou(found, body) > 0.9
    (first, *points) = asked
    assert first[:2] == ([], [])
    assert first[2] == pytest.approx(box)
    assert len({tuple(at[0]) for at, _, _ in points}) == 5
    assert all(labels == [1] and around is None for _, labels, around in points)
    asked.clear()
    segment(image, [(64, 48)], [1], box=box, method="cuts")
    assert asked[0] == ([[64.0, 48.0]], [1], None)  # a click says more than a box


def test_of_a_click_a_network_is_asked_again_where_its_answer_leads():
    """Its answer to the click runs past the drawn outline; to points of that it knows better."""
    scene = Scene(np.full((40, 60, 3), 90, np.uint8))
    loose, right = np.zeros(scene.shape, bool), np.zeros(scene.shape, bool)
    loose[6:34, 4:40] = right[10:30, 10:50] = True
    cv2.rectangle(scene.image, (10, 10), (49, 29), (200, 200, 200))
    click, asked = np.array([[15.0, 20.0]]), []

    def ask(points):
        asked.append(points.tolist())
        return np.where(loose if len(asked) == 1 else right, 9.0, -9.0).astype(np.float32)

    found = cuts.begin(scene, cuts.seeds_of(scene.shape, click, np.array([1])), click, ask)
    assert asked[0] == click.tolist()
    assert len({*map(str, asked)}) == 6
    assert iou(found > 0.5, right) > 0.9


def test_in_a_box_the_answer_that_most_are_like_is_taken():
    scene = Scene(np.full((40, 60, 3), 90, np.uint8))
    seeds = cuts.seeds_of(scene.shape, np.zeros((0, 2)), np.zeros(0, int), box=np.array([2.0, 2, 57, 37]))
    left, right = (np.full(scene.shape, -9, np.float32) for _ in range(2))
    left[5:35, 5:25] = right[5:35, 35:55] = 9
    for first, others in ((left, right), (right, left)):
        answers = iter([first, first, *4 * [others]])  # of the box, then of five points
        assert iou(cuts.begin(scene, seeds, ask=lambda _, given=answers: next(given)) > 0.5, others > 0) > 0.9
    nothing = np.full(scene.shape, -9, np.float32)
    assert cuts.begin(scene, seeds, ask=lambda points: nothing).shape == scene.shape


def test_a_further_click_adds_and_what_was_right_stays(discs):
    image, red, blue = discs
    both = segment(image, [(60, 60), (140, 60)], [1, 1], previous=red, method="cuts")
    assert iou(both, red | blue) > 0.9
    assert iou(both & red, red) > 0.95


def test_a_further_click_takes_away(discs):
    image, red, blue = discs
    one = segment(image, [(60, 60), (140, 60)], [1, 0], previous=red | blue, method="cuts")
    assert iou(one, red) > 0.95


def test_a_further_click_changes_the_piece_that_it_lies_in_and_no_other(monkeypatch):
    """The cut flips three pieces: the click's, another on its side, and one on the other side."""
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
    """Without edges of colours and without a network; whatever else was found has no vote."""
    flow = np.zeros((2, 40, 60), np.float32)
    flow[0, :, 20:40] = 3
    scene = Scene(np.full((40, 60, 3), 90, np.uint8), (flow,))
    right, wrong, same = (np.zeros((40, 60), bool) for _ in range(3))
    right[:, 20:40] = wrong[:, 10:30] = same[:, 10:30] = True
    network = [wrong]
    right, wrong, same = (one.astype(np.float32) for one in (right, wrong, same))
    assert cuts._best(scene, [wrong, same, right], []) == 2
    assert cuts._best(scene, [right, wrong, same], []) == 0
    assert cuts._best(scene, [right, wrong], network) == 0  # edges of motion count as much
    assert cuts._best(Scene(scene.image), [right, wrong], network) == 1


def test_a_click_that_agrees_changes_next_to_nothing(discs):
    image, red, blue = discs
    same = segment(image, [(60, 60)], [1], previous=red | blue, method="cuts")
    assert iou(same, red | blue) > 0.97


def test_all_clicks_at_once_are_one_after_the_other(discs):
    image, red, blue = discs
    assert iou(segment(image, [(60, 60), (140, 60)], [1, 1], method="cuts"), red | blue) > 0.9


def test_a_box_bounds_the_thing(discs):
    image, red, _ = discs
    found = segment(image, [], [], box=(22, 22, 98, 98), method="cuts")
    assert iou(found, red) > 0.9
    assert not found[:, 101:].any()


def test_strokes_say_both(discs):
    image, red, blue = discs
    on_red, on_blue = BrushStroke(((45, 60), (75, 60)), 4), BrushStroke(((130, 60), (150, 60)), 4)
    off_blue = BrushStroke(on_blue.points, 4, erase=True)
    assert iou(segment(image, [], [], strokes=[on_red], method="cuts"), red) > 0.9
    corrected = segment(image, [], [], strokes=[off_blue], previous=red | blue, method="cuts")
    assert iou(corrected, red) > 0.9


def test_large_frames_are_answered_at_their_size(discs):
    image, red, _ = discs
    large, wanted = (a.repeat(4, 0).repeat(4, 1) for a in (image, red))
    found = segment(large, [(240, 240)], [1], method="cuts")
    assert found.shape == wanted.shape
    assert iou(found, wanted) > 0.9


def test_the_motion_of_a_frame_is_computed_once(bright, monkeypatch):
    clip, discs = bright
    image = 255 - clip.read(2, 3)[0]  # seen by no other test
    computed, flow = [], cut_motion.flow_between
    monkeypatch.setattr(cut_motion, "flow_between", lambda *given: computed.append(1) or flow(*given))
    scene = scene_of(image, clip, 2)
    assert len(scene.flows) == 3  # one and three frames on, one back; there are no three before it
    assert len(computed) == 5
    assert scene_of(image, clip, 2) is scene
    assert scene_of(image, clip, 1) is not scene


def test_motion_to_frames_around_is_chained(hidden):
    clip, discs = hidden
    scene = scene_of(clip.read(MIDDLE, MIDDLE + 1)[0], clip, MIDDLE)
    middle = discs[MIDDLE] & ~(cv2.dilate((~discs[MIDDLE]).astype(np.uint8), np.ones((17, 17))) > 0)
    across = [float(np.median(flow[0][middle])) for flow in scene.flows]
    assert across == pytest.approx([3, 9, -3, -9], abs=0.7)


def test_a_cut_without_edges_follows_the_evidence_and_smooths_with_them():
    evidence = np.random.default_rng(1).normal(size=(12, 15)).astype(np.float32)
    start = np.full(evidence.shape, 0.5, np.float32)
    right, down = np.zeros((12, 14), np.float32), np.zeros((11, 15), np.float32)
    assert ((divide(evidence, right, down, start) > 0.5) == (evidence > 0)).all()
    evidence += 0.5
    assert (divide(evidence, right + 9, down + 9, start, 400) > 0.5).all()  # one piece: the sum decides


def test_ways_are_as_short_as_dijkstras():
    cost = np.random.default_rng(2).uniform(0.5, 3, (9, 11)).astype(np.float32)
    seeds = np.zeros(cost.shape, bool)
    seeds[4, 2] = True
    found, heap = np.full(cost.shape, np.inf), [(0.0, 4, 2)]
    while heap:
        far, y, x = heapq.heappop(heap)
        if far >= found[y, x]:
            continue
        found[y, x] = far
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            v, u = y + dy, x + dx
            if 0 <= v < cost.shape[0] and 0 <= u < cost.shape[1]:
                heapq.heappush(heap, (far + cost[v, u] * (2**0.5 if dy and dx else 1), v, u))
    assert distance(seeds, cost) == pytest.approx(found, abs=0.05)
    assert nearest_share(found.astype(np.float32), 0.2).sum() == round(0.2 * cost.size)


def test_pieces_without_a_click_are_dropped(discs):
    _, red, blue = discs
    spot = np.zeros(red.shape, bool)
    spot[60, 60] = True
    assert (touching(red | blue, spot) == red).all()
    assert (touching(red, ~red) == red).all()


def test_real_clips_are_cut_and_drawn_ones_are_not(monkeypatch, tmp_path):
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    monkeypatch.setattr(sam, "missing", lambda: None)
    assert usual(drawn=False).name == "cuts"
    assert usual(drawn=True).name == "sam"
    assert {"sam", "cuts"} <= finders().keys()
    assert "strokes" in find_finder("cuts").takes


def test_a_published_first_sam_comes_before_cuts(monkeypatch, tmp_path):
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"")
    assert usual(drawn=False).name == "sam_vit_b_01ec64"
