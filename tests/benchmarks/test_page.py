"""The measurements of the page, and of what it promises, at their smallest."""

import json
import shlex
import subprocess
import sys

import pytest
from browser import ROOT

from benchmarks.__main__ import QUICK


def measure(name, folder):
    """The figures of a benchmark; in a process of its own, where no other test has a
    browser or models."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *shlex.split(QUICK[name])]
    command += ["-o", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / f"{name}.json").read_text()), done.stdout


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_speed_is_measured(tmp_path):
    found, _ = measure("page", tmp_path)
    figures = found["figures"]
    assert {*found["goals"]} <= {*figures}
    assert (figures["points_of_10"], figures["own_clicks"]) == (10, 3)
    assert 0 < figures["previews_shown"] <= figures["previews_made"]


def test_promises_are_compared_with_what_runs_take(tmp_path):
    found, printed = measure("promises", tmp_path)
    assert [(row["method"], row["frames"], row["steps"]) for row in found] == [
        ("videograin", 8, 2),
        ("videograin", 4, 2),
    ]
    for row in found:
        assert row["promised"] > 0
        assert row["off"] >= 1
        assert row["taken"] > 0
        assert f"ratio {row['promised'] / row['taken']:.2f}" in printed
