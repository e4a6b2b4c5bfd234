"""What a page may choose, while files come and go."""

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from json_files import write_json
from made_clips import black
from safetensors.torch import save_file

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.models.files.location import (
    BUILT_IN_FAST,
    BUILT_IN_MODEL,
    BUILT_IN_MOTION,
)
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.memory import NEEDS
from regrain.ui.handlers import clip_handlers
from regrain.ui.handlers.base import Handlers
from regrain.ui.handlers.clip_handlers import SettingHandlers
from regrain.ui.views.model_views import addons_view, local_view
from regrain.ui.work.catalogue import Catalogue


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))
    return folder


def write(path):
    path.parent.mkdir(exist_ok=True)
    save_file({"a": torch.zeros(2)}, path)


def test_files_that_are_added_while_it_runs_are_offered(models, tmp_path):
    known = Catalogue({}, tmp_path)
    assert known.models == [BUILT_IN_MODEL]
    assert not known.changed
    write(models / "loras" / "ink.safetensors")
    write(models / "motion" / "v2.safetensors")
    write(models / "mine.safetensors")
    assert known.changed
    assert known.loras == ["loras/ink"]
    assert "motion/v2" in known.motions
    assert known.model("mine.safetensors") == "mine.safetensors"
    write(models / "loras" / "oil.safetensors")  # into a folder that is there
    assert known.loras == ["loras/ink", "loras/oil"]
    known.add("models", "owner/name")
    os.unlink(models / "mine.safetensors")
    assert known.models == [BUILT_IN_MODEL, "owner/name"]
    with pytest.raises(RequestError, match="was not found"):
        known.model("mine.safetensors")


def test_the_built_in_motion_is_offered_with_the_built_in_model_alone(models, tmp_path):
    known = Catalogue({}, tmp_path)
    write(models / "motion" / "v2.safetensors")
    shown = addons_view(known, [], BUILT_IN_MODEL).motions
    assert shown == ["storybook/motion", "motion/v2"]
    assert addons_view(known, [], "sd15").motions == ["motion/v2"]


def test_a_vace_is_listed_with_its_own_needs(
    models, vace_folder, wan_folder, monkeypatch
):
    """Not with those of the family with whose name its own begins."""
    free = "regrain.editing.storage.memory.free_memory"
    monkeypatch.setattr(free, lambda *_: 32 << 30)
    needs = {need.family: need for need in NEEDS}
    for family, folder in (("Wan 2.1 VACE", vace_folder), ("Wan 2.1", wan_folder)):
        (models / folder.name).symlink_to(folder)
        (listed,) = local_view([folder.name])
        fits = f"{needs[family].fits()} into memory at 480 px (estimate)"
        assert listed.facts == f"{family}, {fits}"
    vace, wan = (needs[family] for family in ("Wan 2.1 VACE", "Wan 2.1"))
    assert vace.memory(81) > wan.memory(81)


def test_a_vace_looks_at_pictures_by_its_own_method_alone(
    vace_folder, models, tmp_path
):
    (models / "vace").symlink_to(vace_folder)
    catalogue = Catalogue({}, tmp_path)
    assert catalogue.blind("vace", "vace") == {}
    said = "With this model, the method VACE looks at pictures."
    assert catalogue.blind("vace", "flow_regions") == {"text": said, "ask": ""}
    assert catalogue.seeing("vace", "vace", "chosen") == ""
    assert catalogue.seeing("vace", "flow_regions", "chosen") == "chosen"


@pytest.mark.parametrize("content", [b"broken!", b"", b"\x02\0\0\0\0\0\0\0{}"[:9]])
def test_a_broken_file_is_noticed_when_it_is_listed_and_chosen(
    models, tmp_path, content
):
    file = models / "broken.safetensors"
    file.write_bytes(content)
    (listed,) = local_view(["broken.safetensors"])
    assert "damaged" in listed.facts
    known = Catalogue({}, tmp_path)
    with pytest.raises(ModelError, match=r"broken\.safetensors.* damaged"):
        known.model("broken.safetensors")
    write(file)
    os.utime(file, ns=(1, 1))
    assert known.model("broken.safetensors") == "broken.safetensors"
    assert "damaged" not in local_view(["broken.safetensors"])[0].facts


