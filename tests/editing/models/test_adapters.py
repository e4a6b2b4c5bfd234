"""Adapter files: exact, complete or not there, and refused in one line where they do
not belong."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from json_files import read_json
from made_clips import black
from made_models import loaded, seeded
from safetensors.torch import load_file, save_file
from tables import rows
from tuning_runs import FRAMES, learned, request, same

from regrain.editing import edit, load_adapter, save_adapter
from regrain.editing.errors import ModelError, RequestError, ResourceError
from regrain.editing.models import adapters
from regrain.editing.models.adapters import (
    Adapter,
    check_fits,
    check_frames,
    find_adapter,
    read_facts,
)
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.temporal import tunable_shapes
from regrain.editing.pipeline.preparation import use_adapter
from regrain.editing.request.runnable import adapter_facts, check_runnable

SIZE = (16, 16)
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def adapter(small):
    return learned(small, tune_steps=1, learning_rate=1e-3, temporal_rank=2)


@pytest.fixture
def file(adapter, tmp_path) -> Path:
    save_adapter(adapter, tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def refused(words: str, call, *given) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        call(*given)
    assert caught.value.field == "adapter"
    assert str(caught.value).endswith(".")


def test_saved_is_loaded_exactly(adapter, file, monkeypatch):
    """TV9."""
    again = load_adapter(file)
    with monkeypatch.context() as patch:
        patch.setattr(
            "safetensors.torch.load_file", lambda *_: pytest.fail("weights were read")
        )
        assert again.facts == adapter.facts == read_facts(file)
    assert same(dict(again.weights), dict(adapter.weights))
    assert same(load_file(file), dict(adapter.weights))  # the tuned parameters alone
    save_adapter(again, file)
    assert same(dict(load_adapter(file).weights), dict(adapter.weights))
    # what is loaded does not change with its file
    file.write_bytes(b"\xff" * file.stat().st_size)
    assert same(dict(again.weights), dict(adapter.weights))


def still(height, width):
    return black(FRAMES, height, width)


def stranger(file, facts=None):
    save_file({"a": torch.ones(2)}, file, facts)


DAMAGES = {
    "stranger": stranger,
    "stranger with facts": lambda file: stranger(file, {"name": "x"}),
    "text": lambda file: file.write_text("not weights at all"),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "cut in the header": lambda file: file.write_bytes(file.read_bytes()[:100]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_not_an_adapter_is_refused(file, damage):
    damage(file)
    for read in (read_facts, load_adapter):
        refused("'clip.safetensors' is not an adapter", read, file)
    refused("is not an adapter", adapter_facts, request(adapter=str(file)))


WRONG = read_json(Path(__file__).with_name("other_facts.json"))
"""Of keys of a header, values that they do not take; of none, other headers."""
WRONG["words"] += ["x" * 10_001]
WRONG[""] += ["[" * 100_000, "9" * 5000]


@pytest.mark.parametrize(("key", "value"), rows(WRONG))
def test_a_header_of_wrong_types_is_refused(adapter, file, key, value):
    facts = adapter.facts.model_dump(mode="json") | {key: value}
    header = json.dumps(facts) if key else value
    save_file(dict(adapter.weights), file, {"regrain_adapter": header})
    refused("is not an adapter", read_facts, file)


def fits(adapter, model, size):
    shapes = tunable_shapes(model.unet, adapter.facts.rank)
    check_fits(adapter, model, shapes, size)


def test_it_fits_where_it_was_tuned_in_any_type(small, small_folder, adapter):
    fits(adapter, small, SIZE)
    fits(adapter, loaded(small_folder, dtype=torch.bfloat16), SIZE)
    check_frames(adapter.facts, FRAMES)


@pytest.mark.parametrize("part", ["to_k", "to_v"])
def test_a_model_with_a_lora_is_another(small, small_folder, adapter, tmp_path, part):
    name = f"{small.sites[2].name}.{part}"
    rows, columns = small.unet.get_parameter(f"{name}.weight").shape
    fresh = seeded(0)
    halves = {
        "A": torch.randn(2, columns, generator=fresh),
        "B": torch.randn(rows, 2, generator=fresh),
    }
    tensors = {
        f"unet.{name}.lora_{half}.weight": weight for half, weight in halves.items()
    }
    save_file(tensors, tmp_path / "look.safetensors")
    added = load_backbone(str(small_folder), (f"{tmp_path / 'look.safetensors'}@0.5",))
    refused("with the same LoRAs", fits, adapter, added, SIZE)


def test_other_sizes_and_frame_counts_are_refused(small, adapter):
    wrong = "tuned at 16 x 16 pixels, but the working size is"
    refused(f"{wrong} 24 x 16. Set size to 16", fits, adapter, small, (24, 16))
    refused(f"{wrong} 16 x 24", fits, adapter, small, (16, 24))
    refused(
        "tuned on 3 frames, but the clip has 5. Use 3 frames",
        check_frames,
        adapter.facts,
        5,
    )


def test_weights_of_another_network_are_refused(small, adapter):
    weights, facts = adapter.weights, adapter.facts
    name, *rest = weights
    bad = weights[name].clone()
    fewer, other = (
        {key: weights[key] for key in rest},
        {**weights, "other": torch.ones(1)},
    )
    of_rank = Adapter(facts.model_copy(update={"rank": 1}), weights)
    others = [
        Adapter(facts, found)
        for found in (fewer, other, {**weights, name: weights[name][:1]})
    ]
    sketch = facts.model_copy(update={"sketch": facts.sketch[:-1]})
    for one in (of_rank, Adapter(sketch, weights), *others):
        refused("not on these weights", fits, one, small, SIZE)
    for value in (float("nan"), float("inf")):
        bad.view(-1)[-1] = value
        refused(
            "NaN or Inf",
            fits,
            Adapter(facts, {**weights, name: bad}),
            small,
            SIZE,
        )


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.int32, torch.bool, torch.float8_e4m3fn]
)
def test_weights_of_other_types_are_used_or_refused(small, adapter, tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    header = {"regrain_adapter": adapter.facts.model_dump_json()}
    save_file(
        {name: weight.to(dtype) for name, weight in adapter.weights.items()},
        path,
        header,
    )
    if dtype == torch.float16:
        fits(load_adapter(path), small, SIZE)
    else:
        refused("is not an adapter", load_adapter, path)


@pytest.fixture
def shelf(file, tmp_path, monkeypatch):
    """A folder with two adapters, and a model of the same name as one of them."""
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("REGRAIN_MODELS", str(models))
    for name in ("b", "a"):
        (models / f"{name}.safetensors").write_bytes(file.read_bytes())
    stranger(models / "lora.safetensors")
    (models / "a").mkdir()
    return models


def test_they_are_found_by_name_or_path_and_listed(shelf, file):
    assert adapters.local_adapters() == ["a", "b"]
    for name in ("a", "a.safetensors"):
        assert find_adapter(name) == shelf / "a.safetensors"
    assert find_adapter(str(file)) == file


MISSING = (
    "c",
    "lora/a",
    "/",
    "x" * 5000,
    f"{'x' * 300}.safetensors",
    "a\0.safetensors",
)


@pytest.mark.parametrize("name", [*MISSING, ""])
def test_what_is_no_adapter_is_not_found(shelf, name):
    refused("was not found", find_adapter, name)


def test_an_adapter_that_is_missing_or_of_other_frames_is_refused_before_the_model_is_loaded(
    file,
):
    refused(
        "was not found", next, edit(request(adapter="nowhere", model="no/such-model"))
    )
    refused(
        "tuned on 3 frames",
        next,
        edit(request(5, adapter=str(file), model="no/such-model")),
    )
    assert adapter_facts(request()) is None
    assert adapter_facts(request(adapter=str(file))) == read_facts(file)
    for method in ("sdedit", "tune_a_video"):
        other = request(5, adapter=str(file), method=method)
        refused("tuned on 3 frames", check_runnable, other)


def test_another_clip_is_a_warning(small, file):
    view, warnings = use_adapter(small, request(adapter=str(file)))
    assert warnings == []
    assert view.fingerprint == load_adapter(file).digest(small.fingerprint)
    _, (warning,) = use_adapter(
        small, replace(request(adapter=str(file)), clip=still(16, 16))
    )
    assert warning == "The adapter was tuned on another clip or other frames of it."
    refused(
        "tuned at 16 x 16 pixels",
        use_adapter,
        small,
        replace(request(adapter=str(file)), size=64),
    )


def test_a_full_disk_leaves_nothing_half_written(adapter, file, tmp_path, monkeypatch):
    before = file.read_bytes()

    def full(self, content):
        with open(self, "wb") as handle:
            handle.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for path in (file, tmp_path / "new" / "other.safetensors"):
        with pytest.raises(
            ResourceError, match=r"^--out: .*No space left on device.*is kept\.$"
        ):
            save_adapter(adapter, path)
    assert file.read_bytes() == before
    assert [*tmp_path.glob("*.safetensors"), *tmp_path.glob("new/*")] == [file]


@pytest.mark.parametrize(
    "name", ["adapter", "adapter.pt", "folder.safetensors", ".safetensors"]
)
def test_names_that_do_not_suit_are_refused(adapter, tmp_path, name):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RequestError, match=r"^--out: "):
        save_adapter(adapter, tmp_path / name)


@pytest.mark.parametrize(
    "name", ["", "  ", "a" * 500, "a\x1b[31m", "\u200b", "a\udcff"]
)
def test_names_can_be_seen_and_written(name):
    with pytest.raises(RequestError, match="--name: Expected 1 to"):
        adapters.check_name("--name", name)
    adapters.check_name("--name", "my actor, 2nd try \u00e9")
