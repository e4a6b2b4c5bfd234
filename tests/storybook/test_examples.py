"""The shipped examples are those that the table makes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json, write_json
from PIL import Image, ImageSequence

from regrain.editing import load_project
from regrain.editing.media.reading import VideoClip
from regrain.editing.pipeline.shipped_results import RESULT, digest, read_made
from regrain.editing.request.project import FILE, Project
from storybook import examples
from storybook.examples import EXAMPLES, TABLE, make
from storybook.results import make_result, write_picture

pytestmark = pytest.mark.full


@pytest.mark.parametrize("name", TABLE)
def test_an_example_is_made_again(name, tmp_path, monkeypatch):
    """What is written, to the word; what is drawn, but for the last bits of another
    processor.

    Adapters are tuned for one step only, so their weights are not compared.
    """
    monkeypatch.setitem(examples.TUNING, "tune_steps", 1)
    make(name, tmp_path / name)
    ours, shipped = tmp_path / name, EXAMPLES / name
    files = {p.relative_to(ours) for p in ours.rglob("*") if p.is_file()}
    theirs = {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file()}
    assert files == {path for path in theirs if path.parts[0] != RESULT}
    for file in (f for f in files if f.suffix == ".json" and f.name != FILE):
        assert read_json(shipped / file) == read_json(ours / file), file
    projects = [
        Project.model_validate_json((folder / FILE).read_text())
        for folder in (ours, shipped)
    ]
    assert projects[0] == projects[1]
    a, b = load_project(ours), load_project(shipped)
    frames = [
        request.clip.read(0, len(request.clip)).astype(float) for request in (a, b)
    ]
    assert np.abs(frames[0] - frames[1]).mean() < 0.5
    if a.labels is not None:
        assert (a.labels == b.labels).mean() > 0.999


@pytest.mark.parametrize("name", TABLE)
def test_the_result_of_an_example_is_of_this_version_of_it(name, tmp_path):
    """`python -m storybook.results --only NAME` makes it anew."""
    made, request = read_made(EXAMPLES / name, tmp_path), load_project(EXAMPLES / name)
    assert made, f"{name} was changed after its result was made"
    assert len(made.edits) == len(request.targets)
    assert made.report["prompt_used"] == request.composed.text
    for path in made.edits:
        edited, source = VideoClip(Path(path)), request.clip
        assert (len(edited), edited.size) == (len(source), source.size)
        assert edited.comment == "AI-edited video"
        assert np.abs(edited.read(0, 1).astype(float) - source.read(0, 1)).mean() > 1


def test_the_moving_picture_of_the_readme_shows_the_shipped_result(tmp_path):
    """`python -m storybook.results --picture assets/readme.webp` makes it anew."""
    shipped, made = EXAMPLES.parent / "readme.webp", tmp_path / "readme.webp"
    write_picture(EXAMPLES / "01_two_animals", made)
    films = (ImageSequence.Iterator(Image.open(path)) for path in (shipped, made))
    old, new = (
        np.stack([np.asarray(frame.convert("RGB"), float) for frame in film])
        for film in films
    )
    assert (len(old), shipped.stat().st_size <= 300_000) == (8, True)
    assert np.abs(old - new).mean() < 1


def test_a_result_of_another_version_is_not_shown(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "05_colour", project)
    assert read_made(project, tmp_path / "media")
    (project / "project.json").write_text(
        (project / "project.json").read_text().replace("red", "green")
    )
    assert read_made(project, tmp_path / "media") is None


def test_a_result_is_made_again(tmp_path):
    """In one step; that the whole way still leads to what ships is seen in
    tests/test_built_in.py."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "02_one_animal", project)
    asked = read_json(project / FILE)
    write_json(project / FILE, asked | {"params": {"steps": 1}})
    before = (project / RESULT / "edited.mp4").read_bytes()
    make_result(project)
    made = read_made(project, tmp_path / "media")
    assert (
        made.report["project"] == digest(project) != digest(EXAMPLES / "02_one_animal")
    )
    assert made.report["params"]["steps"] == {"value": 1, "source": "given"}
    assert Path(made.edits[0]).read_bytes() != before
