"""What Windows lacks: `resource`, `os.sysconf`, locks of Unix, /proc, symbolic links."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_projects import write_project
from other_systems import BARE

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[3]
EDIT = """
import regrain
from regrain.editing.__main__ import main as edit
from regrain.masks.__main__ import main as masks
import regrain.ui.page.launch
from regrain.editing.storage.memory import free_memory, peak_memory
import torch

assert 10**6 < free_memory() < total
assert 10**7 < peak_memory(torch.device("cpu")) < total
given, out = sys.argv[1:]
ran = edit(["run", out + "/project", "-o", out + "/out"])
doctor = edit(["doctor"])
converted = masks(["convert", given, "-o", out + "/m.json"])
sys.exit(ran or doctor or converted)
"""


def test_an_edit_runs_where_unix_is_missing(tmp_path):
    masks = ROOT / "assets" / "examples" / "01_two_animals" / "masks"
    write_project(tmp_path / "project")
    env = os.environ | {"OMP_NUM_THREADS": "1", "REGRAIN_CACHE": str(tmp_path / "c")}
    command = [sys.executable, "-c", BARE + EDIT, str(masks), str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    assert (tmp_path / "out" / "edited.mp4").stat().st_size > 1000
    assert (tmp_path / "m.json").is_file()


def test_the_packages_are_found_where_git_makes_no_links(tmp_path):
    """Git then writes a file with the target's name in place of a link."""
    (tmp_path / "regrain").mkdir()
    for name in ("__init__.py", "__main__.py", "public.py"):
        (tmp_path / "regrain" / name).write_bytes(
            (ROOT / "regrain" / name).read_bytes()
        )
    for name in ("editing", "masks", "ui", "assets"):
        (tmp_path / "regrain" / name).write_text(f"../{name}")
        (tmp_path / name).mkdir()
    (tmp_path / "editing" / "__init__.py").write_text("__all__ = []\nhere = 1\n")
    code = "import regrain.editing as e; print(e.here)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.stdout == "1\n", ran.stderr
