"""Adapters on the command line and in projects."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import change, command, last_error
from tuning_runs import clip, learned, request

from regrain.editing import (
    EditingError,
    EditRequest,
    load_adapter,
    load_project,
    save_adapter,
    save_project,
)
from regrain.editing.__main__ import main
from regrain.editing.models.adapters import read_facts
from regrain.editing.models.loading import load
from regrain.editing.request.runnable import adapter_facts

call = command(main)
pytestmark = pytest.mark.usefixtures("own_cache")
QUICK = ("--set", "tune_steps=3", "--set", "tune_preview_every=0")


@pytest.fixture
def project(tmp_path) -> Path:
    asked = EditRequest(
        clip(), None, (), source_prompt="a cat", prompt="a fox", method="tune_a_video"
    )
    save_project(asked, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def file(small, tmp_path) -> Path:
    save_adapter(
        learned(small, request(source_prompt="a cat"), tune_steps=0),
        tmp_path / "clip.safetensors",
    )
    return tmp_path / "clip.safetensors"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "new" / "walk.safetensors"


@pytest.fixture
def tune(project, small_folder, out):
    """The command, with a small model and few steps."""
    return lambda *options: call(
        "tune", project, "-o", out, "--model", small_folder, *QUICK, *options
    )


def test_tune_of_no_steps_has_no_losses_to_tell(tune, out, capsys):
    assert tune("--set", "tune_steps=0") == 0
    assert "nan" not in capsys.readouterr().out
    facts = read_facts(out)
    assert (facts.name, facts.steps) == ("walk", 0)
    assert list(out.parent.iterdir()) == [out]


def test_tune_uses_the_type_and_the_method_given(tune, project, out, watched):
    asked = watched(load, "load_backbone")
    change(project, method="fatezero", params={"cross_until": 0.5})
    assert tune("--dtype", "bfloat16") == 0
    assert [how["dtype"] for _, how in asked] == [torch.bfloat16]
    weights = load_adapter(out).weights.values()
    assert {weight.dtype for weight in weights} == {torch.float32}


def test_tune_refuses_a_folder_it_cannot_write(tune, monkeypatch, capsys):
    access = os.access
    locked = lambda path, mode: mode != os.W_OK and access(path, mode)  # noqa: E731
    monkeypatch.setattr("os.access", locked)
    assert tune() == 2
    assert last_error(capsys).startswith("error: --out: ")


def test_a_project_names_a_file_in_its_folder_or_one_among_the_models(
    project, file, own_models
):
    shutil.copy(file, project / "walk.safetensors")
    inside = load_project(change(project, adapter="walk.safetensors"))
    assert inside.adapter == str(project / "walk.safetensors")
    asked = load_project(change(project, adapter="clip"))
    assert asked.adapter == "clip"
    assert adapter_facts(asked) == read_facts(file)


def test_a_saved_project_has_its_adapter_with_it(file, tmp_path):
    copy = tmp_path / "copy"
    asked = EditRequest(clip(), None, (), source_prompt="a cat", adapter=str(file))
    for _ in range(2):  # the second time onto the file it reads from
        save_project(asked, copy)
        asked = load_project(copy)
        assert Path(asked.adapter).parent == copy.resolve()
        assert Path(asked.adapter).read_bytes() == file.read_bytes()
    save_project(replace(asked, adapter=""), copy)
    assert load_project(copy).adapter == ""
    with pytest.raises(EditingError, match=r"^adapter: "):
        save_project(replace(asked, adapter="nowhere"), tmp_path / "none")
    assert not (tmp_path / "none").exists()
