"""Describe what this machine can run: versions, device, memory, models, and estimates
of what fits."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from regrain.editing.errors import EditingError
from regrain.editing.storage.devices import choose_device, device_name
from regrain.editing.storage.fetching import first_line
from regrain.editing.storage.local_models import (
    ASSETS,
    absent,
    models_folder,
    unreadable_entries,
)
from regrain.editing.storage.memory import NEEDS, free_memory, weights_dtype
from regrain.editing.storage.packages import installed, lacks, needed


def examine() -> Iterator[tuple[str, str]]:
    """Yield facts about this machine as (name, value). Imports torch."""
    from regrain.editing.attention.backends import describe
    from regrain.editing.motion.raft import find_raft

    yield (
        "Python",
        f"{platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores",
    )
    for need in needed():
        found = installed(need.name) or "not installed"
        fits = "" if lacks(need) is None else f"; {need.specifier} is needed"
        yield need.name, f"{found}{fits}"
    device = choose_device()
    advice = "; `pip install regrain[xformers]` makes half precision faster"
    yield (
        "xformers",
        installed("xformers")
        or f"not installed{advice if device.type == 'cuda' else ''}",
    )
    free = free_memory(device)
    dtype = weights_dtype(device, 0, free)
    yield "device", f"{device_name(device)} ({device}), {str(dtype)[6:]}"
    yield "free memory", f"{free / 2**30:.1f} GiB"
    yield "attention", describe(device, dtype)
    raft = find_raft()
    yield (
        "optical flow",
        f"RAFT ({raft.name})"
        if raft
        else "OpenCV DIS; no RAFT weights in $REGRAIN_MODELS",
    )
    folder = models_folder()
    if folder:
        yield "models folder", f"{folder}.{absent()}" if absent() else str(folder)
    models = ", ".join(_models())
    yield "models", models or "none; storybook, which ships, is missing"
    for model in NEEDS:
        yield f"{model.family} at {model.side} px", f"{model.fits()} (estimate)"


def _models() -> Iterator[str]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    from regrain.editing.models.files.facts import facts_of
    from regrain.editing.models.loading.load import local_models

    if (ASSETS / "storybook" / "unet").is_dir():
        yield "storybook"
    for name in local_models():
        try:
            facts = facts_of(name)
            _ = facts.head  # of a file that is whole
            said = [facts.family.title if facts.family else "unknown or incomplete"]
            said += facts.doubts
        except EditingError as error:
            said = [error.message.removesuffix(".")]
        yield f"{name} ({', '.join(said)})"
    for name, said in unreadable_entries().items():
        yield f"{name} ({said})"
    try:
        kept = scan_cache_dir().repos
    except CacheNotFound:
        return
    except (OSError, ValueError) as error:
        yield f"the hub's cache cannot be read ({first_line(error)})"
        return
    yield from sorted(repo.repo_id for repo in kept if repo.repo_type == "model")
