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


@pytest.fixture
def folder(tmp_path):
    made = write_small_model(tmp_path / "model")
    (made / "defaults.json").write_text('{"sdedit": {"steps": 2}}')
    return made


def test_the_built_in_reader_knows_the_words_of_its_model():
    groups = facts_of(BUILT_IN_MODEL).groups
    assert CropReader(BUILT_IN_READER).styles == groups["Styles"]


@pytest.mark.parametrize("is_named", [False, True])
def test_the_hubs_own_folder_stands_for_its_newest_snapshot(folder, tmp_path, is_named):
    hub = tmp_path / "models--owner--name"
    snapshot = hub / "snapshots" / "0123abcd"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot.parent / "older").mkdir()
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("0123abcd")
    assert find(str(snapshot if is_named else hub)).location == str(snapshot.resolve())
    (hub / "refs" / "main").write_text("older")
    with pytest.raises(
        ModelError, match="has no unet/config.json. Use storybook, a hub"
    ):
        find(str(hub))


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
