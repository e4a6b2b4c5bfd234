from fractions import Fraction

import numpy as np
import pytest
from made_masks import RED, drifting

from regrain.editing import ArrayClip, open_clip
from regrain.editing.errors import MaskError
from regrain.editing.media.writing import write_lossless
from regrain.masks.draw import iou
from regrain.masks.track import propagate as track
from regrain.masks.track.propagate import Confidence, propagate
from storybook import render, sample_scene

SIDE = 160


@pytest.fixture(scope="module")
def walk():
    return render(sample_scene(2, 24, 3, plain=True), SIDE)


def tracked(clip, keys, **options):
    """Labels and confidence by frame."""
    return {frame: found for frame, *found in propagate(clip, keys, **options)}


def labels_of(clip, keys, **options):
    """Labels by frame."""
    found = tracked(clip, keys, **options)
    return {frame: labels for frame, (labels, _) in found.items()}


def scores(drawn, found):
    """Overlap with the truth by frame and actor."""
    assert sorted(found) == list(range(len(drawn.frames)))
    actors = range(1, drawn.labels.max() + 1)
    pairs = [(found[frame], truth) for frame, truth in enumerate(drawn.labels)]
    return np.array(
        [[iou(one == a, truth == a) for a in actors] for one, truth in pairs]
    )


def followed(drawn, keys):
    """Labels by frame, from key frames that are right."""
    return labels_of(ArrayClip(drawn.frames), {key: drawn.labels[key] for key in keys})


@pytest.fixture(scope="module")
def from_first(walk):
    """What is followed from the first frame."""
    return followed(walk, [0])


def test_drawn_actors_are_followed(walk, from_first):
    assert scores(walk, from_first).mean() >= 0.85


def test_from_the_middle_both_ways(walk):
    found = followed(walk, [12])
    assert [*found] == [*range(12, 24), *range(11, -1, -1)]
    got = scores(walk, found)
    assert (got[12] == 1).all()
    assert got[[10, 14]].min() >= 0.8
    assert got.mean() >= 0.85


def test_between_two_key_frames_nothing_is_far_from_either():
    """A disc moving evenly: at every frame the blend is where it should be."""
    clip, truth = drifting((40, 4), radius=20, colors=RED)
    keys = {key: truth[key][1] * np.uint8(5) for key in (0, 11)}
    for frame, labels, confidence in propagate(clip, keys):
        assert iou(labels == 5, truth[frame][1]) > 0.93
        assert confidence > 0.8


@pytest.mark.parametrize("hidden", [False, True])  # in its middle, on the key frame
def test_a_mask_gains_no_far_pieces_and_no_specks(monkeypatch, hidden):
    y, x = np.mgrid[:48, :120]
    sizes = {20: 14, 42: 6, 100: 6}
    main, near, far = (np.hypot(x - at, y - 24) < sizes[at] for at in sizes)
    speck = np.hypot(x - 60, y - 4) < 2
    added = main | near | far | speck

    def follow(frames, stated):
        for frame, _ in frames:
            yield frame, (added * 1).astype(np.uint8), {1: 1.0}

    monkeypatch.setattr(track.cut_track, "follow", follow)
    clip = ArrayClip(np.zeros((3, 48, 120, 3), np.uint8))
    key = {0: {1: main | far if hidden else main}}
    for frame, labels in labels_of(clip, key).items():
        left = (added if hidden else main | near) if frame else key[0][1]
        assert (labels == left).all()


def edges(columns, sure):
    """Masks of one region, white up to a column."""
    _, x = np.mgrid[:48, :120]
    return {1: track.Seen(x < columns, sure)}


def edge_between(frame, sure, other_sure):
    """The column up to which the blend of two edges, at 30 and 36, reaches between key
    frames 0 and 4."""
    mask = np.ones((48, 120), bool)
    stated = {0: {1: mask}, 4: {1: mask}}
    blended = track._blend(frame, stated, edges(30, sure), edges(36, other_sure))
    return int(blended[1].mask[24].sum())


