"""The store keeps what it was given, forgets the oldest, and survives damage."""

import os
from unittest.mock import Mock

import pytest
import torch

from regrain.editing.__main__ import main
from regrain.editing.recipe.events import Progress
from regrain.editing.recipe.inversion import cached
from regrain.editing.storage import cache

KEY = {"kind": "inversion", "clip": b"frames", "steps": 4}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path))
    return tmp_path


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_round_trip_is_exact_and_keyed_by_everything_and_the_libraries(
    folder, monkeypatch
):
    value = torch.randn(3, 4)
    cache.store(KEY, {"latents": value})
    assert torch.equal(cache.load(KEY)["latents"], value)
    assert cache.load(KEY | {"steps": 5}) is None
    assert cache.load(KEY | {"clip": b"other"}) is None
    kept = list(folder.iterdir())
    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    cache.store(KEY | {"steps": 6}, {"latents": value})
    assert list(folder.iterdir()) == kept  # nothing half-written
    monkeypatch.setattr(cache, "_versions", lambda: {"diffusers": "1.0"})
    assert cache.load(KEY) is None


@pytest.mark.parametrize("place", ["/proc/nowhere/cache", "/dev/null"])
def test_a_folder_that_cannot_be_used_is_a_warning(place, monkeypatch, caplog):
    monkeypatch.setenv("REGRAIN_CACHE", place)
    cache.store(KEY, {"latents": torch.ones(2)})
    assert "was not cached" in caplog.text
    assert cache.load(KEY) is None


@pytest.mark.parametrize(
    ("broken", "refused", "read", "kept"),
    [
        (True, None, False, False),
        (True, "pathlib.Path.unlink", False, True),
        (False, "pathlib.Path.touch", True, True),  # its age cannot be noted
        (False, "safetensors.safe_open", False, True),
    ],
)
def test_damaged_entries_go_and_what_is_refused_stays(
    folder, monkeypatch, broken, refused, read, kept
):
    cache.store(KEY, {"latents": torch.ones(2)})
    (entry,) = folder.glob("*.safetensors")
    if broken:
        entry.write_bytes(b"broken")
    if refused:
        monkeypatch.setattr(refused, refuse)
    found = cache.load(KEY)
    assert torch.equal(found["latents"], torch.ones(2)) if read else found is None
    assert entry.exists() == kept


@pytest.mark.parametrize(
    ("error", "said"), [(OSError(5, "Torn"), "Torn"), (OSError("Worn"), "Worn")]
)
def test_why_an_entry_cannot_be_read_is_said(monkeypatch, caplog, error, said):
    cache.store(KEY, {"latents": torch.ones(2)})
    monkeypatch.setattr(cache, "_read", Mock(side_effect=error))
    assert cache.load(KEY) is None
    assert f"cannot be read: {said}." in caplog.text


def test_the_least_recently_used_go_first(folder):
    def store(number, **how):
        cache.store(KEY | {"steps": number}, {"latents": torch.zeros(1000)}, **how)

    for number in range(3):
        store(number)
        newest = max(
            folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime
        )
        os.utime(newest, (1e9 + number, 1e9 + number))
    cache.load(KEY | {"steps": 0})
    store(3, cap=9000)
    kept = [cache.load(KEY | {"steps": number}) is not None for number in range(4)]
    assert kept == [True, False, False, True]


def test_small_entries_outlive_large_ones():
    """Finished windows are small, and a run that goes on needs them; an inversion is
    made anew."""
    cache.store({"window": 1}, {"x": torch.ones(10)})
    for number in range(4):
        cache.store({"inversion": number}, {"x": torch.ones(40_000)}, cap=400_000)
    assert cache.load({"window": 1}) is not None
    assert cache.load({"inversion": 0}) is None
    assert cache.load({"inversion": 3}) is not None


def test_what_is_kept_says_how_far_its_stage_is():
    """The second part of a stage goes on from the first: never 10 of 10, then 6 of
    10."""
    made = []
    half = Progress("inverting", 5, 10, None)

    def make():
        made.append(True)
        yield half
        return {"latents": torch.zeros(2)}

    for _ in range(2):
        events = cached({"kind": "a"}, make, half, torch.device("cpu"))
        assert [event.done for event in events] == [5]
    assert made == [True]


def test_the_command_shows_and_clears_by_kind_and_age(folder, capsys):
    for kind, number in (("inversion", 1), ("inversion", 2), ("draft", 1)):
        cache.store({"kind": kind, "number": number}, {"x": torch.zeros(1000)})
    (folder / "damaged.safetensors").write_bytes(b"x")
    old = next(entry for entry in cache.entries() if entry.kind == "inversion").path
    os.utime(old, (0, 0))
    assert main(["cache", "--clear", "tuning"]) == 2
    assert "Choose from damaged, draft, inversion, all." in capsys.readouterr().err
    assert main(["cache"]) == 0
    assert "4 kept, 0 removed" in capsys.readouterr().out
    assert main(["cache", "--clear", "inversion", "--older", "1"]) == 0
    assert "inversion        1 results" in capsys.readouterr().out
    assert not old.exists()
    assert main(["cache", "--clear", "all"]) == 0
    assert list(cache.entries()) == []
