"""Models of a hub on this machine: listed, fetched where there is room, refused where they are damaged."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import write_small_model
from fake_hub import reach, serve_hub
from huggingface_hub import constants, try_to_load_from_cache
from made_motion import write_adapter

from regrain.editing.errors import ModelError
from regrain.editing.models.load import load_backbone
from regrain.editing.models.loading.hub import MOTION, describe, fetch, search
from regrain.editing.models.motion_modules import load_motion

ID = "owner/fine-model"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub with one Stable Diffusion, and an empty cache."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    tags = ["diffusers", "diffusers:StableDiffusionPipeline"]
    with serve_hub(write_small_model(tmp_path / "there"), ID, tags) as (hub, address):
        reach(monkeypatch, address)
        yield hub


def test_what_the_hub_offers_is_told_by_family_size_licence_and_terms(served, monkeypatch):
    served.gated = "manual"
    (found,) = search("")
    assert (found.id, found.family, found.licence, found.gated) == (ID, "Stable Diffusion", "mit", True)
    assert found.size == sum((served.folder / name).stat().st_size for name in found.files) > 0
    assert [one.id for one in search("fine-model")] == [ID]
    assert search("another") == []
    served.tags = ["diffusers:StableDiffusionXLImg2ImgPipeline"]
    assert search("") == []
    with pytest.raises(ModelError, match="is for diffusers' StableDiffusionXLImg2ImgPipeline. Choose"):
        describe(ID)
    served.status = 500
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client asks again, later each time
    with pytest.raises(ModelError, match="^model: "):
        search("")


def test_what_was_complete_when_a_fetch_stopped_is_kept(served):
    served.hold.clear()
    steps = fetch(describe(ID))
    for _ in steps:
        if any("text_encoder/model" in path for path in served.asked):  # of 1 MB, in two parts
            break
    steps.close()
    served.hold.set()
    served.asked.clear()
    *_, last = fetch(describe(ID))
    assert last.done == last.total == describe(ID).size
    assert any("text_encoder/model" in path for path in served.asked)
    assert not any("model_index.json" in path for path in served.asked)


def test_what_is_damaged_is_refused_and_fetched_anew(served):
    file = served.folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(b"<html>not here</html>")
    with pytest.raises(ModelError, match="safetensors.* is damaged"):
        list(fetch(describe(ID)))
    file.write_bytes(whole)
    list(fetch(describe(ID)))
    fetched = try_to_load_from_cache(ID, "unet/diffusion_pytorch_model.safetensors")
    assert Path(fetched).read_bytes() == whole


def test_without_room_nothing_is_fetched(served, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=f"'{ID}' needs .* GB are free. Make room, or set HF_HOME"):
        list(fetch(describe(ID)))
    assert not any("resolve" in path for path in served.asked)


def test_a_motion_adapter_is_found_and_fetched_to_where_it_is_loaded_from(served, monkeypatch, tmp_path):
    backbone = load_backbone(str(served.folder))
    served.folder, served.tags = tmp_path / "motion", []
    adapter = write_adapter(served.folder, backbone.unet)
    (served.folder / "README.md").write_text("not fetched")
    assert search("") == []  # by words alone: its id names no motion adapter
    (found,) = search("fine")
    assert (found.family, found.licence) == (MOTION, "mit")
    assert sorted(found.files) == ["config.json", "diffusion_pytorch_model.safetensors"]
    list(fetch(found))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    motion = load_motion(ID, backbone)
    assert sum(w.numel() for own in motion.modules.values() for w in own.values()) == adapter.num_parameters()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    (served.folder / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    with pytest.raises(ModelError, match="has no UNet in safetensors, and no transformer"):
        describe(ID)