def test_between_key_frames_the_nearer_one_and_the_surer_mask_weigh_more():
    assert [edge_between(frame, 1.0, 1.0) for frame in (1, 2, 3)] == [32, 33, 34]
    assert edge_between(2, 1.0, 0.0) <= 31
    assert edge_between(2, 0.0, 1.0) >= 35


@pytest.mark.full
def test_regions_may_have_key_frames_of_their_own(walk):
    first, second = walk.labels[2], walk.labels[20]
    keys = {2: {1: first == 1}, 20: {2: second == 2, 3: second == 3}}
    got = scores(walk, labels_of(ArrayClip(walk.frames), keys))
    assert got[2, 0] == got[20, 1] == got[20, 2] == 1
    assert got.mean() >= 0.75


def test_what_a_key_frame_states_as_gone_is_gone_from_there_on():
    clip, truth = drifting((40, 2), (120, -2))
    found = tracked(clip, {0: truth[0], 6: {1: np.zeros((96, 160), bool)}})
    for frame in (6, 8):
        assert not (found[frame][0] == 1).any()
        assert (found[frame][0] == 2).any()
    assert found[8][1].regions[1] == 0


def test_only_the_asked_frames_are_done(walk):
    keys = {key: walk.labels[key] for key in (0, 6, 12)}
    some = labels_of(ArrayClip(walk.frames), keys, start=6, stop=13)
    assert sorted(some) == list(range(6, 13))
    assert (some[12] == walk.labels[12]).all()


def test_confidence_is_the_least_of_its_regions_and_falls_as_a_thing_is_covered():
    clip, truth = drifting((60, 4), (100, -4), radius=20, colors=RED)
    found = tracked(clip, {0: {label: truth[0][label] for label in (1, 2)}})
    sure = [found[frame][1] for frame in range(12)]
    assert sure[0] == 1.0
    assert all(0 <= c <= 1 and c == min(c.regions.values()) for c in sure)
    assert min(sure[5:]) < sure[2] - 0.2
    assert Confidence({}) == 1.0


def test_what_leaves_the_frame_is_lost_and_said():
    clip, truth = drifting((130, 6), colors=RED)
    found = tracked(clip, {0: truth[0]})
    assert not truth[-1][1].any()
    for frame, sizes, surest in ((5, range(10, 999), 0.8), (11, range(10), 0.5)):
        labels, sure = found[frame]
        assert (labels == 1).sum() in sizes
        assert sure.regions[1] < surest


def test_video_files_and_large_frames(tmp_path, monkeypatch, walk):
    monkeypatch.setattr(track, "SHORT_SIDE", 128)
    monkeypatch.setattr(track, "_WINDOW", 3)
    path = tmp_path / "clip.mkv"
    write_lossless(path, ArrayClip(walk.frames[:8], Fraction(8)))
    found = labels_of(open_clip(path), {7: walk.labels[7]})
    assert (found[7] == walk.labels[7]).all()
    assert iou(found[4] == 1, walk.labels[4] == 1) > 0.75
    assert found[0].shape == (SIDE, SIDE)


def test_the_same_twice_whatever_comes_later(walk, from_first):
    again = labels_of(ArrayClip(walk.frames[:6]), {0: walk.labels[0]})
    assert all((again[frame] == from_first[frame]).all() for frame in range(6))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "No key frame"),
        ({30: np.ones((SIDE, SIDE), np.uint8)}, "Choose frames from 0 to 23"),
        ({0: np.ones((25, 25), np.uint8)}, r"\(25, 25\)"),
        ({0: np.zeros((SIDE, SIDE), np.uint8)}, "has a region"),
    ],
)
def test_bad_keys_are_refused_at_once(walk, keys, message):
    with pytest.raises(MaskError, match=message):
        propagate(ArrayClip(walk.frames), keys)


def test_a_region_of_one_pixel_is_followed_or_lost_without_a_fault():
    frames = np.full((3, 37, 53, 3), 120, np.uint8)
    frames[:, 18, 20] = 250
    key = np.zeros((37, 53), np.uint8)
    key[18, 20] = 1
    assert len(list(propagate(ArrayClip(frames, Fraction(8)), {0: key}))) == 3