def test_a_file_that_was_cut_short_is_noticed(models, tmp_path):
    file = models / "short.safetensors"
    save_file({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ModelError, match="is damaged"):
        Catalogue({}, tmp_path).model("short.safetensors")


def test_the_built_in_lora_is_allowed_with_the_built_in_model_alone(models, tmp_path):
    known = Catalogue({}, tmp_path)
    clip = black(1, 8, 8)
    quick = EditRequest(clip, None, (), loras=(BUILT_IN_FAST,))
    known.check(quick)
    assert known.loras_of([f"{BUILT_IN_FAST}@0.5", "ink"]) == [f"{BUILT_IN_FAST}@0.5"]
    write(models / "mine.safetensors")
    for request in (
        replace(quick, model="mine.safetensors"),
        replace(quick, loras=("ink",)),
    ):
        with pytest.raises(RequestError, match="was not found"):
            known.check(request)


def test_readers_are_folders_of_their_own_and_others_are_refused(models, tmp_path):
    known = Catalogue({}, tmp_path)
    (models / "readers" / "clip").mkdir(parents=True)
    known.add("readers", "owner/clip")
    assert [name for name in known.readers if name != "storybook/reader"] == [
        "readers/clip",
        "owner/clip",
    ]
    assert addons_view(known, []).readers == known.readers
    asked = EditRequest(black(1, 8, 8), None, (), reader="readers/clip")
    known.check(asked)
    with pytest.raises(RequestError, match="^reader: 'readers/other' was not found"):
        known.check(replace(asked, reader="readers/other"))


def test_a_model_that_does_not_say_what_it_predicts_is_known(models, tmp_path):
    known = Catalogue({}, tmp_path)
    for name, names, metadata in (
        ("silent", ["a"], None),
        ("v", ["a", "v_pred"], None),
        ("spec", ["a"], {"modelspec.prediction_type": "epsilon"}),
    ):
        tensors = {key: torch.zeros(2) for key in names}
        save_file(tensors, models / f"{name}.safetensors", metadata)
    for name, said in (("bare", {}), ("said", {"prediction_type": "epsilon"})):
        for part, content in (("unet", {}), ("scheduler", said)):
            (models / name / part).mkdir(parents=True)
            file = "config.json" if part == "unet" else "scheduler_config.json"
            write_json(models / name / part / file, content)
    known.add("models", "owner/name")
    silent = {name for name in known.models if known.is_silent(name)}
    assert silent == {"silent.safetensors", "bare"}
    assert not known.is_silent("not here")


def test_a_choice_of_what_a_model_predicts_is_shown_where_it_does_not_say(
    models, tmp_path
):
    write(models / "mine.safetensors")
    handlers = Handlers(Catalogue({}, tmp_path), None, None, None)
    shown = handlers.prediction("mine.safetensors", "v_prediction")
    assert (shown["visible"], shown["value"]) == (True, "v_prediction")
    hidden = handlers.prediction(BUILT_IN_MODEL, "v_prediction")
    assert (hidden["visible"], hidden["value"]) == (False, "")
    kept = handlers.prediction("mine.safetensors", None)
    assert kept["visible"]
    assert "value" not in kept


def test_choosing_a_model_shows_and_empties_what_it_predicts(
    models, tmp_path, monkeypatch
):
    write(models / "mine.safetensors")
    write(models / "other.safetensors")
    parts = SimpleNamespace(prediction="prediction", useless="useless")
    handlers = SettingHandlers(Catalogue({}, tmp_path), None, None, parts)
    session = SimpleNamespace(
        filled="mine.safetensors", method="videograin", lock=nullcontext()
    )
    monkeypatch.setattr(SettingHandlers, "session", lambda *_: session)
    for name in ("_notice", "_filled", "added", "cards", "method"):
        monkeypatch.setattr(SettingHandlers, name, lambda *_: {})
    choose = partial(handlers.choose_model, None)
    kept = choose("mine.safetensors", [])["prediction"]
    assert kept["visible"]
    assert "value" not in kept  # that of the project
    assert choose("other.safetensors", [])["prediction"]["value"] == ""
    assert not choose(BUILT_IN_MODEL, [])["prediction"]["visible"]


def test_another_method_comes_with_its_additions(tmp_path, monkeypatch):
    handlers = SettingHandlers(Catalogue({}, tmp_path), None, None, None)
    session = SimpleNamespace(method="infedit", lock=nullcontext())
    monkeypatch.setattr(SettingHandlers, "session", lambda *_: session)
    monkeypatch.setattr(SettingHandlers, "method", lambda *_: {})
    monkeypatch.setattr(SettingHandlers, "cards", lambda *_: {})
    chosen = SimpleNamespace(_data={"name": "videograin"})
    monkeypatch.setattr(clip_handlers, "event_data", lambda event: event._data)
    shown = handlers.switch([BUILT_IN_FAST, "ink"], BUILT_IN_MODEL, chosen, None)
    assert shown["added"] == ["ink", BUILT_IN_MOTION]
    assert [one.name for one in shown["addons"].chosen] == ["ink", BUILT_IN_MOTION]
    assert session.method == "videograin"


def test_a_method_begins_with_what_is_asked_or_usual_of_the_model(tmp_path):
    catalogue = Catalogue({}, tmp_path)
    asked = Edit(method="videograin", params={"steps": 7})
    usual = catalogue.usual(BUILT_IN_MODEL, asked)
    assert usual["videograin"]["steps"] == 7
    assert usual["infedit"]["shown"] == "grey"
    assert usual["infedit"]["guidance_scale"] == 1.0  # with its LoRA for few steps
    alone = catalogue.usual(BUILT_IN_MODEL, Edit(method="infedit"))
    assert alone["infedit"]["guidance_scale"] != 1.0
