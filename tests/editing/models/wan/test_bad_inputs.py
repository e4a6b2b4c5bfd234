"""What people give VACE and Wan that is odd or wrong: it ends right, or in one line before
a model is loaded."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from cases import BASES
from damaged_models import config
from made_clips import noise
from made_models import write_wan
from PIL import Image

from regrain.editing import ArrayClip, EditRequest, Region, edit
from regrain.editing.errors import EditingError
from regrain.editing.request.plan import windows_of
from regrain.editing.request.usual import reference_doubts

pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")
BASE = BASES["vace"] | {"steps": 1, "self_strength": 0.0, "preview_every": 0}


def asked_for(frames=5, height=32, width=48, regions=2, method="vace", **more):
    """A clip of noise with boxes in rows of eight."""
    labels = np.zeros((frames, height, width), np.uint8)
    found = []
    for number in range(regions):
        row, column = divmod(number, 8)
        top = height // 8 + row * (height // 8)
        left = 2 + column * (width // 9)
        labels[:, top : top + height // 12 + 1, left : left + width // 12 + 1] = (
            number + 1
        )
        found.append(Region(f"r{number}", number + 1, "a fox", "a cat", margin=0))
    given = {"source_prompt": "a cat", "method": method, "seed": 3, "params": BASE}
    clip = ArrayClip(noise(frames, height, width, 3, seed=1), fps=8)
    return EditRequest(clip, labels, tuple(found), **given | more)


# --- What ends right

SIZES = {
    "one frame": {"frames": 1},
    "4k frames": {"frames": 4},
    "more than 4k and one": {"frames": 7},
    "odd sides": {"height": 37, "width": 51},
    "upright": {"height": 48, "width": 32},
    "forty regions": {"height": 160, "width": 240, "regions": 40},
}


@pytest.mark.parametrize("what", SIZES)
def test_an_odd_clip_is_edited_inside_and_the_source_outside(vace, what):
    asked = asked_for(**SIZES[what])
    *_, last = edit(asked, vace)
    result = last.result
    frames = np.asarray(result.frames)
    source = asked.clip.read(0, len(asked.clip))
    assert frames.shape == source.shape
    away = np.asarray(result.matte) == 0
    assert np.array_equal(frames[away], source[away])
    assert not np.array_equal(frames, source)


def test_a_very_long_clip_is_cut_into_windows_that_know_the_one_before():
    windows = windows_of(range(4000), 81, 0, 17)
    assert [key for one in windows for key in one.keys] == [*range(4000)]
    assert max(len(one.numbers) for one in windows) == 81
    assert all(one.anchors for one in windows[1:])


def test_a_photograph_without_alpha_is_taken_and_doubted(vace, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(noise(1, 40, 60, 3, seed=2)[0] // 2).save(path)
    asked = asked_for()
    left, right = asked.regions
    asked = replace(asked, regions=(replace(left, picture=str(path)), right))
    (said,) = reference_doubts(asked)
    assert said == (
        "The picture of 'r0' shows more than a thing on white, which is drawn, too. Cut "
        "the thing out."
    )
    *_, last = edit(asked, vace)
    assert said in last.report["warnings"]


# --- What is refused


@pytest.fixture(scope="module")
def folders(vace_folder, wan_folder, pair_folder, small_folder, tmp_path_factory):
    """Models by what is wrong with them."""
    copies = tmp_path_factory.mktemp("copies")
    pair = write_wan(copies / "vace pair", vace=True, experts=True)
    found = {"family": small_folder, "no control blocks": wan_folder}
    damages = {
        "36 channels": (vace_folder, config("transformer/config.json", in_channels=36)),
        "no high": (pair, lambda at: shutil.rmtree(at / "transformer")),
        "no low": (pair, lambda at: shutil.rmtree(at / "transformer_2")),
        "no ratio": (pair, config("model_index.json", boundary_ratio=None)),
        "no text encoder": (vace_folder, lambda at: shutil.rmtree(at / "text_encoder")),
    }
    for name, (folder, damage) in damages.items():
        found[name] = shutil.copytree(folder, copies / name)
        damage(found[name])
    return found


REFUSED = {
    "family": "model: “VACE” needs the model Wan 2.1 or 2.2 and the control blocks of",
    "no control blocks": "model: “VACE” needs the control blocks of VACE, not",
    "36 channels": "is Wan with 36 input channels (one from pictures has 36), which is",
    "no high": "boundary_ratio 0.875, but transformer/ is missing. Download",
    "no low": "boundary_ratio 0.875, but transformer_2/ is missing. Download",
    "no ratio": "has no boundary_ratio, the level at which transformer_2 takes over. Add",
    "no text encoder": "has no folder text_encoder/",
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_model_that_does_not_do_is_refused_in_a_line(folders, monkeypatch, what):
    monkeypatch.setattr("regrain.editing.models.wan.load.read_weights", None)
    with pytest.raises(EditingError) as error:
        list(edit(replace(asked_for(), model=str(folders[what]))))
    assert REFUSED[what] in str(error.value)
    assert "\n" not in str(error.value)
