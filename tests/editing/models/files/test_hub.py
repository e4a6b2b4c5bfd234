"""Models of a hub on this machine: fetched where there is room, refused where they are
damaged or not allowed."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fake_hub import reach, serve_hub
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import close_session
from json_files import write_json
from made_models import write_small_model
from safetensors.torch import load_file

from regrain.editing.errors import ModelError
from regrain.editing.models.files.hub import allowed, fetch, is_here, may_fetch
from regrain.editing.models.loading.load import load_backbone

ID = "owner/fine-model"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub with one Stable Diffusion, and an empty cache."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = write_small_model(tmp_path / "there")
    index = {
        "text_encoder": ["transformers", "CLIPTextModel"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder_2": [None, None],
    }
    write_json(folder / "model_index.json", index)
    with serve_hub(folder, ID) as (hub, address):
        reach(monkeypatch, address)
        yield hub


def test_without_network_or_a_network_the_error_says_so(served, monkeypatch):
    for weights in (served.folder / "unet").glob("*.safetensors"):
        weights.rename(weights.with_suffix(".bin"))
    said = "has no UNet in safetensors, and no transformer"
    with pytest.raises(ModelError, match=said):
        fetch(ID)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        fetch(ID)


def test_a_space_fetches_only_what_is_allowed(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert allowed() is None
    assert may_fetch("owner/other")
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert allowed() == ()
    with pytest.raises(ModelError, match="may not be fetched here. Use storybook."):
        fetch(ID)
    monkeypatch.setenv("REGRAIN_ALLOWED_MODELS", f"{ID}, owner/two")
    assert allowed() == (ID, "owner/two")
    assert may_fetch(ID)
    with pytest.raises(ModelError, match=f"Choose one of {ID}, owner/two."):
        fetch("owner/other")


def test_what_is_not_needed_is_not_fetched(served):
    files = [file for file in served.folder.rglob("*") if file.is_file()]
    wanted = sum(file.stat().st_size for file in files)
    (served.folder / "unet" / "x.bin").write_bytes(b"pickle")
    (served.folder / "README.md").write_text("any")
    (served.folder / "safety_checker").mkdir()
    (served.folder / "safety_checker" / "model.safetensors").write_bytes(b"any")
    *_, last = fetch(ID)
    assert last.done == last.total == wanted
    assert not any(path.endswith((".bin", ".md")) for path in served.asked)


def test_what_is_damaged_is_refused_and_fetched_anew(served):
    file = served.folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(b"<html>not here</html>")
    with pytest.raises(ModelError, match="safetensors.* is a web page"):
        list(fetch(ID))
    blobs = Path(constants.HF_HUB_CACHE).glob("*/blobs/*")
    assert b"<html>not here</html>" not in [blob.read_bytes() for blob in blobs]
    assert not is_here(ID)
    file.write_bytes(whole)
    list(fetch(ID))
    assert is_here(ID)
    fetched = try_to_load_from_cache(ID, "unet/diffusion_pytorch_model.safetensors")
    assert Path(fetched).read_bytes() == whole


def test_half_precision_is_fetched_where_there_is_nothing_else(served, monkeypatch):
    plain = served.folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = plain.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(plain, half)
    list(fetch(ID))
    assert not any("fp16" in path for path in served.asked)
    plain.unlink()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(served.folder / "empty"))
    list(fetch(ID))
    fetched = sum("fp16" in path for path in served.asked)
    assert fetched > 0
    model = load_backbone(ID)
    assert torch.equal(model.unet.conv_in.bias, load_file(half)["conv_in.bias"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_backbone(ID) is model


def test_without_room_nothing_is_fetched(served, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        ModelError, match=f"'{ID}' needs .* GB are free. Make room, or set HF_HOME"
    ):
        list(fetch(ID))
    assert not any("resolve" in path for path in served.asked)


@pytest.mark.full
def test_what_was_complete_when_a_fetch_stopped_is_kept(served):
    served.hold.clear()
    steps = fetch(ID)
    for _ in steps:
        # of 1 MB, in two parts
        if any("text_encoder/model" in path for path in served.asked):
            break
    stopped = [next(steps) for _ in range(3)][-1]
    steps.close()
    assert not is_here(ID)
    served.hold.set()
    served.asked.clear()
    first, *_, last = fetch(ID)
    assert 0 < stopped.done == first.done < first.total
    assert last.done == last.total
    assert is_here(ID)
    assert any("text_encoder/model" in path for path in served.asked)
    assert not any("model_index.json" in path for path in served.asked)


@pytest.mark.parametrize("named", ["nowhere.pem", "there"])
def test_certificates_that_are_not_there_are_named(
    served, tmp_path, monkeypatch, named
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / named))  # the second is a folder
    close_session()
    said = r"\(\$SSL_CERT_FILE names no file: correct it, or unset it\)"
    with pytest.raises(ModelError, match=said):
        fetch(ID)
    monkeypatch.delenv("SSL_CERT_FILE")
    *_, last = fetch(ID)
    assert last.done
