"""One command measures all that the README of the benchmarks says."""

import shlex
import sys
from importlib import import_module

import pytest

import benchmarks.__main__ as everything
from benchmarks import judge

pytestmark = pytest.mark.full


def test_all_are_run_kept_and_not_run_again(tmp_path, monkeypatch, capfd):
    commands = {"good": "platform --terse", "bad": "benchmarks.nothing"}
    monkeypatch.setattr(everything, "COMMANDS", commands)
    monkeypatch.setattr(
        sys, "argv", ["benchmarks", "-o", str(tmp_path), "--only", "good", "bad"]
    )
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


@pytest.mark.parametrize("name", sorted({*everything.QUICK} - {"page"}))
def test_the_smallest_case_runs(name, tmp_path, monkeypatch, capsys):
    options = [*shlex.split(everything.QUICK[name]), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [name, *options])
    monkeypatch.setattr(judge, "_POSES", judge._POSES[:2])
    import_module(f"benchmarks.{name}").main()
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir())
