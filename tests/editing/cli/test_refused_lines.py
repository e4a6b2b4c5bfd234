"""Command lines that are refused: each in one line, before any model is loaded, and all
is left as it was.

`REGRAIN_WRITE=1 pytest tests/editing/cli/test_refused_lines.py` writes what is said of
each line of `refused_lines.json` anew.
"""

import re
import shlex
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commands import change, command
from json_files import read_json
from made_clips import flat, noise
from PIL import Image
from records import recorded

from regrain.editing.__main__ import main as editing
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.mask_files import write_labels
from regrain.editing.media.writing import write_lossless, write_video
from regrain.editing.storage.devices import VARIABLE
from regrain.masks.__main__ import main as masks

REFUSED = Path(__file__).with_name("refused_lines.json")
MAINS = {"editing": editing, "masks": masks}


def write_clips(folder):
    """Write a clip of six frames and masks of two labels for every second of them, and
    one of noise with frames like its own."""
    write_video(folder / "clip.mp4", flat(range(0, 180, 30)), Fraction(12))
    labels = np.zeros((3, 16, 32), np.uint8)
    labels[:, :, :10], labels[:, :, 20:] = 1, 2
    write_labels(labels, folder / "masks", {})
    write_lossless(folder / "noise.mkv", ArrayClip(noise(6, 64, 96, 3), Fraction(8)))
    (folder / "frames").mkdir()
    for number in range(2):
        image = Image.new("RGB", (96, 64), (90 * number,) * 3)
        image.save(folder / "frames" / f"{number}.png")


def write_masks(folder):
    """Write masks of several kinds, some of them none."""
    one = np.uint8(noise(1, 64, 96) > 99)
    Image.fromarray(one[0] > 0).save(folder / "one.png")
    write_labels(one.repeat(4, 0), folder / "four", {})
    write_labels(one.repeat(6, 0), folder / "six", {})
    write_labels(9 - 8 * one, folder / "both", {})
    write_labels(0 * one, folder / "black", {})
    (folder / "broken.json").write_text("[]")


def write_projects(folder):
    """Write projects by masks and by words, and what is in their way."""
    words = ("--source-prompt", "a cat sits", "--stride", "2")
    region = ("--region", "1:cat=a fox", "--region-source", "1=a cat")
    new = command(editing)
    clip = folder / "clip.mp4"
    assert new("new", clip, "-o", "project", "--masks", "masks", *words, *region) == 0
    assert new("new", clip, "-o", "words", *words) == 0
    change(folder / "words", method="tune_a_video", prompt="a fox")
    shutil.copytree(folder / "words", folder / "other" / "WORDS")
    shutil.copytree(folder / "words", folder / "wordless")
    change(folder / "wordless", source_prompt="")
    for path in ("empty/mine", "mine/words/thesis.doc"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("mine")
    (folder / "empty" / "mine").unlink()


@pytest.fixture
def folder(tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv("REGRAIN_MODELS", raising=False)
    write_clips(tmp_path)
    write_masks(tmp_path)
    write_projects(tmp_path)
    loading = "regrain.editing.models.loading.load.load_backbone"
    monkeypatch.setattr(loading, pytest.fail)
    return tmp_path


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def said(line, folder, capsys):
    """What is said of a line, which is refused and leaves all as it was."""
    before = contents(folder)
    capsys.readouterr()
    program, *arguments = shlex.split(line.replace("LONG", "n" * 300))
    assert MAINS[program](arguments) == 2, line
    assert contents(folder) == before, line
    (last,) = capsys.readouterr().err.splitlines()
    # what depends on the machine, or on the library that reads options
    last = re.sub(r"(Use one of): .*| \(Possible .*\)", r"\1", last)
    return last.replace(str(folder), "")


def test_each_line_is_refused_and_leaves_all_as_it_was(folder, capsys):
    found = {line: said(line, folder, capsys) for line in read_json(REFUSED)}
    found, expected = recorded(found, REFUSED)
    assert found == expected


def test_words_may_be_empty_and_names_that_a_project_has_may_be_taken_off(folder):
    change(folder / "project", motion="storybook/motion")
    nothing = [f"--{name}=" for name in ("source-prompt", "prompt")]
    assert editing(["new", "clip.mp4", "-o", "new", *nothing]) == 0
    assert editing(["check", "project", "--prompt", ""]) == 0
