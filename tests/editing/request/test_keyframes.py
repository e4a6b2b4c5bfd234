"""Key frames where most changes, and their batches; what is written is held by
tests/ui/test_twins.py."""

from pathlib import Path

import numpy as np
import pytest
from json_files import read_json

from regrain.editing.params.written import KeyChoice
from regrain.editing.request.keyframes import choose_keyframes, spread
from regrain.editing.request.plan import windows_of
from storybook.rendering import render_frames
from storybook.world import sample_scene


def frames(count):
    return np.zeros((count, 8, 8, 3), np.uint8)


TABLES = read_json(Path(__file__).with_name("keyframes.json"))
"""Peaks of change, how many frames there are, the least and the most distance, and the
first key frames: of two that are too near the greater, then ties, from the front, and
peaks first even where key frames are dense. And of key frames, the size of a batch, and
how many each brings."""


@pytest.mark.parametrize(("peaks", "count", "least", "most", "first"), TABLES["peaks"])
def test_key_frames_are_where_most_changes(peaks, count, least, most, first):
    changes = np.zeros(count)
    for at, change in peaks:
        changes[at] = change
    assert [*spread(changes, least, most)[: len(first)]] == first


def test_the_window_around_a_key_frame_is_half_open():
    changes = np.zeros(40)
    changes[[15, 20, 9]] = [3.0, 2.0, 1.0]
    # 20 = 15 + 5 may follow; before 15, 10 would be too near and 9 is not.
    assert {9, 15, 20} <= set(spread(changes, 5, 5))
    changes[[9, 10]] = [0.0, 1.0]
    assert 10 not in spread(changes, 5, 5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("least", "most"), [(1, 1), (2, 5), (5, 20), (10, 30)])
def test_distances_are_bounded(seed, least, most):
    changes = np.random.default_rng(seed).random(300 if seed else 97)
    keys = spread(changes, least, most)
    gaps = np.diff(keys)
    assert (keys[0], keys[-1]) == (0, len(changes) - 1)
    assert gaps.min() >= least
    # Wider gaps stay only where no frame is far enough from both sides.
    assert gaps.max() <= max(most, 2 * least)


def test_a_still_clip_has_evenly_spread_key_frames():
    keys = choose_keyframes(KeyChoice(least=5, most=20), frames(100))
    assert keys == (*range(0, 85, 5), 99)
    assert spread(np.zeros(3), 5, 20) == (0, 2)


def test_auto_finds_the_frame_where_a_shot_changes():
    shots = [render_frames(sample_scene(seed, 12), 32) for seed in (3, 8)]
    assert 12 in choose_keyframes(KeyChoice(least=5, most=12), np.concatenate(shots))


def batches(keys, size):
    return [window.numbers for window in windows_of(keys, size)]


@pytest.mark.parametrize(("keys", "size", "new"), TABLES["batches"])
def test_batches_bring_as_many_new_key_frames_as_measured(keys, size, new):
    found = batches(range(keys), size)
    assert [len(batch) - 2 * (index > 0) for index, batch in enumerate(found)] == new


@pytest.mark.parametrize("size", [3, 4, 5, 8])
@pytest.mark.parametrize("count", [*range(1, 30), 64])
def test_every_key_frame_is_new_once_and_anchors_lead_each_batch(count, size):
    keys = [3 * index for index in range(count)]
    first, *later = batches(keys, size)
    new = [first, *[batch[2:] for batch in later]]
    assert sum(new, ()) == tuple(keys)
    assert all(0 < len(batch) <= size for batch in (first, *later))
    leading = [batch[:2] for batch in later]
    assert leading == [(0, before[-1]) for before in (first, *later)[:-1]]
    assert not later or len(new[-1]) >= min(3, size - 2)
