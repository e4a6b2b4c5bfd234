"""What a page may choose, while files come and go."""

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
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
from regrain.ui.handlers import clip_handlers
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.values.fields import Fields
from regrain.ui.values.known_models import KNOWN
from regrain.ui.views import settings
from regrain.ui.views.model_views import addons_view
from regrain.ui.work.catalogue import Catalogue


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The folder of models of one's own machine, to which nothing was fetched."""
    for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
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
    os.unlink(models / "mine.safetensors")
    assert known.models == [BUILT_IN_MODEL]
    with pytest.raises(RequestError, match="was not found"):
        known.model("mine.safetensors")


def test_the_built_in_motion_is_offered_with_the_built_in_model_alone(models, tmp_path):
    known = Catalogue({}, tmp_path)
    write(models / "motion" / "v2.safetensors")
    shown = addons_view(known, [], BUILT_IN_MODEL).motions
    assert shown == ["storybook/motion", "motion/v2"]
    assert addons_view(known, [], "sd15").motions == ["motion/v2"]


def test_a_vace_looks_at_pictures_by_its_own_method_alone(
    vace_folder, models, tmp_path
):
    (models / "vace").symlink_to(vace_folder)
    catalogue = Catalogue({}, tmp_path)
    assert catalogue.blind("vace", "vace") == ""
    said = "With this model, the method VACE looks at pictures."
    assert catalogue.blind("vace", "flow_regions") == said
    assert catalogue.seeing("vace", "vace", "chosen") == ""
    assert catalogue.seeing("vace", "flow_regions", "chosen") == "chosen"


@pytest.mark.parametrize("content", [b"broken!", b"", b"\x02\0\0\0\0\0\0\0{}"[:9]])
def test_a_broken_file_is_noticed_when_it_is_chosen(models, tmp_path, content):
    file = models / "broken.safetensors"
    file.write_bytes(content)
    known = Catalogue({}, tmp_path)
    with pytest.raises(ModelError, match=r"broken\.safetensors.* damaged"):
        known.model("broken.safetensors")
    write(file)
    os.utime(file, ns=(1, 1))
    assert known.model("broken.safetensors") == "broken.safetensors"


def cached(id, **more):
    """Make it seem that a Stable Diffusion was fetched from the hub."""
    folder = Path(constants.HF_HUB_CACHE, f"models--{id.replace('/', '--')}")
    unet = folder / "snapshots" / "0" / "unet"
    unet.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    write_json(unet / "config.json", {"cross_attention_dim": 768} | more)
    save_file({"a": torch.zeros(2)}, unet / "diffusion_pytorch_model.safetensors")


@pytest.mark.usefixtures("models")
def test_a_model_of_the_hub_is_chosen_once_it_was_fetched(tmp_path, monkeypatch):
    known = Catalogue({}, tmp_path)
    other = "owner/other"
    for id in (KNOWN[0].id, other):
        assert known.lacks_files(id)
        with pytest.raises(RequestError, match="is not on this machine yet. Fetch"):
            known.model(id)
        cached(id)
        assert not known.lacks_files(id)
        assert known.model(id) == id
        assert known.lacks(id).keys() == {"flow_regions", "vace", "instruct_pix2pix"}
    assert known.models == [BUILT_IN_MODEL, KNOWN[0].id]
    monkeypatch.setenv("REGRAIN_ALLOWED_MODELS", other)
    assert known.models == [BUILT_IN_MODEL]
    assert known.is_usable(other)
    for id in (KNOWN[0].id, KNOWN[1].id):
        assert not known.lacks_files(id)
        with pytest.raises(RequestError, match="was not found"):
            known.model(id)


@pytest.mark.usefixtures("models")
def test_published_models_that_see_the_source_are_told_what_to_do(tmp_path):
    """The built-in one edits by what sees, too, but is told what is seen."""
    known = Catalogue({}, tmp_path)
    assert not known.instructs(BUILT_IN_MODEL)
    assert "instruct_pix2pix" not in known.lacks(BUILT_IN_MODEL)
    cached("owner/seeing", in_channels=8)
    assert known.instructs("owner/seeing")
    assert not known.lacks("owner/seeing").keys() & {"instruct_pix2pix", "infedit"}
    assert "videograin" in known.lacks("owner/seeing")


