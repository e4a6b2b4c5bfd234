"""The kernel distance of two sets of pictures, beside its formula."""

import json
import shlex
import sys
from itertools import product

import cv2
import numpy as np
import pytest

from benchmarks import __main__ as everything, edit_quality, judge
from benchmarks.kid import features, kid
from benchmarks.tasks import TASKS, true_masks
from storybook.rendering import render_frames

SIZE = 128


def written_out(a, b):
    """The estimate as the papers write it, a pair of crops at a time."""

    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    found = []
    for i in range(len(a)):
        for j in range(len(a)):
            for p, q in product(range(len(a[i])), range(len(a[j]))):
                x, y, u, v = a[i][p], b[i][p], a[j][q], b[j][q]
                one = kernel(x, u) + kernel(y, v) - kernel(x, v) - kernel(y, u)
                found += [one] if i != j else []
    return sum(found) / len(found)


def test_it_is_the_unbiased_estimate_by_the_cubic_kernel():
    rng = np.random.default_rng(0)
    a = [rng.normal(size=(count, 7)) for count in (2, 3, 1)]
    b = [rng.normal(0.5, 2, size=crops.shape) for crops in a]
    assert kid(a, b) == pytest.approx(written_out(a, b), rel=1e-12)
    assert kid(a, b) == pytest.approx(kid(b, a), rel=1e-12)
    assert kid(a, a) == 0


def test_one_scene_has_no_distance():
    assert kid([np.ones((3, 7))], [np.ones((3, 7))]) is None


@pytest.mark.full
def test_a_blur_is_farther_from_the_drawing_than_the_drawing_moved():
    found = []
    for seed in (20_003, 20_004):
        task = TASKS["instance"](seed, SIZE, true_masks(0))
        truth = render_frames(task.truth, SIZE)
        soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in truth])
        moved = np.roll(truth, 1, 2)
        found.append([features(frames, task) for frames in (truth, soft, moved)])
        assert len(found[-1][0]) == len(judge.JUDGED) * len(task.targets)
    true, soft, moved = zip(*found, strict=True)
    far = kid(soft, true)
    near = kid(moved, true)
    assert far is not None
    assert near is not None
    assert far > 2 * near


@pytest.mark.full
def test_the_smallest_run_shows_its_column_and_its_floor(tmp_path, monkeypatch, capfd):
    quick = shlex.split(everything.QUICK["edit_quality"])
    options = [*quick, "--scenes", "2", "--row", "true edit", "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["edit_quality", *options])
    edit_quality.main()
    head, *lines = capfd.readouterr().out.splitlines()
    place = head.split().index("KID") - len(head.split())
    table = json.loads((tmp_path / "edit_quality.json").read_text())["tasks"]["style"]
    for name in ("true edit", "one step"):
        (line,) = (line for line in lines if f" {name} " in line)
        assert float(line.split()[place]) == pytest.approx(table[name]["kid"], abs=6e-4)
    assert table["true edit"]["kid"] < table["one step"]["kid"]
