import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from made_masks import discs

from regrain.editing import ArrayClip, open_clip
from regrain.editing.errors import MaskError
from regrain.editing.media.writing import write_lossless
from regrain.masks.draw import iou, signed_distance
from regrain.masks.track import propagate as track
from regrain.masks.track.edges import learn, tighten
from regrain.masks.track.propagate import Confidence, propagate
from storybook import render, sample_scene


def crossing(seed, frames=24):
    """Two actors who change places, one passing in front of the other."""
    scene = sample_scene(seed, frames, 2, plain=True)
    left, right = scene.actors
    left = dataclasses.replace(left, x=0.2, facing=1, speed=0.6 / (frames - 1))
    right = dataclasses.replace(right, x=0.8, facing=-1, speed=0.6 / (frames - 1))
    return dataclasses.replace(scene, actors=(left, right))


@pytest.fixture(scope="module")
def walk():
    return render(sample_scene(2, 24, 3, plain=True), 256)


@pytest.fixture(scope="module")
def cross():
    return render(crossing(0), 256)


def circles(drawn, error=1.5):
    """A stand-in for SAM: knows the truth of each frame, but blurs its edges by `error` pixels."""
    truth = {frame.tobytes(): labels for frame, labels in zip(drawn.frames, drawn.labels, strict=True)}

    def refine(image, mask, others):
        labels = truth[image.tobytes()]
        best = max(range(1, labels.max() + 1), key=lambda label: iou(labels == label, mask))
        rng = np.random.default_rng(int(mask.sum()))
        return signed_distance(labels == best) > rng.uniform(-error, error)

    return refine


def labels_of(frames, keys, refine=None, **options):
    """By frame, without a network's help unless one is given."""
    clip = frames if hasattr(frames, "read") else ArrayClip(frames)
    return {frame: labels for frame, labels, _ in propagate(clip, keys, refine=refine, **options)}


def scores(drawn, keys, refine=None):
    found = labels_of(drawn.frames, keys, refine)
    assert sorted(found) == list(range(len(drawn.frames)))
    actors = range(1, drawn.labels.max() + 1)
    return np.array([[iou(found[f] == a, drawn.labels[f] == a) for a in actors] for f in sorted(found)])


def test_actors_are_followed_without_weights(walk):
    assert scores(walk, {0: walk.labels[0]}, refine="colors").mean() >= 0.85


@pytest.mark.parametrize("seed", [0, 4])
def test_actors_who_cross_without_weights(seed):
    """Also grey on grey, and what comes out from behind."""
    drawn = render(crossing(seed), 256)
    got = scores(drawn, {0: drawn.labels[0]}, refine="colors")
    assert got.mean() >= 0.85
    assert got[-3:].mean(0).min() >= 0.8


def test_of_two_who_always_touch_one_may_change_its_shape():
    """A disc that grows beside a wall: what it looked like at first must not bound it for ever."""
    y, x = np.mgrid[:96, :160]
    rng = np.random.default_rng(3)
    ground, skin = rng.integers(60, 120, (96, 160, 3)), rng.integers(160, 250, (96, 160, 3))
    wall = x >= 110
    discs = [(np.hypot((x - 110) / (1 + 0.06 * t), y - 48) < 30) & ~wall for t in range(16)]
    frames = np.stack([np.where(d[..., None], skin, np.where(wall[..., None], 20, ground)) for d in discs])
    keys = {0: np.where(wall, 2, discs[0]).astype(np.uint8)}
    last = {f: labels for f, labels, _ in propagate(ArrayClip(frames.astype(np.uint8)), keys)}[15]
    assert iou(last == 1, discs[15]) > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_actors_who_cross_with_a_sam_that_sees_them(seed):
    drawn = render(crossing(seed), 256)
    got = scores(drawn, {0: drawn.labels[0]}, refine=circles(drawn))
    assert got.mean() >= 0.9
    assert got[-3:].mean(0).min() >= 0.85  # also what was hidden is found again


def test_from_the_middle_both_ways(walk):
    got = scores(walk, {12: walk.labels[12]})
    assert (got[12] == 1).all()
    assert got[[10, 14]].min() >= 0.8
    assert got.mean() >= 0.85


def test_a_correction_helps_both_ways_and_stands_as_given():
    cross = render(crossing(5), 256)
    one, two = (scores(cross, {key: cross.labels[key] for key in keys}) for keys in ([0], [0, 16]))
    assert (two[16] == 1).all()
    for frames in (slice(12, 16), slice(17, 22)):
        assert two[frames].mean() > one[frames].mean() + 0.05


def test_between_two_key_frames_nothing_is_far_from_either():
    """A disc moving evenly: at every frame the blend is where it should be."""
    y, x = np.mgrid[:96, :160]
    rng = np.random.default_rng(0)
    ground, skin = rng.integers(60, 120, (96, 160, 3)), rng.integers(140, 250, (96, 160, 3))
    discs = [np.hypot(x - 40 - 4 * t, y - 48) < 20 for t in range(12)]
    frames = np.stack([np.where(d[..., None], np.roll(skin, 4 * t, 1), ground) for t, d in enumerate(discs)])
    clip = ArrayClip(frames.astype(np.uint8))
    keys = {0: discs[0].astype(np.uint8), 11: discs[11].astype(np.uint8)}
    for frame, labels, confidence in propagate(clip, keys, refine=None):
        assert iou(labels == 1, discs[frame]) > 0.93
        assert confidence > 0.8


