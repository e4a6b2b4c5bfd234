"""A sample of the hostile inputs; `python -m tests.hostile` runs them all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]


def test_a_sample_of_every_kind_is_answered_as_promised(tmp_path):
    """In a process of its own, since every case is a fork of it."""
    command = [sys.executable, "-m", "tests.hostile", "--sample", "3"]
    env = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1200
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert list(tmp_path.glob("hostile-*")) == []
