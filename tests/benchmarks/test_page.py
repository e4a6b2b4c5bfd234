"""Both parts of the measurement of the page, at their smallest."""

import json
import shlex
import subprocess
import sys

import pytest
from browser import ROOT

from benchmarks.__main__ import QUICK


def measure(part, folder):
    """The figures of a part; in a process of its own, where no other test has a browser
    or models."""
    command = [sys.executable, "-m", "benchmarks.page", *shlex.split(QUICK["page"])]
    command += ["--part", part, "-o", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "page.json").read_text()), done.stdout


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_speed_is_measured(tmp_path):
    found, _ = measure("speed", tmp_path)
    figures = found["figures"]
    assert {*found["goals"]} <= {*figures}
    assert (figures["points_of_10"], figures["own_clicks"]) == (10, 3)
    assert 0 < figures["previews_shown"] <= figures["previews_made"]
    assert "promises" not in found


def test_promises_are_compared_with_what_runs_take(tmp_path):
    found, printed = measure("promises", tmp_path)
    assert [*found] == ["promises"]
    (row,) = found["promises"]
    assert row["run"] == "videograin, 8 frames of 512 px, 2 steps"
    assert row["promised"] > 0
    assert row["off"] >= 1
    assert row["taken"] > 0
    assert f"{row['promised'] / row['taken']:.2f}" in printed
