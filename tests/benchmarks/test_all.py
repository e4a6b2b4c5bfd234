"""One command measures all that the README of the benchmarks says."""

import json
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from browser import ROOT

import benchmarks.__main__ as everything


def test_each_name_stands_in_the_readme():
    readme = (Path(everything.__file__).parent / "README.md").read_text()
    assert [name for name in everything.COMMANDS if f"`{name}`" not in readme] == []


def test_all_are_run_kept_and_not_run_again(tmp_path, monkeypatch, capfd):
    commands = {"good": "platform --terse", "bad": "benchmarks.nothing"}
    monkeypatch.setattr(everything, "COMMANDS", commands)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "-o", str(tmp_path), "--only", "good", "bad"])
    with pytest.raises(SystemExit, match="failed: bad"):
        everything.main()
    assert (tmp_path / "good.txt").read_text().strip()
    assert not (tmp_path / "bad.txt").exists()
    capfd.readouterr()
    commands["bad"] = "platform --terse"
    everything.main()
    printed = capfd.readouterr().out
    assert "bad: done" in printed
    assert "good" not in printed


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_the_page_is_measured(tmp_path):
    """In a process of its own, where no other test has a browser open."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.app",
        *shlex.split(everything.QUICK["app"]),
        "-o",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "app.json").read_text())["figures"]
    assert (figures["points_of_10"], figures["own_clicks"]) == (10, 3)
    assert 0 < figures["previews_shown"] <= figures["previews_made"]


# `soak` and `stops` have tests of their own.
@pytest.mark.parametrize("name", sorted({*everything.QUICK} - {"app", "soak", "stops"}))
def test_the_smallest_case_runs(name, tmp_path, monkeypatch, capsys):
    options = [*shlex.split(everything.QUICK[name]), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [name, *options])
    import_module(f"benchmarks.{name}").main()
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir())


def test_an_unknown_benchmark_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--only", "nothing"])
    with pytest.raises(SystemExit):
        everything.main()
    assert "--only: nothing was not found. Choose from app" in capsys.readouterr().err