def test_a_path_is_taken_on_ones_own_machine_alone(
    models, tiny_folder, tmp_path, monkeypatch
):
    known = Catalogue({}, tmp_path)
    write(tmp_path / "apart" / "lora.safetensors")
    assert known.model(str(tiny_folder)) == str(tiny_folder)
    for path, said in (
        (tmp_path, "has no unet/config.json"),
        (tmp_path / "apart" / "lora.safetensors", "has no UNet"),
        (tmp_path / "gone", "was not found"),
    ):
        with pytest.raises(ModelError, match=said):
            known.model(str(path))
    monkeypatch.chdir(tiny_folder.parent)
    for name in (tiny_folder.name, "nothing like it", ""):
        with pytest.raises(RequestError, match="was not found"):
            known.model(name)
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    with pytest.raises(RequestError, match="was not found"):
        known.model(str(tiny_folder))


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
    assert [name for name in known.readers if name != "storybook/reader"] == [
        "readers/clip",
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
    silent = {name for name in known.models if known.is_silent(name)}
    assert silent == {"silent.safetensors", "bare"}
    assert not known.is_silent("not here")


def test_a_choice_of_what_a_model_predicts_is_shown_where_it_does_not_say(
    models, tmp_path
):
    write(models / "mine.safetensors")
    known = Catalogue({}, tmp_path)
    fields = Fields("mine.safetensors", [], prediction="v_prediction")
    shown = settings.view(known, "videograin", fields)
    assert (shown.silent, shown.prediction) == (True, "v_prediction")
    assert not settings.view(known, "videograin", Fields()).silent


def test_choosing_a_model_shows_its_settings_and_empties_what_it_predicts(
    models, tmp_path, monkeypatch
):
    write(models / "mine.safetensors")
    write(models / "other.safetensors")
    handlers = ClipHandlers(Catalogue({}, tmp_path), None, None, None, None)
    asked = Edit(method="videograin", params={"steps": 7}, prediction="sample")
    session = SimpleNamespace(
        filled="mine.safetensors",
        method="videograin",
        lock=nullcontext(),
        opened=SimpleNamespace(request=SimpleNamespace(asked=asked)),
    )
    monkeypatch.setattr(ClipHandlers, "session", lambda *_: session)
    for name in ("_notice", "cards"):
        monkeypatch.setattr(ClipHandlers, name, lambda *_: {})
    said = {"seed": 4, "prediction": "epsilon", "given": {"videograin": {"steps": 9}}}
    choose = partial(handlers.choose_model, None)
    asked = choose("owner/other", [], said)
    assert asked["hub"].id == "owner/other"
    assert session.filled == "mine.safetensors"
    assert choose("nothing like it", [], said) == {}
    # it came with values of its own
    assert "settings" not in choose("mine.safetensors", [], said)
    shown = choose("other.safetensors", [], said)["settings"]
    assert (shown.prediction, shown.seed) == ("", 4)
    assert shown.given == {"videograin": {"steps": 7}}  # the project's


def test_another_method_comes_with_its_additions(tmp_path, monkeypatch):
    handlers = ClipHandlers(Catalogue({}, tmp_path), None, None, None, None)
    session = SimpleNamespace(method="instruct_pix2pix", lock=nullcontext())
    monkeypatch.setattr(ClipHandlers, "session", lambda *_: session)
    monkeypatch.setattr(ClipHandlers, "cards", lambda *_: {})
    chosen = SimpleNamespace(_data={"name": "videograin"})
    monkeypatch.setattr(clip_handlers, "event_data", lambda event: event._data)
    said = {"given": {"instruct_pix2pix": {"cuts": "2", "steps": 3}}}
    added = [BUILT_IN_FAST, "ink"]
    shown = handlers.switch(chosen, None, BUILT_IN_MODEL, added, said)
    assert shown["added"] == ["ink", BUILT_IN_MOTION]
    assert [one.name for one in shown["addons"].chosen] == ["ink", BUILT_IN_MOTION]
    assert session.method == "videograin"
    assert shown["settings"].given["videograin"] == {"cuts": "2"}
    # another at once, before the page has heard of the first
    chosen._data = {"name": "sdedit", "before": "instruct_pix2pix"}
    shown = handlers.switch(chosen, None, BUILT_IN_MODEL, added, said)
    assert BUILT_IN_FAST not in shown["added"]
    assert shown["settings"].given["sdedit"] == {"cuts": "2"}
