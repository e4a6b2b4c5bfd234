"""Folders in variables, and lists of which one entry is bad: the others stay."""

import os
from pathlib import Path

import pytest
from made_clips import noise

from regrain.editing.cli import doctor
from regrain.editing.cli.doctor import examine
from regrain.editing.errors import EditingError
from regrain.editing.models.adapters import find_adapter
from regrain.editing.models.files.location import find
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.motion.flow import estimate_flow
from regrain.editing.motion.raft import find_raft
from regrain.editing.storage.cache import cache_folder
from regrain.editing.storage.local_models import models_folder
from regrain.masks.models.finders import find_finder, finders
from regrain.ui.page.safety import find_checker
from regrain.ui.server.own_machine import projects_folder
from regrain.ui.session.examples import load_examples
from regrain.ui.session.projects import Projects
from regrain.ui.work.catalogue import Catalogue


def put_bad(folder):
    """Put one entry of each kind into a folder, as files and as folders."""
    folder.mkdir(parents=True, exist_ok=True)
    for end in (".safetensors", ""):
        (folder / f"gone{end}").symlink_to("/nowhere/at-all")
        (folder / f"round{end}").symlink_to(f"round{end}")
        os.mkfifo(folder / f"pipe{end}")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "folder.safetensors").mkdir()
    for part in ("locked", "locked/unet", "half", "half/unet"):
        (folder / part).mkdir()
        (folder / part / "config.json").write_text("{")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of models with each kind of bad entry, and one good of each list."""
    folder = tmp_path / "models"
    for place in ("", "loras", "motion", "pictures", "readers"):
        put_bad(folder / place)
        (folder / place / "zz.safetensors").write_bytes(b"")
    (folder / "readers" / "zz").mkdir()
    (folder / "raft_small.safetensors").write_bytes(b"")
    (folder / "checked" / "safety_checker").mkdir(parents=True)
    (folder / "checked" / "safety_checker" / "config.json").write_text("{}")
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))
    lock(monkeypatch)
    return folder


def lock(monkeypatch):
    """Let nothing in a folder named "locked" be read; the tests may run as root."""

    def is_locked(path):
        return isinstance(path, str | os.PathLike) and "locked" in Path(path).parts

    access, stat = os.access, os.stat

    def refuse(path, *given, **how):
        if is_locked(path) and Path(path).name != "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *given, **how)

    allow = lambda path, mode: access(path, mode) and not is_locked(path)  # noqa: E731
    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "access", allow)


LISTS = {
    "models": (lambda: local_models(), ["empty.safetensors", "half", "zz.safetensors"]),
    "loras": (lambda: catalogue().loras, ["loras/empty", "loras/folder", "loras/zz"]),
    "motion": (lambda: catalogue().motions[1:], ["motion/zz"]),
    "pictures": (lambda: catalogue().pictures, ["pictures/zz"]),
    "readers": (lambda: catalogue().readers, ["readers/zz"]),
    "finders": (lambda: [*finders()], ["sam", "cuts"]),
    "flow": (lambda: [find_raft().name], ["raft_small.safetensors"]),
    "checker": (lambda: [find_checker("storybook").parent.name], ["checked"]),
}


def catalogue():
    return Catalogue({}, Path("assets/storybook"))


@pytest.mark.parametrize("kind", LISTS)
def test_a_bad_model_never_hides_the_others(models, kind):
    listed, expected = LISTS[kind]
    found = listed()
    assert set(expected) <= set(found)
    for bad in ("gone", "round", "pipe", "locked"):
        assert not any(bad in name for name in found)


def test_doctor_names_what_cannot_be_read_and_goes_on(models):
    first, *shown = doctor._models()
    assert first == "storybook"
    for name, said in (
        ("half", "unknown or incomplete"),
        ("gone.safetensors", "a link to nothing"),
        ("pipe", "no file or folder"),
        ("locked", "cannot be read"),
    ):
        assert f"{name} ({said})" in shown
    (empty,) = [one for one in shown if one.startswith("empty.safetensors (")]
    assert "damaged" in empty


def test_a_bad_project_never_hides_the_others(tmp_path, monkeypatch, caplog):
    put_bad(tmp_path)
    for name in ("half", "locked", "good"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file in ("project.json", "page.json"):
            (folder / file).write_text("{")
    lock(monkeypatch)
    assert {one.key for one in Projects(tmp_path).listed()} == {"good", "half"}
    caplog.clear()
    assert load_examples(tmp_path, tmp_path / "media") == {}
    said = " ".join(caplog.messages)
    for name in ("gone", "round", "pipe", "locked", "half", "good"):
        assert f"{name} " in said


PLACES = {
    "REGRAIN_MODELS": models_folder,
    "REGRAIN_CACHE": cache_folder,
    "REGRAIN_PROJECTS": projects_folder,
}


@pytest.mark.parametrize("variable", PLACES)
@pytest.mark.parametrize(
    "given",
    ["{}/a b", "'{}/a b'", '"{}/a b"', "~/a b", "'~/a b'", "$HOME/a b", " {}/a b "],
)
def test_paths_in_variables_are_expanded(tmp_path, monkeypatch, variable, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, given.format(tmp_path))
    assert PLACES[variable]() == tmp_path / "a b"


@pytest.mark.parametrize("variable", ["REGRAIN_MODELS", "REGRAIN_PROJECTS"])
def test_an_empty_variable_is_none(monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    assert PLACES[variable]() is None


@pytest.mark.parametrize("kind", ["missing", "file", "locked"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda: find("nothing"),
        lambda: find_adapter("nothing"),
        lambda: PictureFile("nothing", fetch=False),
        lambda: find_finder("nothing"),
        lambda: find_checker("storybook"),
        lambda: estimate_flow(noise(1, 8, 8, 3), noise(1, 8, 8, 3), "raft"),
    ],
)
def test_a_folder_of_models_that_is_not_there_is_said(tmp_path, monkeypatch, kind, ask):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "locked").mkdir()
    lock(monkeypatch)
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path / kind))
    said = r"\$REGRAIN_MODELS names no folder that can be read\."
    with pytest.raises(EditingError, match=said):
        ask()
    assert local_models() == []


def test_doctor_says_where_models_are_and_whether_they_are_there(tmp_path, monkeypatch):
    said = " $REGRAIN_MODELS names no folder that can be read."
    for folder, more in ((tmp_path, ""), (tmp_path / "missing", f".{said}")):
        monkeypatch.setenv("REGRAIN_MODELS", str(folder))
        assert dict(examine())["models folder"] == f"{folder}{more}"
