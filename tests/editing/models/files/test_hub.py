"""Models of a hub on this machine: listed, fetched where there is room, refused where
they are damaged."""

import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_hub import reach, serve_hub
from huggingface_hub import ModelInfo, constants, try_to_load_from_cache
from made_models import loaded, write_small_model
from made_motion import write_adapter
from made_pictures import (
    PROJECTED,
    write_encoder,
    write_picture,
    write_picture_adapter,
    write_reader,
)
from safetensors.torch import load_file, save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.files.hub import (
    MOTION,
    PICTURES,
    READER,
    _Repository,
    describe,
    fetch,
    reachable,
    search,
)
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.files.picture_heads import PUBLISHED
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.editing.models.unet.motion_modules import load_motion
from regrain.editing.verdict.crop_reader import CropReader

ID = "owner/fine-model"
PLUS, XL = (
    "models/ip-adapter-plus_sd15.safetensors",
    "sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub with one Stable Diffusion, and an empty cache."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    tags = ["diffusers", "diffusers:StableDiffusionPipeline"]
    with serve_hub(write_small_model(tmp_path / "there"), ID, tags) as (hub, address):
        reach(monkeypatch, address)
        yield hub


def test_whether_the_hub_answers_is_known_in_time(served, monkeypatch):
    assert reachable()
    served.status = 503  # it does answer
    assert reachable()
    with socket.socket() as silent:  # takes the connection, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(
            constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        began = time.monotonic()
        assert not reachable(0.2)
        assert time.monotonic() - began < 2
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not reachable()


def test_what_the_hub_offers_is_told_by_family_size_licence_and_terms(
    served, monkeypatch
):
    served.gated = "manual"
    (found,) = search("")
    assert (found.id, found.family, found.licence, found.gated) == (
        ID,
        "Stable Diffusion",
        "mit",
        True,
    )
    assert (
        found.size
        == sum((served.folder / name).stat().st_size for name in found.files)
        > 0
    )
    assert [one.id for one in search("fine-model")] == [ID]
    assert search("another") == []
    served.tags = ["diffusers:StableDiffusionXLImg2ImgPipeline"]
    assert search("") == []
    with pytest.raises(
        ModelError, match="is for diffusers' StableDiffusionXLImg2ImgPipeline. Choose"
    ):
        describe(ID)
    served.status = 500
    monkeypatch.setattr(
        "time.sleep", lambda seconds: None
    )  # the client asks again, later each time
    with pytest.raises(ModelError, match="^model: "):
        search("")


@pytest.mark.full
def test_what_was_complete_when_a_fetch_stopped_is_kept(served):
    served.hold.clear()
    steps = fetch(describe(ID))
    for _ in steps:
        # of 1 MB, in two parts
        if any("text_encoder/model" in path for path in served.asked):
            break
    stopped = [next(steps) for _ in range(3)][-1]
    steps.close()
    served.hold.set()
    served.asked.clear()
    first, *_, last = fetch(describe(ID))
    assert 0 < stopped.done == first.done < first.total
    assert last.done == last.total == describe(ID).size
    assert any("text_encoder/model" in path for path in served.asked)
    assert not any("model_index.json" in path for path in served.asked)


@pytest.mark.parametrize(
    ("id", "title", "family"),
    [
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan 2.1", "Wan 2.1"),
        ("Wan-AI/Wan2.1-T2V-14B-Diffusers", "Wan 2.1", "Wan 2.1, 14B by its name"),
        (
            "Wan-AI/Wan2.1-VACE-14B-diffusers",
            "Wan 2.1 VACE",
            "Wan 2.1 VACE, 14B by its name",
        ),
        ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Wan 2.1", "Wan 2.2 by its name"),
        ("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan 2.1", "Wan 2.2 5B by its name"),
        (
            "linoyts/Wan2.2-VACE-Fun-14B-diffusers",
            "Wan 2.1 VACE",
            "Wan 2.2 VACE by its name",
        ),
        ("owner/some-5b", "SDXL", "SDXL"),
        ("owner/any", "", ""),
    ],
)
def test_a_wan_is_told_by_its_name(id, title, family):
    """By which memory is planned."""
    assert (
        _Repository(id, ModelInfo(id=id, siblings=[], tags=[]))._family(title) == family
    )


def test_what_is_damaged_is_refused_and_fetched_anew(served):
    file = served.folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(b"<html>not here</html>")
    with pytest.raises(ModelError, match="safetensors.* is a web page"):
        list(fetch(describe(ID)))
    file.write_bytes(whole)
    list(fetch(describe(ID)))
    fetched = try_to_load_from_cache(ID, "unet/diffusion_pytorch_model.safetensors")
    assert Path(fetched).read_bytes() == whole


def test_half_precision_is_listed_and_fetched_where_there_is_nothing_else(
    served, monkeypatch
):
    plain = served.folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = plain.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(plain, half)
    assert not any("fp16" in name for name in describe(ID).files)
    plain.unlink()
    found = describe(ID)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in found.files
    model = load_backbone(ID)
    assert torch.equal(model.unet.conv_in.bias, load_file(half)["conv_in.bias"])
    assert sum("fp16" in path for path in served.asked) > 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_backbone(ID) is model


def test_without_room_nothing_is_fetched(served, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        ModelError, match=f"'{ID}' needs .* GB are free. Make room, or set HF_HOME"
    ):
        list(fetch(describe(ID)))
    assert not any("resolve" in path for path in served.asked)


def test_a_motion_adapter_is_found_and_fetched_to_where_it_is_loaded_from(
    served, monkeypatch, tmp_path
):
    backbone = loaded(served.folder)
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
    assert (
        sum(w.numel() for own in motion.modules.values() for w in own.values())
        == adapter.num_parameters()
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    (served.folder / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    with pytest.raises(
        ModelError, match="has no UNet in safetensors, and no transformer"
    ):
        describe(ID)


@pytest.mark.full
def test_a_clip_model_is_offered_and_taken_from_the_hub(served, tmp_path):
    served.folder = write_reader(tmp_path / "clip", rule={"margin": 0.5})
    (served.folder / "pytorch_model.bin").write_bytes(b"pickle")
    served.tags = []
    (found,) = search(ID)
    assert found.family == READER
    assert {*found.files} == {file.name for file in served.folder.iterdir()} - {
        "pytorch_model.bin"
    }
    for _ in fetch(found):
        pass
    reader = CropReader(ID)
    assert reader.rule.margin == 0.5
    crop = np.zeros((9, 9, 3), np.uint8)
    assert reader.cosines([crop], ["a", "b"], torch.device("cpu")).shape == (1, 2)


@pytest.fixture
def offered(served, tmp_path):
    """The hub with picture adapters as the published ones lie, some of which cannot be
    used."""
    backbone = loaded(served.folder)
    served.folder, served.tags, served.repository = tmp_path / "pictures", [], PUBLISHED
    write_encoder(served.folder / "models")
    other = (
        write_encoder(served.folder / "sdxl_models") / "image_encoder" / "config.json"
    )
    other.write_text(
        other.read_text().replace(
            f'"projection_dim": {PROJECTED}', '"projection_dim": 9'
        )
    )
    for name, kind in ((PLUS, "plus"), (XL, "plain")):
        write_picture_adapter(served.folder / name, backbone.unet, kind)
    keys = {
        f"image_proj.{name}.weight": torch.zeros(2, 2) for name in ("norm", "proj.0")
    }
    save_file(keys, served.folder / "models" / "ip-adapter-faceid_sd15.safetensors")
    (served.folder / "models" / "ip-adapter_sd15.bin").write_bytes(b"pickle")
    (served.folder / "models" / "ip-adapter-cut.safetensors").write_text(
        "<html>not here</html>"
    )
    served.backbone = backbone
    return served


def test_picture_adapters_are_offered_with_their_encoders(
    offered, tmp_path, monkeypatch
):
    found = search(PUBLISHED)
    assert [one.id for one in found] == [f"{PUBLISHED}/{name}" for name in (PLUS, XL)]
    encoder = [
        f"models/image_encoder/{name}" for name in ("config.json", "model.safetensors")
    ]
    for one, name in zip(
        found, (PLUS, XL), strict=True
    ):  # the one beside the second is of another width
        assert sorted(one.files) == sorted([*encoder, name])
    assert {(one.family, one.licence, one.repository) for one in found} == {
        (PICTURES, "mit", PUBLISHED)
    }
    assert found[0].size == sum(
        (offered.folder / name).stat().st_size for name in found[0].files
    )
    assert [one.id for one in search("IP-Adapter")] == [one.id for one in found]
    for file, said in (
        ("ip-adapter-faceid_sd15.safetensors", "InsightFace"),
        ("ip-adapter-cut.safetensors", "is damaged or not a .safetensors file"),
        ("ip-adapter_sd15.bin", "in safetensors. Choose another file"),
        ("no.safetensors", "has no .*no.safetensors"),
        ("image_encoder/model.safetensors", "is not a picture adapter"),
    ):
        with pytest.raises(ModelError, match=said):
            describe(f"{PUBLISHED}/models/{file}")
    *_, last = fetch(found[0])
    assert last.done == last.total == found[0].size
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert PictureFile(found[0].id, fetch=False).encoder.parts[-2:] == (
        "models",
        "image_encoder",
    )
    asked = [PictureSpec("", 0, write_picture(tmp_path / "a.png"), None, "picture")]
    assert len(load_pictures(found[0].id, asked, offered.backbone).seen) == 1


def test_a_picture_adapter_without_its_encoder_is_not_offered(offered, monkeypatch):
    monkeypatch.setenv("REGRAIN_ALLOWED_MODELS", f"{PUBLISHED}/{XL}")
    assert [one.id for one in search("")] == [f"{PUBLISHED}/{XL}"]
    with pytest.raises(ModelError, match="may not be fetched here"):
        search(PUBLISHED)
    (offered.folder / "models" / "image_encoder" / "model.safetensors").unlink()
    with pytest.raises(
        ModelError,
        match=f"no image_encoder/ beside it that gives {PROJECTED} numbers in s",
    ):
        describe(f"{PUBLISHED}/{XL}")
