import cv2
import numpy as np
import pytest

from regrain.editing.motion import interpolation as between
from regrain.editing.motion.interpolation import fill_between
from storybook import KINDS, render
from storybook.rendering import render_frames
from storybook.world import replace, sample_scene


def decibels(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


def filled(edited, keys, source, labels=None):
    read = None if labels is None else (lambda a, b: labels[a:b])
    return np.stack(
        [
            *fill_between(
                edited[[*keys]], keys, lambda a, b: source[a:b], "dis", labels=read
            )
        ]
    )


def test_only_one_span_of_the_source_is_read_at_a_time_and_none_between_neighbours():
    source, read = render_frames(sample_scene(3, 6), 32), []

    def fill(*keys):
        return fill_between(
            source[[*keys]],
            keys,
            lambda a, b: read.append((a, b)) or source[a:b],
            "dis",
        )

    assert np.array_equal(np.stack([*fill(0, 1)]), source[:2])
    assert np.array_equal(next(fill(0)), source[0])
    assert read == []
    frames = fill(0, 3, 5)
    next(frames)
    next(frames)
    assert read == [(0, 4)]
    assert len([*frames]) == 4
    assert read == [(0, 4), (3, 6)]


@pytest.mark.parametrize("seed", [31, 33])
def test_frames_between_are_nearer_to_the_truth_than_copies_of_key_frames(seed):
    scene = sample_scene(seed, 9)
    color = "blue" if scene.actors[0].color != "blue" else "red"
    source, true = (
        render_frames(scene, 96),
        render_frames(replace(scene, 0, color=color), 96),
    )
    keys = (0, 4, 8)
    out = filled(true, keys, source)
    nearest = [min(keys, key=lambda key: abs(key - i)) for i in range(9)]
    between = [1, 2, 3, 5, 6, 7]
    assert (
        decibels(out[between], true[between])
        > decibels(true[nearest][between], true[between]) + 4
    )


def test_the_edit_fades_from_one_key_frame_to_the_next():
    source = np.repeat(render_frames(sample_scene(3, 1), 48), 5, 0)
    edited = source.copy()
    edited[0], edited[4] = 40, 200
    out = filled(edited, (0, 4), source)
    assert np.abs(out.mean((1, 2, 3)) - [40, 80, 120, 160, 200]).max() < 1
    assert out[2].std() < 1


def moving_square():
    """A bright square that moves 4 pixels a frame over noise, and its labels."""
    noise = np.random.default_rng(0).integers(60, 120, (20, 20, 3), dtype=np.uint8)
    source = np.repeat(
        cv2.resize(noise, (96, 96), interpolation=cv2.INTER_CUBIC)[None], 5, 0
    )
    labels = np.zeros(source.shape[:3], np.uint8)
    for i in range(5):
        labels[i, 30:60, 10 + 4 * i : 40 + 4 * i] = 1
    source[labels == 1] = (source[labels == 1] // 2) + 120
    return source, labels


def test_detail_of_the_source_that_no_key_frame_shows_is_kept():
    source, _ = moving_square()
    source[2, 70:80, 70:80] += 60  # appears in one frame between the key frames
    edited = source // 2 + 60  # an edit that keeps the source's detail
    off = np.abs(filled(edited, (0, 4), source)[2].astype(int) - edited[2])[
        70:80, 70:80
    ]
    assert off.mean() < 12  # of 30
    assert (
        np.abs(
            filled(np.full_like(edited, 60), (0, 4), source)[2].astype(int) - 60
        ).max()
        == 0
    )


def test_pixels_of_a_region_come_from_that_region():
    """Without contrast in the source only the labels say what moves."""
    _, labels = moving_square()
    source = np.full((*labels.shape, 3), 100, np.uint8)
    edited = np.where(
        labels[..., None] == 1, np.uint8((200, 40, 40)), np.uint8((40, 40, 200))
    )
    right, wrong = (
        filled(edited, (0, 4), source, known)[2].astype(int) for known in (labels, None)
    )
    off = [(np.abs(frame - edited[2]).max(-1) > 20).mean() for frame in (right, wrong)]
    assert off[0] < 0.5 * off[1]


def specks(frames, where):
    off = [
        np.abs(frame.astype(float) - cv2.medianBlur(frame, 3)).mean(-1)
        for frame in frames
    ]
    return np.stack(off)[where].mean()


def test_new_shapes_are_torn_less_and_edits_of_the_whole_frame_stay(monkeypatch):
    scene = sample_scene(33, 9)
    kinds = [
        kind for kind in KINDS if kind not in [actor.kind for actor in scene.actors]
    ]
    truth = scene
    for number, kind in enumerate(kinds[: len(scene.actors)]):
        truth = replace(truth, number, kind=kind)
    drawn, true = render(scene, 96), render_frames(truth, 96)
    labels = np.stack([cv2.dilate(frame, np.ones((9, 9))) for frame in drawn.labels])

    def fill(labels):
        return filled(true, (0, 8), drawn.frames, labels)

    steadied, whole = fill(labels), fill(np.ones_like(labels))
    monkeypatch.setattr(between, "_RESHAPED", -1.0)
    torn, inside = fill(labels), labels[1:8] > 0
    fewer, more, least = (
        specks(frames[1:8], inside) for frames in (steadied, torn, true)
    )
    assert fewer - least < 0.85 * (more - least)
    assert np.array_equal(fill(np.ones_like(labels)), whole)
