"""Files of packed weights (GGUF), which are refused by name wherever one is given that is
no network of a folder with its other parts."""

import shutil
from types import SimpleNamespace

import pytest
from damaged_models import refusal

from regrain.editing.cli.doctor import examine
from regrain.editing.errors import ModelError
from regrain.editing.models.adapters import find_adapter
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.lora_file import find_lora, lora_facts
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.pictures.picture_file import PictureFile
from regrain.ui.server import dropped_models
from regrain.ui.values.adapters import AdapterList

SAID = (
    "is a GGUF, packed weights: put a Wan's transformer beside text_encoder/ in a "
    "folder of Wan, a UNet into unet/ of its folder. Of others use the .safetensors."
)
CONTENT = b"GGUF\x03\0\0\0" + 60 * b"\0"


@pytest.fixture
def folder(tmp_path, own_models):
    """A folder of models with one under its own name, and one under another."""
    for name in ("packed.GGUF", "other.safetensors"):
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


def add(file):
    AdapterList().add_file(file, SimpleNamespace(), "")


BY_NAME = {
    "model": lambda name, folder: facts_of(name),
    "model by path": lambda name, folder: facts_of(str(folder / name)),
    "model that is not here": lambda name, folder: facts_of("owner/far.gguf"),
    "lora": lambda name, folder: find_lora(name),
    "lora by path": lambda name, folder: lora_facts(f"{folder / name}@0.5"),
    "adapter": lambda name, folder: find_adapter(name),
    "picture adapter": lambda name, folder: PictureFile(name, 768),
    "added to a page": lambda name, folder: add(folder / name),
    "dropped": lambda name, folder: dropped_models._place_of(name, 9, folder),
}


@pytest.mark.parametrize("what", BY_NAME)
def test_one_is_refused_by_its_name(folder, what):
    with pytest.raises(ModelError) as error:
        BY_NAME[what]("packed.GGUF", folder)
    assert error.value.message.endswith(SAID)


BY_CONTENT = {
    "model": lambda folder: facts_of("other").head,
    "lora": lambda folder: lora_facts("other"),
    "dropped": lambda folder: dropped_models.place_of(folder / "other.safetensors"),
}


@pytest.mark.parametrize("what", BY_CONTENT)
def test_one_of_another_name_is_refused_by_what_it_holds(folder, what):
    with pytest.raises(ModelError) as error:
        BY_CONTENT[what](folder)
    assert error.value.message == f"'other.safetensors' {SAID}"


def test_a_folder_of_wan_with_one_is_refused_before_it_is_read(wan_folder, tmp_path):
    """Of one that says nothing of itself, and of one beside weights of another kind."""
    copy = shutil.copytree(wan_folder, tmp_path / "copy")
    (copy / "packed.gguf").write_bytes(CONTENT)
    assert "says that it is of '', not of wan" in refusal(copy / "packed.gguf")
    for weights in (copy / "transformer").glob("*.safetensors"):
        weights.write_bytes(CONTENT)
        assert SAID in refusal(copy)
        weights.rename(weights.with_suffix(".gguf"))
        assert "says that it is of '', not of wan" in refusal(copy)


def test_the_folder_of_models_tells_of_one_and_does_not_offer_it(folder):
    assert "packed.GGUF" not in local_models()
    assert f"packed.GGUF ({SAID[3:-1]})" in dict(examine())["models"]
