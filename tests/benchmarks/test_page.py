"""The measurements of the page, and of what it promises, at their smallest."""

import json
import shlex
import subprocess
import sys

import pytest
from browser import ROOT

from benchmarks import promises
from benchmarks.__main__ import QUICK

pytestmark = pytest.mark.full


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_speed_is_measured(tmp_path):
    """In a process of its own, where no other test has a browser."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.page",
        *shlex.split(QUICK["page"]),
        "-o",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "page.json").read_text())
    figures = found["figures"]
    assert {*found["goals"]} <= {*figures}
    assert (figures["points_of_10"], figures["own_clicks"]) == (10, 3)
    assert 0 < figures["previews_shown"] <= figures["previews_made"]


def test_promises_are_compared_with_what_runs_take(tmp_path, monkeypatch, capsys):
    options = [*shlex.split(QUICK["promises"]), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["promises", *options])
    promises.main()
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "promises.json").read_text())
    (row,) = found
    assert (row["method"], row["frames"], row["steps"]) == ("videograin", 8, 2)
    assert row["promised"] > 0
    assert row["off"] >= 1
    assert row["taken"] > 0
    assert f"ratio {row['promised'] / row['taken']:.2f}" in printed
