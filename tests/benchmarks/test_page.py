"""The measurement of the page at its smallest."""

import shlex
import subprocess
import sys

import pytest
from browser import ROOT
from json_files import read_json

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
    found = read_json(tmp_path / "page.json")
    figures = found["figures"]
    assert {*found["goals"]} <= {*figures}
    assert (figures["points_of_10"], figures["own_clicks"]) == (10, 3)
    assert 0 < figures["previews_shown"] <= figures["previews_made"]
