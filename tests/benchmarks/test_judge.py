"""The benchmark's judge on pictures whose answer is known."""

import cv2
import numpy as np
import pytest

from benchmarks.judge import interval, nearest
from benchmarks.tasks import TASKS, instance, true_masks, with_margin
from storybook.rendering import render_frames

pytestmark = pytest.mark.full

SIZE = 128


@pytest.fixture(scope="module", params=["instance", "part", "background"])
def task(request):
    return TASKS[request.param](20_003, SIZE, true_masks(6))


def asked(task):
    return [target.asked for target in task.targets]


def test_a_true_edit_is_right_and_the_source_is_not(task):
    assert nearest(render_frames(task.truth, SIZE), task) == asked(task)
    assert not set(nearest(render_frames(task.source, SIZE), task)) & set(asked(task))


def test_a_true_edit_that_is_soft_and_a_few_pixels_off_is_right():
    task = TASKS["instance"](20_003, SIZE, true_masks(6))
    moved = np.roll(render_frames(task.truth, SIZE), (3, -4), (1, 2))
    assert nearest(
        np.stack([cv2.GaussianBlur(f, (0, 0), 1.5) for f in moved]), task
    ) == asked(task)


def test_an_exchange_is_told_from_no_exchange():
    tasks = (
        TASKS["instance"](seed, SIZE, true_masks(6)) for seed in range(20_000, 20_050)
    )
    swapped = next(
        t for t in tasks if t.targets[0].elsewhere[0] == t.source.actors[0].kind
    )
    assert nearest(render_frames(swapped.source, SIZE), swapped) == asked(swapped)[::-1]


def test_interval_is_wilsons():
    share, half = interval([True] * 45 + [False] * 5)
    assert share == 0.9
    assert half == pytest.approx(
        (0.9565 - 0.7864) / 2, abs=1e-4
    )  # the published bounds for 45 of 50


@pytest.mark.parametrize("name", ["dark", "sketch", "jumping", "crossing"])
def test_hard_scenes_are_what_they_are_called(name):
    for seed in (20_003, 20_004):
        task = TASKS[name](seed, SIZE, true_masks(0))
        frames = task.request.clip.read(0, 8)
        labels = np.asarray(task.request.labels)
        (first, last) = (
            [np.nonzero(labels[t] == i)[1].mean() for i in (1, 2)] for t in (0, -1)
        )
        assert name != "dark" or frames[:, : SIZE // 4].mean() < 100
        assert name != "sketch" or task.source.style in ("pencil", "chalk")
        assert name != "jumping" or task.source.actors[0].motion == "jump"
        assert (name == "crossing") == ((first[0] < first[1]) != (last[0] < last[1]))
    assert nearest(render_frames(task.truth, SIZE), task) == asked(task)


def test_a_margin_lets_an_edit_reach_farther():
    exact = instance(30_000, SIZE, true_masks(0))
    wider = with_margin(exact, 6)
    assert wider.request.edited_mask.sum() > 1.1 * exact.request.edited_mask.sum()
    for before, after in zip(exact.targets, wider.targets, strict=True):
        assert after.place.sum() > before.place.sum()
