"""What a page may choose, while files come and go."""

import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.models.files.location import BUILT_IN_FAST, BUILT_IN_MODEL
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.views.catalogue import Catalogue
from regrain.ui.views.model_views import addons_view, local_view


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
    shown = addons_view(known, [], BUILT_IN_MODEL)["motions"]
    assert shown == ["storybook/motion", "motion/v2"]
    assert addons_view(known, [], "sd15")["motions"] == ["motion/v2"]


@pytest.mark.parametrize("content", [b"broken!", b"", b"\x02\0\0\0\0\0\0\0{}"[:9]])
def test_a_broken_file_is_noticed_when_it_is_listed_and_chosen(
    models, tmp_path, content
):
    file = models / "broken.safetensors"
    file.write_bytes(content)
    (listed,) = local_view(["broken.safetensors"])
    assert "damaged" in listed["facts"]
    known = Catalogue({}, tmp_path)
    with pytest.raises(ModelError, match=r"broken\.safetensors.* damaged"):
        known.model("broken.safetensors")
    write(file)
    os.utime(file, ns=(1, 1))
    assert known.model("broken.safetensors") == "broken.safetensors"
    assert "damaged" not in local_view(["broken.safetensors"])[0]["facts"]


def test_a_file_that_was_cut_short_is_noticed(models, tmp_path):
    file = models / "short.safetensors"
    save_file({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ModelError, match="damaged or incomplete"):
        Catalogue({}, tmp_path).model("short.safetensors")


def test_the_built_in_lora_is_allowed_with_the_built_in_model_alone(models, tmp_path):
    known = Catalogue({}, tmp_path)
    clip = ArrayClip(np.zeros((1, 8, 8, 3), np.uint8), Fraction(8))
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
