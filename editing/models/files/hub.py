"""Models of the hub, fetched with progress to where `load_backbone` finds them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from regrain.editing.errors import ModelError
from regrain.editing.models.files.config_keys import class_in_index
from regrain.editing.models.files.download import (
    NETWORKS,
    PIPELINE_FILES,
    matches,
)
from regrain.editing.models.files.facts import EXPERTS, INDEX, facts_at
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.storage.fetching import (
    Fetched,
    Fetching,
    cached,
    check_room,
    hub_error,
    list_files,
    watched,
)
from regrain.editing.storage.safetensors_files import (
    check_head,
    choose_weights,
    weight_files,
)

ALLOWED_VARIABLE = "REGRAIN_ALLOWED_MODELS"
# Folders of weights.
_PARTS = ("unet", *EXPERTS, "vae", "text_encoder", "text_encoder_2")


def allowed() -> tuple[str, ...] | None:
    """Return the hub ids that may be fetched; None if all may.

    On a Space they are those of $REGRAIN_ALLOWED_MODELS, none without it; elsewhere
    all, unless it is set.
    """
    listed = os.environ.get(ALLOWED_VARIABLE)
    if listed is None and not os.environ.get("SPACE_ID"):
        return None
    ids = [id.strip() for id in (listed or "").split(",")]
    return tuple(id for id in ids if id)


def may_fetch(id: str) -> bool:
    """Tell whether a model may be fetched here."""
    known = allowed()
    return known is None or id in known


def is_here(id: str) -> bool:
    """Tell whether a model was fetched, with all parts that its index names."""
    with suppress(ModelError):  # fetching it says what is wrong
        facts = facts_at(ModelLocation("hub", id), id)
        named = facts.glance(INDEX)
        parts = [
            facts.folder / part
            for part in _PARTS
            if (facts.folder / part).is_dir() or class_in_index(named, part)
        ]
        return bool(parts) and all(map(weight_files, parts))
    return False


def fetch(id: str) -> Iterator[Fetched]:
    """Fetch a model, telling how far it is a few times a second.

    Closing this generator stops it. What has come stays in the cache, and is not
    fetched again.

    Raises:
        ModelError: It may not be fetched here, the hub cannot be reached or refuses, it
            has no network in safetensors, the disk is too small, or what came is
            damaged.
    """
    from huggingface_hub import constants

    if not may_fetch(id):
        known = allowed()
        choose = f"Choose one of {', '.join(known)}." if known else "Use storybook."
        raise ModelError("model", f"{id[:60]!r} may not be fetched here. {choose}")
    files = _files_of(id)
    total = sum(files.values())
    missing = sum(size for name, size in files.items() if cached(id, name) is None)
    check_room(id, missing, Path(constants.HF_HUB_CACHE).absolute())

    def work(fetching: Fetching) -> None:
        with hub_error(id):
            fetching.load(id, files)
        for name in files:
            place = cached(id, name)
            if place is not None and _is_weights(name):
                try:
                    check_head(place, "model")
                except ModelError:  # so that it can be fetched again
                    place.resolve().unlink(missing_ok=True)
                    place.unlink(missing_ok=True)
                    raise

    return watched(work, total, total - missing)


def _files_of(id: str) -> Mapping[str, int]:
    """Ask the hub which files of a model to fetch, with their bytes."""
    from huggingface_hub import HfApi

    with hub_error(id):
        sizes = list_files(HfApi().model_info(id, files_metadata=True))
    chosen = _needed(sizes)
    if not any(name.startswith(NETWORKS) and _is_weights(name) for name in chosen):
        raise ModelError(
            "model",
            f"{id!r} has no UNet in safetensors, and no transformer. Choose a "
            "model for diffusers.",
        )
    return {name: sizes[name] for name in chosen}


def _needed(names: Iterable[str]) -> list[str]:
    """Choose the files of a repository that `download` takes: those of a variant where
    a part has no others."""
    chosen = {name for name in names if matches(name, PIPELINE_FILES)}
    for part in _PARTS:
        inside = [name for name in names if name.startswith(f"{part}/")]
        if any(_is_weights(name) for name in chosen.intersection(inside)):
            continue
        found = choose_weights([name.removeprefix(f"{part}/") for name in inside])
        if found:
            chosen.update(f"{part}/{name}" for name in found)
            chosen.update(name for name in inside if name.endswith(".fp16.json"))
    return sorted(chosen)


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")