def test_a_shift_by_whole_pixels_shifts_the_mask():
    rng = np.random.default_rng(1)
    picture = np.kron(rng.integers(0, 255, (24, 40, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    frames = np.stack([np.roll(picture, 3 * t, 1) for t in range(6)])
    mask = np.zeros((96, 160), np.uint8)
    mask[30:70, 40:80] = 5
    for frame, labels, _ in propagate(ArrayClip(frames), {0: mask}, refine=None):
        assert iou(labels == 5, np.roll(mask, 3 * frame, 1) == 5) > 0.95


def test_regions_may_have_key_frames_of_their_own(walk):
    keys = {2: {1: walk.labels[2] == 1}, 20: {2: walk.labels[20] == 2, 3: walk.labels[20] == 3}}
    got = scores(walk, keys)
    assert got[2, 0] == got[20, 1] == got[20, 2] == 1
    assert got.mean() >= 0.75


def test_what_a_key_frame_states_as_gone_is_gone_there(walk):
    gone = np.zeros((256, 256), bool)
    keys = {0: walk.labels[0], 9: {1: gone}}
    found = labels_of(walk.frames[:14], keys)
    assert not (found[9] == 1).any()
    assert (found[9] == 2).any()


def test_only_the_asked_frames_are_done_from_the_first_key_frame_on(walk):
    assert [*labels_of(walk.frames[:8], {3: walk.labels[3]})] == [3, 4, 5, 6, 7, 2, 1, 0]
    keys = {0: walk.labels[0], 6: walk.labels[6], 12: walk.labels[12]}
    some = labels_of(walk.frames, keys, start=6, stop=13)
    assert sorted(some) == list(range(6, 13))
    assert (some[12] == walk.labels[12]).all()


def test_confidence_falls_where_a_region_is_hidden(cross):
    """The actor behind is less in view in the middle of the crossing than before it."""
    areas = (cross.labels[..., None] == [1, 2]).sum((1, 2))
    shares = areas / areas[0]
    behind = int(shares.min(0).argmin())
    steps = propagate(ArrayClip(cross.frames), {0: cross.labels[0]}, refine=circles(cross))
    found = {frame: confidence for frame, _, confidence in steps}
    worst = int(shares[:, behind].argmin())
    assert found[0] == 1.0
    assert found[worst].regions[behind + 1] < found[2].regions[behind + 1] - 0.2
    assert all(0 <= c <= 1 and c == min(c.regions.values()) for c in found.values())


def test_what_leaves_the_frame_is_gone():
    rng = np.random.default_rng(2)
    frames = np.tile(rng.integers(40, 90, (64, 96, 3), dtype=np.uint8), (10, 1, 1, 1))
    for t in range(10):
        frames[t, 20:44, max(0, 60 + 6 * t) : 84 + 6 * t] = 230
    key = np.zeros((64, 96), np.uint8)
    key[20:44, 60:84] = 1
    last = {f: (labels, c) for f, labels, c in propagate(ArrayClip(frames), {0: key}, refine=None)}[9]
    assert (last[0] == 1).sum() < 30


def test_video_files_and_large_frames(tmp_path, monkeypatch, walk):
    monkeypatch.setattr(track, "SHORT_SIDE", 128)
    monkeypatch.setattr(track, "_WINDOW", 3)
    write_lossless(tmp_path / "clip.mkv", ArrayClip(walk.frames[:8], Fraction(8)))
    clip = open_clip(tmp_path / "clip.mkv")
    found = labels_of(clip, {7: walk.labels[7]})
    assert (found[7] == walk.labels[7]).all()
    assert iou(found[4] == 1, walk.labels[4] == 1) > 0.75
    assert found[0].shape == (256, 256)


def test_the_same_twice(cross):
    one, two = (labels_of(cross.frames[:6], {0: cross.labels[0]}, "colors") for _ in range(2))
    assert all((one[frame] == two[frame]).all() for frame in one)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "No key frame"),
        ({30: np.ones((256, 256), np.uint8)}, "Choose from 0 to 23"),
        ({0: np.ones((25, 25), np.uint8)}, r"\(25, 25\)"),
        ({0: np.zeros((256, 256), np.uint8)}, "has a region"),
    ],
)
def test_bad_keys_are_refused_at_once(walk, keys, message):
    with pytest.raises(MaskError, match=message):
        propagate(ArrayClip(walk.frames), keys)


def test_confidence_is_the_least_of_its_regions():
    confidence = Confidence({1: 0.5, 4: 0.25})
    assert confidence == 0.25
    assert confidence.regions == {1: 0.5, 4: 0.25}
    assert Confidence({}) == 1.0


def test_a_region_of_one_pixel_is_followed_or_lost_without_a_fault():
    frames = np.full((3, 37, 53, 3), 120, np.uint8)
    frames[:, 18, 20] = 250
    key = np.zeros((37, 53), np.uint8)
    key[18, 20] = 1
    assert len(list(propagate(ArrayClip(frames, Fraction(8)), {0: key}, flow="dis"))) == 3


def test_edges_go_where_colours_part():
    image, red, blue = discs()
    off = np.roll(red, 4, axis=1)
    assert iou(off, red) < 0.9
    assert iou(tighten(image, off, blue, learn(image, red)), red) > 0.97
    assert learn(image, red & False) is learn(image, red | True) is None  # they teach no colours
