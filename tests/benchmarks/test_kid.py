"""The kernel distance of two sets of pictures, beside its formula."""

import json
import shlex
import sys

import cv2
import numpy as np
import pytest

from benchmarks import __main__ as everything, edit_quality, judge
from benchmarks.kid import features, kid
from benchmarks.tasks import TASKS, true_masks
from storybook.rendering import render_frames

SIZE = 128


def written_out(a, b):
    """The estimate as the paper writes it, a pair at a time."""

    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    m, n = len(a), len(b)
    own = sum(kernel(a[i], a[j]) for i in range(m) for j in range(m) if i != j)
    other = sum(kernel(b[i], b[j]) for i in range(n) for j in range(n) if i != j)
    both = sum(kernel(x, y) for x in a for y in b)
    return own / (m * (m - 1)) + other / (n * (n - 1)) - 2 * both / (m * n)


def test_it_is_the_unbiased_estimate_by_the_cubic_kernel():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 7))
    b = rng.normal(0.5, 2, size=(4, 7))
    assert kid(a, b) == pytest.approx(written_out(a, b), rel=1e-12)
    assert kid(a, b) == pytest.approx(kid(b, a), rel=1e-12)


def test_one_picture_has_no_distance():
    assert kid(np.ones((1, 7)), np.ones((4, 7))) is None


@pytest.mark.full
def test_a_blur_is_farther_from_the_drawing_than_the_drawing_moved():
    task = TASKS["instance"](20_003, SIZE, true_masks(0))
    truth = render_frames(task.truth, SIZE)
    true = features(truth, task)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in truth])
    moved = np.roll(truth, 1, 2)
    assert len(true) == len(judge.JUDGED) * len(task.targets)
    far = kid(features(soft, task), true)
    near = kid(features(moved, task), true)
    assert far
    assert near
    assert far > 2 * near


@pytest.mark.full
def test_the_smallest_run_shows_its_column_and_its_floor(tmp_path, monkeypatch, capfd):
    quick = shlex.split(everything.QUICK["edit_quality"])
    options = [*quick, "--row", "true edit", "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["edit_quality", *options])
    edit_quality.main()
    head, *lines = capfd.readouterr().out.splitlines()
    place = head.split().index("KID") - len(head.split())
    table = json.loads((tmp_path / "edit_quality.json").read_text())["tasks"]["style"]
    for name in ("true edit", "one step"):
        (line,) = (line for line in lines if f" {name} " in line)
        assert float(line.split()[place]) == pytest.approx(table[name]["kid"], abs=6e-4)
    assert table["true edit"]["kid"] < table["one step"]["kid"]
