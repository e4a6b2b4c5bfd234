"""What a model is, is read from its files once."""

import collections
import inspect
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from json_files import write_json
from made_models import SCHEDULER, write_small_model
from running import finish
from safetensors.torch import save_file
from wiring import requested

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import BUILT_IN_MODEL, BUILT_IN_READER
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.pipeline.runner import edit
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.texts import read_text
from regrain.editing.verdict.crop_reader import CropReader

OPENED: collections.Counter = collections.Counter()


def count(event, args):
    """Count the files that the house reads; libraries open them again to build the
    networks."""
    if event == "open" and isinstance(args[0], str | Path):
        frame = inspect.currentframe()
        while frame is not None and frame.f_code is not read_text.__code__:
            frame = frame.f_back
        if frame is not None:
            OPENED[Path(args[0])] += 1


@pytest.fixture(scope="module", autouse=True)
def counting():
    sys.addaudithook(count)  # there is no way to remove one


@pytest.fixture
def folder(tmp_path):
    made = write_small_model(tmp_path / "model")
    (made / "defaults.json").write_text('{"sdedit": {"steps": 2}}')
    words = "a cat on the grass red fox blurred"
    write_json(made / "words.json", words.split())
    return made


def opened_in(folder):
    return {
        path.relative_to(folder).as_posix(): times
        for path, times in OPENED.items()
        if path.is_relative_to(folder)
    }


@pytest.mark.full(but="False")
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("with_lora", [False, True])
def test_a_run_opens_each_configuration_once(folder, tmp_path, tiny_lora, with_lora):
    loras = ()
    if with_lora:
        loras = (str(tmp_path / "lcm-lora"),)
        (tmp_path / "lcm-lora").mkdir()
        save_file(tiny_lora, tmp_path / "lcm-lora" / "adapter_model.safetensors")
        for name, content in (("adapter_config", {"r": 2}), ("defaults", {})):
            write_json(tmp_path / "lcm-lora" / f"{name}.json", content)
    given = {"preview_every": 0, "steps": 2}
    request = replace(requested("sdedit"), model=str(folder), params=given, loras=loras)
    working_size_of(request)  # as the page asks before
    finish(edit(request))
    found = opened_in(folder)
    assert set(found.values()) == {1}
    assert found.keys() >= {
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "defaults.json",
        "words.json",
    }
    if with_lora:
        beside = opened_in(tmp_path / "lcm-lora")
        assert beside == {"adapter_config.json": 1, "defaults.json": 1}


def test_the_built_in_reader_takes_the_words_that_its_model_read():
    groups = facts_of(BUILT_IN_MODEL).groups
    OPENED.clear()
    assert CropReader(BUILT_IN_READER).styles == groups["Styles"]
    assert "words.json" not in opened_in(ASSETS / BUILT_IN_MODEL)


@pytest.fixture
def tiny_lora():
    torch = pytest.importorskip("torch")
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    return {
        f"{layer}.lora_A.weight": torch.zeros(2, 8),
        f"{layer}.lora_B.weight": torch.zeros(8, 2),
    }


def test_what_is_replaced_is_read_again(folder):
    before = facts_of(str(folder))
    assert facts_of(str(folder)) is before
    assert before.recommended()["sdedit"] == {"steps": 2}
    (folder / "defaults.json").write_text('{"sdedit": {"steps": 17}}')
    assert facts_of(str(folder)).recommended()["sdedit"] == {"steps": 17}


EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}


@pytest.mark.full(but="LCMScheduler-written0-LCM")
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("index", "written", "kind"),
    [
        ("LCMScheduler", {}, "LCM"),
        ("DDIMScheduler", EULER, ""),
        ("DDIMScheduler", {"_class_name": "TCDScheduler"}, ""),
        ("UniPCMultistepScheduler", {"_class_name": "LCMScheduler"}, ""),
    ],
)
def test_the_scheduler_that_the_index_names_counts_before_and_after_loading(
    folder, index, written, kind
):
    """As diffusers goes by it."""
    write_json(folder / "model_index.json", {"scheduler": ["diffusers", index]})
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER | written)
    facts = facts_of(str(folder))
    loaded = load_backbone(str(folder))
    few = facts.few_step()
    assert (few.title if few else "") == loaded.few_step == kind
    assert loaded.defaults == facts.recommended()
    assert loaded.offers == facts.family.offers
    assert [*loaded.notes] == facts.guesses() == []
    assert facts.other_scheduler() == loaded.other_scheduler
