"""Following by cuts, on made-up clips: textured discs that move over a textured
background."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from made_masks import RED, drifting, texture

from regrain.editing.media.clip import ArrayClip
from regrain.masks.draw import iou
from regrain.masks.models.finders import CUTS
from regrain.masks.segmentation.cut_evidence import Scene
from regrain.masks.track import cut_track
from regrain.masks.track.propagate import propagate

HEIGHT, WIDTH, COUNT = 96, 160, 12


def followed(clip, keys):
    return {t: found for t, *found in propagate(clip, keys, tracker=CUTS)}


def test_what_only_motion_shows_is_followed():
    clip, truth = drifting((40, 1), (120, -2))
    found = followed(clip, {0: truth[0]})
    assert sorted(found) == list(range(COUNT))
    for t, (labels, sure) in found.items():
        for label in truth[t]:
            assert iou(labels == label, truth[t][label]) > 0.7, t
            assert sure.regions[label] > 0.5
    assert (found[0][0] == 1).tolist() == truth[0][1].tolist()


def blurred(low, high, extra, sigma, seed):
    """A texture, wider than a frame by so much."""
    size = (HEIGHT, WIDTH + extra, 3)
    noise = np.random.default_rng(seed).integers(low, high, size, np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), sigma)


def test_thin_parts_do_not_wear_away():
    """A pole, narrower than a pixel of the working grid is wide at the smallest clips
    people use."""
    frames = np.stack([blurred(90, 140, 0, 1.5, 5)] * COUNT)
    poles = np.zeros(frames.shape[:3], bool)
    for t, pole in enumerate(poles):
        pole[20:76, 40 + 2 * t : 44 + 2 * t] = True
    frames[poles] = (230, 60, 40)
    found = followed(ArrayClip(frames, Fraction(8)), {0: {1: poles[0]}})
    assert iou(found[COUNT - 1][0] == 1, poles[-1]) > 0.7


def test_edges_and_the_colours_of_the_frame_before_draw_a_loose_mask_in(monkeypatch):
    """A key mask that is a little too large everywhere comes to lie on the outline:
    only with both."""
    clip, truth = drifting((40, 2), colors=RED)
    y, x = np.mgrid[:HEIGHT, :WIDTH]

    def got():
        found = followed(clip, {0: {1: np.hypot(x - 40, y - 48) < 18}})
        return iou(found[COUNT - 1][0] == 1, truth[-1][1])

    assert got() > 0.95
    with monkeypatch.context() as patch:
        patch.setattr(cut_track, "divide", lambda evidence, right, down, start: start)
        assert got() < 0.8
    monkeypatch.setattr(cut_track, "_like", lambda both, soft: np.zeros_like(soft))
    assert got() < 0.8


def test_what_comes_in_is_not_taken_for_the_thing():
    """The thing touches the border; what the camera uncovers there is rather
    background."""
    wide = blurred(60, 200, 60, 2, 2)
    frames = np.stack([wide[:, 48 - 4 * t : 48 - 4 * t + WIDTH] for t in range(COUNT)])
    key = np.zeros((HEIGHT, WIDTH), bool)
    key[30:70, :20] = True
    labels, _ = followed(ArrayClip(frames, Fraction(8)), {0: {1: key}})[8]
    assert (labels[30:70, 34:50] == 1).mean() > 0.9
    assert (labels[30:70, :20] == 1).mean() < 0.2


def test_flow_counts_less_where_it_disagrees_and_nothing_where_colours_do():
    grey = np.full((20, 20, 3), 120, np.uint8)
    changed = grey.copy()
    changed[:, 15:] = 250
    back, ahead = np.zeros((2, 20, 20, 2), np.float32)
    ahead[:, :5, 0] = 3
    trust = cut_track._trust(Scene(changed), Scene(grey), back, ahead)
    assert trust[10, [2, 10, 18]].tolist() == pytest.approx([0.3, 1, 0])


@pytest.mark.parametrize("move", [(2, 0), (-2, 0), (0, 3), (0, -3)])
def test_what_comes_in_at_each_side_is_told_by_its_motion(move):
    """It was outside of the frame before."""
    across, down = move
    back = np.ones((8, 10, 2), np.float32) * np.float32(move)
    y, x = np.indices((8, 10))
    inside = (x + across >= 0) & (x + across < 10) & (y + down >= 0) & (y + down < 8)
    assert (cut_track._entered(back) == ~inside).all()


def test_after_a_cut_a_mask_is_not_believed():
    clip, truth = drifting((40, 1), colors=RED)
    blue = ((0, 0, 60), (90, 90, 250))
    other = [texture(70 + t, blue)[:HEIGHT, :WIDTH] for t in range(4)]
    both = ArrayClip(np.concatenate([clip.read(0, 6), other]), Fraction(8))
    found = followed(both, {0: truth[0]})
    assert found[5][1].regions[1] > 0.9
    assert found[9][1].regions[1] < 0.5


def test_the_surer_of_two_has_the_pixel():
    soft = {
        1: np.array([[0.9, 0.6]], np.float32),
        2: np.array([[0.6, 0.9]], np.float32),
    }
    assert cut_track._labels(soft, {}, (1, 2)).tolist() == [[1, 2]]
