"""What left the product is refused in one line that says what to use instead."""

import shlex
import struct

import pytest

from regrain.__main__ import main
from regrain.editing.removed import INSTEAD, instead

# An IVF of two frames of 1 s, whose clock goes back.
HEAD = struct.pack("<4s2H4s2H4I", b"DKIF", 0, 32, b"VP80", 16, 16, 1, 1, 2, 0)
JOINED = HEAD + struct.pack("<IQ8xIQ8x", 8, 5, 8, 0)
# For each thing that left, a command line that asks for it, run in an empty folder; or
# the command line and files in that folder.
ASKED: dict[str, str | tuple[str, dict[str, bytes]]] = {
    "--gif": "edit run project -o out --gif",
    "gif": "edit run project -o out --format gif",
    "joined recordings": ("edit new a.ivf -o project", {"a.ivf": JOINED}),
}


def test_everything_that_left_is_tried():
    assert ASKED.keys() == INSTEAD.keys()


@pytest.mark.parametrize("name", ASKED)
def test_what_left_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    asked = ASKED[name]
    command, files = asked if isinstance(asked, tuple) else (asked, {})
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert instead(name) in line
