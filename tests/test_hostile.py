"""A sample of the hostile inputs; `python -m tests.hostile` runs them all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.cases import Answer, Case, judge

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]


def test_a_sample_of_every_kind_is_answered_as_promised(tmp_path):
    """In a process of its own, since every case is a fork of it."""
    command = [sys.executable, "-m", "tests.hostile", "--sample", "5"]
    env = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1200
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert list(tmp_path.glob("hostile-*")) == []


LINE = "error: clip: It is too short. Use another."


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(2, LINE), ""),
        (Answer(None, ""), "hangs"),
        (Answer(-11, ""), "signal 11"),
        (Answer(1, "Traceback (most recent call last):"), "traceback"),
        (Answer(0, ""), "nonsense accepted"),
        (Answer(2, LINE + "\n" + LINE), "not one line"),
        (Answer(2, LINE + "\nmore"), "not one line"),
        (Answer(2, LINE, ("out",)), "left behind out"),
        (Answer(2, f"error: clip: {'x' * 300}."), "314 characters"),
        (Answer(2, "error: clip: \x1b[31m."), "control character 0x1b"),
        (Answer(2, "error: clip: [Errno 2] It failed."), "tells an inside: Errno"),
        (
            Answer(2, "error: file: It cannot be used. Use another."),
            "caught by the last net alone",
        ),
        (Answer(2, "error: it failed"), "no field, or no sentence"),
    ],
)
def test_answers_are_judged(answer, fault):
    assert judge(Case("clip", "any", [], lambda folder: None), answer) == fault
