"""One command measures all that the README of the benchmarks says."""

import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as everything


def test_each_command_stands_in_the_readme():
    readme = " ".join((Path(everything.__file__).parent / "README.md").read_text().split())
    for command in everything.COMMANDS.values():
        assert f"`python -m {command.format(out='OUT')}`" in readme


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


# Those that need a browser, or run longer, have tests of their own.
@pytest.mark.parametrize(
    "name", sorted({*everything.QUICK} - {"app", "edit_quality", "length", "soak", "stops"})
)
def test_the_smallest_case_runs(name, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--only", name, "-o", str(tmp_path)])
    everything.main()
    assert f"{name}: done" in capfd.readouterr().out


def test_an_unknown_benchmark_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--only", "nothing"])
    with pytest.raises(SystemExit):
        everything.main()
    assert "--only: nothing was not found. Choose from app" in capsys.readouterr().err
