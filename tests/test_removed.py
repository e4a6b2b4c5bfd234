"""What left the product is refused in one line that says what to use instead."""

import shlex

import numpy as np
import pytest
from safetensors.numpy import save

from regrain.__main__ import main
from regrain.editing.removed import INSTEAD, instead
from regrain.editing.storage.local_models import ASSETS

ONE = np.ones(1, np.float32)
IMAGE = b'{"id": 1, "file_name": "0.png", "width": 8, "height": 8}'
OBJECT = b'{"image_id": 1, "category_id": 1, "track_id": 2}'
RUN = f"edit run '{ASSETS / 'examples/02_one_animal'}' -o out"
OBJECTS = b'{"images": [%b], "annotations": [%b]}' % (IMAGE, OBJECT)
# For each thing that left, a command line that asks for it, run in an empty folder; or
# the command line and files in that folder.
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
    *_, line = capsys.readouterr().err.splitlines()
    assert instead(name) in line
