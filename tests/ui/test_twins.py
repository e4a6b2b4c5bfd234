"""What the page's scripts read and draw for themselves is what the server reads and
draws: `js/twins.test.js` has the same cases."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from json_files import read_json

from regrain.editing.errors import RequestError
from regrain.editing.media.clip import check_inside
from regrain.editing.params.written import read_cuts, read_keyframes
from regrain.editing.pipeline.outputs import FORMATS
from regrain.editing.pipeline.pictures import heat
from regrain.editing.request.boxes import read_boxes, write_boxes
from regrain.editing.request.keyframes import choose_keyframes
from regrain.ui.api.program_schema import Formats

CASES = read_json(Path(__file__).with_name("js").joinpath("twins.json"))


def read(reader, text, count):
    """The frames that a text names within a clip; "wrong" or "beyond" where it names
    none."""
    try:
        return reader(text, count)
    except RequestError:
        return "beyond"
    except ValueError:
        return "wrong"


def test_key_frames():
    def keys(text, count):
        frames = np.zeros((count, 8, 8, 3), np.uint8)
        choice = read_keyframes(text)
        check_inside("params.keyframes", choice.frames, len(frames))
        return [*choose_keyframes(choice, frames)]

    for case in CASES["keyframes"]:
        assert read(keys, case["text"], case["count"]) == case["frames"], case


def test_cuts():
    def cuts(text, count):
        found = read_cuts(text)
        check_inside("params.cuts", found or (), count, 1)
        return found if found is None else [*found]

    for case in CASES["cuts"]:
        assert read(cuts, case["text"], case["count"]) == case["cuts"], case


@pytest.mark.parametrize("case", CASES["boxes"])
def test_boxes(case):
    boxes = read_boxes(case["text"], len(case["boxes"]), (320, 200))
    assert boxes.tolist() == case["boxes"]
    starts = [int(part.split(":")[0]) for part in case["text"].split(",")[1:]]
    assert write_boxes(boxes, starts) == case["text"]


@pytest.mark.parametrize("case", CASES["heat"])
def test_heat(case):
    """Over black, where what lies below adds nothing."""
    *color, alpha = case["pixel"]
    level = np.full((1, 1), (case["level"] + 0.5) / 255, np.float32)
    (shown,) = heat(np.zeros((1, 1, 3), np.uint8), level, case["color"])[0]
    assert np.abs(shown - np.array(color) * alpha / 255).max() <= 1.5


def test_programs_may_ask_for_every_format():
    assert get_args(Formats) == ("mp4", *FORMATS)
