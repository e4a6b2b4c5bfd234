"""What a model is, is read from its files once."""

import pytest
from json_files import write_json
from made_models import SCHEDULER, write_small_model

from regrain.editing.errors import ModelError
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import (
    BUILT_IN_MODEL,
    BUILT_IN_READER,
    find,
)
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.verdict.crop_reader import CropReader

UNET = "unet/config.json"


@pytest.fixture
def folder(tmp_path):
    made = write_small_model(tmp_path / "model")
    (made / "defaults.json").write_text('{"sdedit": {"steps": 2}}')
    return made


def test_the_built_in_reader_knows_the_words_of_its_model():
    groups = facts_of(BUILT_IN_MODEL).groups
    assert CropReader(BUILT_IN_READER).styles == groups["Styles"]


@pytest.mark.parametrize("config", [UNET, "transformer/config.json", "config.json"])
def test_the_hubs_own_folder_stands_for_its_newest_snapshot(tmp_path, config):
    hub = tmp_path / "models--owner--name"
    snapshot = hub / "snapshots" / "0123abcd"
    newest = hub / "refs" / "main"
    for file, content in ((snapshot / config, "{}"), (newest, "0123abcd")):
        file.parent.mkdir(parents=True)
        file.write_text(content)
    asked = config if "/" not in config else UNET
    for place in (hub, snapshot):
        assert find(str(place), asked).location == str(snapshot.resolve())
    newest.write_text("older")
    with pytest.raises(ModelError, match=f"has no {asked}. Use storybook, a hub"):
        find(str(hub), asked)


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
