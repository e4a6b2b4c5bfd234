"""What left the product is refused in one line that says what to use instead."""

import shlex
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from regrain.__main__ import main
from regrain.editing.removed import INSTEAD, instead
from regrain.editing.storage.local_models import ASSETS

# An IVF of two frames of 1 s, whose clock goes back.
HEAD = struct.pack("<4s2H4s2H4I", b"DKIF", 0, 32, b"VP80", 16, 16, 1, 1, 2, 0)
JOINED = HEAD + struct.pack("<IQ8xIQ8x", 8, 5, 8, 0)
ONE = np.ones(1, np.float32)
IMAGE = b'{"id": 1, "file_name": "0.png", "width": 8, "height": 8}'
OBJECT = b'{"image_id": 1, "category_id": 1, "track_id": 2}'
RUN = f"edit run '{ASSETS / 'examples/02_one_animal'}' -o out --method videograin"
OBJECTS = b'{"images": [%b], "annotations": [%b]}' % (IMAGE, OBJECT)
# For each thing that left, a command line that asks for it, run in an empty folder; or
# the command line and files in that folder. Endpoints are asked for in
# `tests/page/test_programs.py`.
ASKED: dict[str, str | tuple[str, dict[str, bytes]]] = {
    "masks of another form": (
        "masks convert a.json -o out",
        {"a.json": b'{"shapes": []}'},
    ),
    "track_id": ("masks convert a.json -o out", {"a.json": OBJECTS}),
    "LyCORIS": (
        f"{RUN} --lora a.safetensors",
        {"a.safetensors": save({"unet.conv_in.dora_scale": ONE})},
    ),
    ".yaml": (
        f"{RUN} --model a.safetensors",
        {"a.safetensors": save({"a": ONE}), "a.yaml": b""},
    ),
    "lora_alpha": (
        f"{RUN} --lora a.safetensors",
        {"a.safetensors": save({}, {"lora_alpha": "4"})},
    ),
    "pair": "masks pair clip.mp4 masks -o out",
    "a file of jobs": "edit batch jobs.jsonl -o out",
    "--split": "edit batch project -o out --split",
    "--cpus": "edit batch project -o out --cpus 1",
    "--gpus": "edit batch project -o out --gpus 1",
    "clean": "masks clean masks -o out --grow 1",
    "finders": "masks finders",
    "--gif": "edit run project -o out --gif",
    "gif": "edit run project -o out --format gif",
    "joined recordings": ("edit new a.ivf -o project", {"a.ivf": JOINED}),
}


# `tests/ui/page/test_zero_gpu.py` and `tests/ui/views/test_views.py` ask for these.
OF_THE_PAGE = {"REGRAIN_GPU_SPEED", "credit.json"}
ASKED |= {
    name: f"edit check 01_two_animals --method {method} --set {name[7:]}=0"
    for name in INSTEAD
    if name.startswith("params.")
    for method in ("vid2vid_zero" if name == "params.self_until" else "infedit",)
}


def test_everything_that_left_is_tried():
    commands = {name for name in INSTEAD if not name.startswith("/")}
    assert {*ASKED} == commands - OF_THE_PAGE


@pytest.mark.parametrize("name", ASKED)
def test_what_left_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    asked = ASKED[name]
    command, files = asked if isinstance(asked, tuple) else (asked, {})
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert instead(name) in line
