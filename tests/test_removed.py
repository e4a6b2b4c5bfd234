"""What left the product is refused in one line that says what to use instead."""

import shlex

import pytest

from regrain.__main__ import main
from regrain.editing.removed import INSTEAD, instead

# For each thing that left, a command line that asks for it, run in an empty folder;
# endpoints are asked for in `tests/page/test_programs.py`.
ASKED: dict[str, str] = {
    "a file of jobs": "edit batch jobs.jsonl -o out",
    "--split": "edit batch project -o out --split",
    "--cpus": "edit batch project -o out --cpus 1",
    "--gpus": "edit batch project -o out --gpus 1",
    "clean": "masks clean masks -o out --grow 1",
    "finders": "masks finders",
    "params.heat_pixel": "edit check 01_two_animals --set heat_pixel=",
}


def test_everything_that_left_is_tried():
    assert [*ASKED] == [name for name in INSTEAD if not name.startswith("/")]


@pytest.mark.parametrize("name", ASKED)
def test_what_left_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(ASKED[name])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert instead(name) in line
