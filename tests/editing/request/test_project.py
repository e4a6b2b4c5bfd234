import os
import unicodedata
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json, write_json
from made_clips import black, flat, levels_of, noise
from tables import rows

from regrain.editing import (
    ArrayClip,
    EditingError,
    EditRequest,
    MaskError,
    Region,
    RequestError,
    open_clip,
)
from regrain.editing.media.mask_files import write_labels, write_regions
from regrain.editing.media.writing import write_video
from regrain.editing.request.project import (
    FILE,
    load_project,
    save_project,
    uses,
)
from regrain.editing.storage.local_models import ASSETS
from tests.hostile.base import changed

TABLES = read_json(Path(__file__).with_name("projects.json"))
"""A project, other values by their dotted names, which are refused, and what is none."""
PROJECT = TABLES["project"]


def test_a_hidden_region_is_refused_by_the_name_of_what_hides_it(folder):
    whole = np.ones((3, 16, 32), bool)
    write_regions({1: whole, 2: halves(3) == 2}, folder / "masks")
    said = "Region 'right' is hidden by 'left': 0% of it is left. List it first."
    with pytest.raises(MaskError, match=said):
        load_project(folder)
    # As it says.
    write_json(folder / FILE, PROJECT | {"regions": PROJECT["regions"][::-1]})
    request = load_project(folder)
    assert request.hidden == {}


def halves(frames):
    labels = np.ones((frames, 16, 32), np.uint8)
    labels[:, :, 16:] = 2
    return labels


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "project"
    write_labels(halves(3), root / "masks", {})
    frames = flat(range(0, 160, 20))
    write_video(root / "clip.mp4", frames, Fraction(12))
    write_json(root / FILE, PROJECT)
    return root


def change(folder, path, value):
    """Set one key of project.json by its dotted path."""
    content = changed(read_json(folder / FILE), path, value)
    write_json(folder / FILE, content)


def test_a_project_becomes_a_request(folder):
    for path in (folder, folder / FILE):
        request = load_project(path)
        assert (len(request.clip), request.clip.fps, request.seed) == (3, 6, 7)
        assert levels_of(request.clip.read(0, 3)) == [1, 3, 5]
        assert (request.labels == halves(3)).all()
        assert request.composed.text == "a panda and a fox walk on the grass"
        assert request.regions[1] == Region("right", 2, "a fox", "a dog", "#112233")
        assert request.params == {"steps": 5}
        assert request.focus == "off"


@pytest.mark.parametrize(("field", "value"), rows(TABLES["refused"]))
def test_what_is_not_allowed_is_refused_by_name(folder, field, value):
    change(folder, field, value)
    with pytest.raises(EditingError) as caught:
        load_project(folder)
    assert caught.value.field == field


HOSTILE = ["[" * 100_000, "\udcff", "1" * 5000, " " * 1_000_001]


@pytest.mark.parametrize("text", [*TABLES["no projects"], *HOSTILE])
def test_what_is_no_project_is_refused(folder, text):
    (folder / FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RequestError, match=r"^project.json: "):
        load_project(folder)


def test_infinity_written_as_a_number_is_refused(folder):
    text = (folder / FILE).read_text().replace('"steps": 5', '"guidance_scale": 1e999')
    (folder / FILE).write_text(text)
    with pytest.raises(RequestError, match="^params.guidance_scale: "):
        load_project(folder)


def test_the_name_of_an_example_stands_for_it_where_there_is_no_such_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    example = ASSETS / "examples" / "01_two_animals"
    assert load_project("01_two_animals").clip.path == example / "clip.mp4"
    for path in ("./examples/01_two_animals", "01_two_animal"):
        with pytest.raises(RequestError, match="has no project.json"):
            load_project(path)
    (tmp_path / "01_two_animals").mkdir()
    with pytest.raises(RequestError, match="or make one with `python -m editing new`"):
        load_project("01_two_animals")


@pytest.mark.parametrize("link", ["clip.mp4", "masks", "masks/00001.png"])
def test_links_that_lead_out_are_refused(folder, tmp_path, link):
    path = folder / link
    os.rename(path, tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    with pytest.raises(RequestError, match="leads out of the project folder"):
        load_project(folder)


def test_links_that_stay_inside_are_allowed(folder):
    os.rename(folder / "clip.mp4", folder / "real.mp4")
    (folder / "clip.mp4").symlink_to("real.mp4")
    assert len(load_project(folder).clip) == 3


def test_overlapping_masks_follow_the_order_of_the_regions(folder):
    write_labels(halves(3) // 2, folder / "over" / "2", {})
    write_labels(halves(3) // halves(3), folder / "over" / "1", {})
    change(folder, "masks", "over")
    change(folder, "regions", PROJECT["regions"][::-1])
    assert (load_project(folder).labels == halves(3)).all()


def test_frames_in_memory_are_saved_without_loss(tmp_path):
    frames = noise(3, 5, 7, 3)
    clip = ArrayClip(frames, Fraction(25, 2))
    save_project(EditRequest(clip, None, (), size=128), tmp_path / "p")
    again = load_project(tmp_path / "p")
    assert (again.clip.read(0, 3) == frames).all()
    assert (again.clip.fps, again.size, again.labels) == (clip.fps, 128, None)


def test_a_folder_of_images_is_saved_whole(tmp_path):
    write_labels(halves(4), tmp_path / "images", {1: "#ff0000"})
    clip = open_clip(tmp_path / "images", start=1, stride=2)
    save_project(EditRequest(clip, None, ()), tmp_path / "p")
    again = load_project(tmp_path / "p").clip
    assert len(list((tmp_path / "p" / "clip").iterdir())) == 4
    assert (again.read(0, 2) == clip.read(0, 2)).all()
    assert again.fps == clip.fps == 4


def test_saving_replaces_a_project_and_nothing_else(folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    request = load_project(folder)
    frames = request.clip.read(0, 3)
    save_project(request, folder)  # onto the clip it reads from
    assert (folder / "notes.txt").read_text() == "mine"
    again = load_project(folder)
    assert (again.labels == request.labels).all()
    assert (again.clip.read(0, 3) == frames).all()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.pdf").write_text("mine")
    with pytest.raises(RequestError, match="--out"):
        save_project(request, other)
    assert [entry.name for entry in other.iterdir()] == ["thesis.pdf"]


def test_a_local_model_is_not_written_into_a_project(tmp_path):
    clip = black(1, 4, 4)
    with pytest.raises(RequestError, match=r"^model: "):
        save_project(EditRequest(clip, None, (), model="/models/sd"), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_may_be_written_in_another_form_of_unicode(folder, forms):
    """As archives come from one system to another."""
    clip = read_json(folder / FILE)["clip"]["path"]
    for field, old in {"clip.path": clip, "masks": "masks"}.items():
        new = f"caf\u00e9/{old[0]}\u00e9{Path(old).suffix}"
        told, stored = (unicodedata.normalize(form, new) for form in forms)
        (folder / stored).parent.mkdir(exist_ok=True)
        (folder / old).rename(folder / stored)
        change(folder, field, told)
    assert (load_project(folder).labels == halves(3)).all()
    assert uses(folder)[0].is_file()
