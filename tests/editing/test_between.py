import numpy as np
import pytest

from editing.between import fill_between
from storybook.world import render_frames, replace, sample_scene


def decibels(a, b):
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


def filled(edited, keys, source):
    return np.stack([*fill_between(edited[list(keys)], keys, lambda a, b: source[a:b], "dis")])


@pytest.mark.parametrize("keys", [(0, 4, 8), (0, 8), (0, 1, 2, 5, 8)])
def test_key_frames_stay_as_they_are_and_every_frame_is_there(keys):
    source = render_frames(sample_scene(3, 9), 64)
    edited = 255 - source
    out = filled(edited, keys, source)
    assert out.shape == source.shape
    assert out.dtype == np.uint8
    assert np.array_equal(out[list(keys)], edited[list(keys)])


def test_a_single_frame_or_neighbours_need_no_source():
    def never(start, stop):
        raise AssertionError(f"read {start} to {stop}")

    edited = render_frames(sample_scene(3, 2), 32)
    assert np.array_equal(np.stack([*fill_between(edited, (0, 1), never)]), edited)
    assert np.array_equal(next(fill_between(edited[:1], (0,), never)), edited[0])


def test_only_one_span_of_the_source_is_read_at_a_time():
    source, read = render_frames(sample_scene(3, 9), 32), []
    keys = (0, 3, 8)
    frames = fill_between(source[list(keys)], keys, lambda a, b: read.append((a, b)) or source[a:b], "dis")
    next(frames)
    next(frames)
    assert read == [(0, 4)]
    assert len([*frames]) == 7
    assert read == [(0, 4), (3, 9)]


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_frames_between_are_nearer_to_the_truth_than_copies_of_key_frames(seed):
    scene = sample_scene(seed, 9)
    color = "blue" if scene.actors[0].color != "blue" else "red"
    source, true = render_frames(scene, 96), render_frames(replace(scene, 0, color=color), 96)
    keys = (0, 4, 8)
    out = filled(true, keys, source)
    nearest = [min(keys, key=lambda key: abs(key - i)) for i in range(9)]
    between = [1, 2, 3, 5, 6, 7]
    assert decibels(out[between], true[between]) > decibels(true[nearest][between], true[between]) + 4


def test_the_edit_fades_from_one_key_frame_to_the_next():
    source = np.repeat(render_frames(sample_scene(3, 1), 48), 5, 0)
    edited = source.copy()
    edited[0], edited[4] = 40, 200
    out = filled(edited, (0, 4), source)
    assert np.abs(out.mean((1, 2, 3)) - [40, 80, 120, 160, 200]).max() < 1
    assert out[2].std() < 1


def test_an_edit_does_not_cross_a_cut():
    source = np.concatenate([render_frames(sample_scene(seed, 4), 64) for seed in (3, 8)])
    edited = source.copy()
    edited[0], edited[7] = (200, 40, 40), (40, 40, 200)
    out = filled(edited, (0, 7), source).astype(int)
    redder = (out[..., 0] > out[..., 2]).mean((1, 2))
    assert redder[:4].min() > 0.9
    assert redder[4:].max() < 0.1
