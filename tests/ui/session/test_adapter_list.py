"""The tuned models of a page: its own, a project's, the server's."""

import errno

import pytest
from fake_app import tuned_model

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.adapters import load_adapter, read_facts, save_adapter
from regrain.ui.server.media import Media
from regrain.ui.values import adapters
from regrain.ui.views import model_views
from regrain.ui.views.shown import AdapterChoice, AdapterGroup


def adapter(steps=200, **facts):
    return tuned_model(steps=steps, **facts)


@pytest.fixture
def media(tmp_path):
    return Media(tmp_path / "media")


@pytest.fixture
def shelf():
    return adapters.AdapterList()


@pytest.fixture
def keep(shelf, media):
    """Keeps a tuned model of so many steps."""
    return lambda *steps, **facts: shelf.keep(adapter(*steps, **facts), media, "page")


def names(shelf):
    return [entry.name for entry in shelf.entries.values()]


def test_every_version_is_listed_once_by_its_steps(shelf, keep):
    for steps in (100, 200, 200):
        keep(steps)
    keep(200, words="a dog walks")
    assert names(shelf) == ["100 steps", "200 steps", "200 steps (2)"]
    assert shelf.chosen is None
    assert shelf.path == ""
    entry = next(iter(shelf.entries.values()))
    shelf.choose(entry.key, {})
    assert load_adapter(shelf.path).weights["to_q"][0, 0] == 100
    shelf.choose("", {})
    assert shelf.path == ""
    with pytest.raises(RequestError, match="removed"):
        shelf.choose("/etc/passwd", {})


def test_another_name_is_in_the_file_too(shelf, media, keep):
    keep()
    keep(100)
    (key, entry), _ = shelf.entries.items()
    shelf.choose(key, {})
    shelf.rename(key, "  My   cat/../../x ", media, "page")
    assert names(shelf) == ["My cat/../../x", "100 steps"]
    assert shelf.chosen is shelf.entries[key]
    assert read_facts(shelf.path).name == "My cat/../../x"
    assert shelf.chosen.file_name == "My_cat_x.safetensors"
    assert list(media.root.glob("pages/*/*/My_cat_x.safetensors"))
    assert not list(
        media.root.glob(f"pages/*/*/{entry.file_name}")
    )  # the copy of the old name is gone
    shelf.rename(key, "100 steps", media, "page")
    assert names(shelf) == ["100 steps (2)", "100 steps"]
    with pytest.raises(RequestError, match="empty"):
        shelf.rename(key, "   ", media, "page")


def test_what_is_removed_while_it_gets_a_name_stays_removed(
    shelf, media, keep, monkeypatch
):
    keep()
    (key,) = shelf.entries
    write = adapters._write

    def late(*given):
        shelf.entries = {}
        return write(*given)

    monkeypatch.setattr(adapters, "_write", late)
    shelf.rename(key, "mine", media, "page")
    assert shelf.entries == {}


def test_a_full_disk_is_noted_and_leaves_nothing(shelf, media, monkeypatch, keep):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    keep()
    assert names(shelf) == []
    assert "disk is full" in shelf.note
    assert list(media.root.glob("pages/*/*")) == []


def test_the_oldest_go_but_not_the_chosen_one(shelf, media, keep):
    keep(1)
    shelf.choose(next(iter(shelf.entries)), {})
    for steps in range(2, adapters.MAX_OWN + 4):
        keep(steps)
    assert len(shelf.entries) == adapters.MAX_OWN + 1
    assert names(shelf)[:2] == ["1 step", "4 steps"]
    assert len(list(media.root.glob("pages/*/*/*.safetensors"))) == len(shelf.entries)


def test_a_file_is_listed_and_chosen_or_refused(shelf, media, tmp_path):
    other = tmp_path / "notes.safetensors"
    other.write_bytes(b"not weights")
    with pytest.raises(ModelError, match="not an adapter"):
        shelf.add_file(other, media, "page")
    save_adapter(adapter(name=""), tmp_path / "my tuning.safetensors")
    shelf.add_file(tmp_path / "my tuning.safetensors", media, "page")
    assert names(shelf) == ["my tuning"]
    assert shelf.chosen.own
    media.forget("page")
    assert not list(media.root.glob("pages/*"))


def test_a_projects_adapter_comes_and_goes_with_it(shelf, tmp_path, keep):
    keep(100)
    save_adapter(adapter(name="hop"), tmp_path / "adapter.safetensors")
    shelf.take_project(str(tmp_path / "adapter.safetensors"))
    assert shelf.chosen.name == "hop"
    assert names(shelf) == ["100 steps", "hop"]
    shelf.take_project("gone")
    assert shelf.path == "gone"  # a run refuses it by name rather than edit without it
    assert "was not found" in shelf.note
    shelf.take_project("")
    assert names(shelf) == ["100 steps"]
    assert shelf.chosen is None


def test_those_of_the_server_are_chosen_by_name_and_stay_as_they_are(
    shelf, media, tmp_path, own_models
):
    save_adapter(adapter(), tmp_path / "walk.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"x")
    server = adapters.on_server()
    (key,) = server
    shelf.choose(key, server)
    assert shelf.path == "walk"
    shown = model_views.tuned_models(shelf, server, "videograin")
    walk = AdapterChoice(key, "walk", own=False)
    assert shown.groups == [AdapterGroup("On this server", [walk])]
    assert shown.none == "None"
    assert (
        model_views.tuned_models(shelf, server, "tune_a_video").none
        == "None: tune on this clip first"
    )
    with pytest.raises(RequestError):
        shelf.rename(key, "mine", media, "page")
