"""Averages along the motion flicker less, keep their detail, and take nothing from what
is hidden."""

import cv2
import numpy as np
import pytest
from made_clips import off

from regrain.editing.motion.smoothing import steady
from storybook.rendering import render_frames
from storybook.world import replace, sample_scene

SIDE, SCENE = 96, sample_scene(31, 8, 2)


@pytest.fixture(scope="module")
def source():
    return render_frames(SCENE, SIDE)


@pytest.fixture(scope="module")
def truth():
    color = "blue" if SCENE.actors[0].color != "blue" else "red"
    return render_frames(replace(SCENE, 0, color=color), SIDE)


def flickering(frames):
    """Every frame with a coarse pattern of its own."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 20, (len(frames), SIDE // 8, SIDE // 8, 3)).astype(
        np.float32
    )
    large = np.stack(
        [cv2.resize(c, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for c in coarse]
    )
    return (frames + large).round().clip(0, 255).astype(np.uint8)


def steadied(edited, source, deviation):
    return np.stack([*steady(iter(edited), iter(source), float(deviation), "dis")])


def error(a, b):
    return float(np.abs(a.astype(float) - b).mean())


def detail(frames):
    return float(
        np.mean([np.abs(cv2.Laplacian(frame, cv2.CV_32F)).mean() for frame in frames])
    )


def test_a_single_frame_a_still_clip_and_a_deviation_of_zero_stay_as_they_are(
    truth, source
):
    assert np.array_equal(steadied(truth, source, 0), truth)
    assert np.array_equal(steadied(truth[:1], source[:1], 2), truth[:1])
    still = np.repeat(truth[:1], 5, 0)
    assert np.array_equal(steadied(still, np.repeat(source[:1], 5, 0), 2), still)


@pytest.mark.full
def test_frames_agree_more_the_more_of_them_count(truth, source):
    edited = flickering(truth)
    far = [
        error(steadied(edited, source, deviation), truth) for deviation in (0, 0.7, 2)
    ]
    assert far[1] < 0.8 * far[0]
    assert far[2] < 0.85 * far[1]
    # What moves is averaged with itself: an average of the same places would smear the
    # actors.
    kept = error(steadied(truth, source, 2), truth)
    smeared = np.stack(
        [truth[max(0, t - 2) : t + 3].mean(0) for t in range(len(truth))]
    )
    assert kept < 0.5 * error(smeared, truth)


def test_what_the_average_blurs_is_sharpened(truth, source, monkeypatch):
    edited = flickering(truth)
    sharp = detail(steadied(edited, source, 2))
    monkeypatch.setattr(
        "regrain.editing.motion.smoothing._sharpened", lambda mean, own: mean
    )
    assert detail(edited) > sharp > 1.05 * detail(steadied(edited, source, 2))


def test_what_differs_too_much_is_not_averaged(truth, source):
    """One frame shows something else: it does not shine through in the others, nor they
    in it."""
    edited = truth.copy()
    edited[4, :50] = np.where(edited[4, :50] > 127, 0, 255)
    out = steadied(edited, source, 2).astype(int)
    inside = np.s_[10:40]
    assert np.abs(out[3] - steadied(truth, source, 2)[3])[inside].mean() < 3
    assert np.abs(out[4] - edited[4])[inside].mean() < 8


def test_what_another_thing_hides_is_not_taken_from_it():
    """A black square passes in front of a picture: no frame shows a trace of it beside
    it."""
    rng = np.random.default_rng(1)
    ground = cv2.GaussianBlur(
        rng.integers(60, 255, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 2
    )
    source = np.repeat(ground[None].round().astype(np.uint8), 6, 0)
    for t, frame in enumerate(source):
        frame[30:60, 10 + 8 * t : 40 + 8 * t] = 0
    out = steadied(source, source, 2)
    for t, frame in enumerate(out):
        beside = np.ones((SIDE, SIDE), bool)
        beside[26:64, 6 + 8 * t : 44 + 8 * t] = False
        assert off(frame, source[t])[beside].max() < 30


def test_only_the_frames_in_reach_are_read(truth, source):
    read = []
    edited = (read.append(t) or frame for t, frame in enumerate(truth))
    frames = steady(edited, iter(source), 0.8, "dis")
    next(frames)
    assert len(read) == 3
    assert len([*frames]) == len(truth) - 1
    with pytest.raises(ValueError, match="shorter"):
        steadied(truth, source[:4], 1)
