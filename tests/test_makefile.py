"""`make` mends environments that are not sound; made-up interpreters say what it
runs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON3 = """#!/bin/sh
echo "python3 $*" >> "$LOG"
if [ "$1 $2 $3" = "-m venv --clear" ]; then
  rm -rf "$4"; mkdir -p "$4/bin"
  for name in python uv; do cp "$INSIDE" "$4/bin/$name"; done
fi
"""
INSIDE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$LOG"\n'
WITHOUT_PIP = INSIDE + '[ "$1 $2 $3" != "-m pip --version" ]\n'


@pytest.fixture
def checkout(tmp_path):
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    write(tmp_path / "bin" / "python3", PYTHON3)
    write(tmp_path / "inside", INSIDE)
    return tmp_path


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def made(checkout):
    """What `make` ran to install what is missing."""
    log = checkout / "log"
    log.write_text("")
    env = {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "LOG": str(log),
        "INSIDE": str(checkout / "inside"),
    }
    command = ["make", "-s", ".venv/.installed"]
    ran = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return log.read_text().splitlines()


VENV = "python3 -m venv --clear .venv"


def installs(ran):
    return [line for line in ran if line.startswith("uv pip install")]


def test_a_first_run_makes_an_environment_and_a_second_nothing(checkout):
    first = made(checkout)
    assert VENV in first
    assert len(installs(first)) == 1
    assert installs(made(checkout)) == []


def test_an_environment_whose_interpreter_is_gone_is_made_anew(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    for name in (".installed", ".installed-dev"):
        (checkout / ".venv" / name).touch()  # newer than the requirements
    again = made(checkout)
    assert VENV in again
    assert len(installs(again)) == 1
    assert not (checkout / ".venv" / ".installed-dev").exists()


def test_an_environment_without_pip_is_made_anew(checkout):
    write(checkout / ".venv" / "bin" / "python", WITHOUT_PIP)
    again = made(checkout)
    assert VENV in again
    assert len(installs(again)) == 1


def test_a_sound_environment_is_kept(checkout):
    for name in ("python", "uv"):
        write(checkout / ".venv" / "bin" / name, INSIDE)
    kept = made(checkout)
    assert VENV not in kept
    assert len(installs(kept)) == 1
