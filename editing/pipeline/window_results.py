"""Drafts of windows in the cache, so that a run that was stopped goes on at the window
it was in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_frames
from regrain.editing.storage import cache

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.params.base import MethodParams
    from regrain.editing.request.edit_request import EditRequest

# Parameters that act after the latents, or through the frames of the window.
_LATER = {
    "feather",
    "steady",
    "preview_every",
    "keyframes",
    "cuts",
    "window",
    "frames_at_once",
}
# Kinds of maps: of a region before and after the edit, of a word in each prompt, of a
# step.
_MAPS = ("before", "after", "source", "edit", "step")


def draft_key(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    piece: WindowFrames,
    method: str,
) -> dict[str, object]:
    """Return the cache key of the draft of a piece: everything it depends on.

    `request` is for the frames of the piece alone.
    """
    regions = [
        [
            region.name,
            region.label,
            region.prompt,
            region.source,
            region.strength,
            region.negative,
        ]
        for region in request.regions
    ]
    prompts = [
        request.source_prompt,
        request.prompt,
        request.negative_prompt,
        *request.more_prompts,
    ]
    known = sorted(piece.known.items()) if piece.anchors else []
    return {
        "kind": "draft",
        "model": backbone.fingerprint,
        "method": method,
        "params": params.model_dump(mode="json", exclude=_LATER),
        "prompts": prompts,
        "regions": regions,
        "seed": request.seed,
        "frames": _digest(working_frames(backbone, request)),
        "areas": _digest(request.areas),
        "numbers": piece.numbers,
        "leads": piece.leads,
        "walks": [walk for walk, _ in known],
        "anchors": b"".join(
            latents.float().cpu().numpy().tobytes() for _, latents in known
        ),
    }


def _digest(frames: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of frames, read one by one."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(np.ascontiguousarray(frame))
    return found.hexdigest()


def maps_of(draft: WindowResult) -> dict[str, np.ndarray]:
    """Return all maps of a draft but those of parts of the schedule, by kind and name
    (`before/horse`)."""
    maps: dict[str, np.ndarray] = {}
    for name, attention in draft.attention.items():
        maps[f"before/{name}"] = attention.before
    for name, attention in draft.attention.items():
        maps[f"after/{name}"] = attention.after
    if draft.words:
        for name, array in draft.words.source.items():
            maps[f"source/{name}"] = array
        for name, array in draft.words.edit.items():
            maps[f"edit/{name}"] = array
    for step, area in draft.step_areas.items():
        maps[f"step/{step}"] = area
    return maps


def fields_of(maps: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return `attention`, `words` and `step_areas` of a draft or a result, whose maps
    `maps_of` returned."""
    kinds: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _MAPS}
    for path, array in maps.items():
        kind, _, name = path.partition("/")
        kinds[kind][name] = array
    attention = {}
    for name, before in kinds["before"].items():
        attention[name] = RegionAttention(before, kinds["after"][name])
    words = None
    if kinds["source"] or kinds["edit"]:
        words = WordAttention(kinds["source"], kinds["edit"])
    steps = kinds["step"]
    areas = {step: steps[str(step)] for step in sorted(map(int, steps))}
    return {"attention": attention, "words": words, "step_areas": areas}


def store_draft(
    key: Mapping[str, object], draft: WindowResult, paths: Mapping[str, Tensor]
) -> None:
    """Cache a draft and the paths of its ends."""
    tensors = {
        f"latents/{number}": latents for number, latents in enumerate(draft.edits)
    }
    if draft.reconstruction is not None:
        tensors["reconstruction"] = draft.reconstruction
    for walk, path in paths.items():
        tensors[f"path/{walk}"] = path
    arrays = maps_of(draft)
    if draft.control is not None:
        arrays["control"] = draft.control
    for name, array in arrays.items():
        tensors[name] = torch.from_numpy(np.array(array))
    cache.store(key, tensors)


def load_draft(
    key: Mapping[str, object], device: torch.device
) -> tuple[WindowResult, dict[str, Tensor]] | None:
    """Load a cached draft and the paths of its ends; None if there is none."""
    kept = cache.load(key)
    if kept is None:
        return None
    edits: dict[int, Tensor] = {}
    paths: dict[str, Tensor] = {}
    maps: dict[str, np.ndarray] = {}
    reconstruction = None
    control = None
    for path, stored in kept.items():
        # A copy, since the last bits of a CPU result depend on memory alignment.
        tensor = stored.clone()
        kind, _, name = path.partition("/")
        if kind == "latents":
            edits[int(name)] = tensor.to(device)
        elif kind == "path":
            paths[name] = tensor.to(device)
        elif kind == "reconstruction":
            reconstruction = tensor.to(device)
        elif kind == "control":
            control = tensor.numpy()
        elif kind in _MAPS:
            maps[path] = tensor.numpy()
    in_order = tuple(edits[number] for number in sorted(edits))
    draft = WindowResult(
        in_order, reconstruction=reconstruction, control=control, **fields_of(maps)
    )
    return draft, paths


def without_anchors(draft: WindowResult, anchors: int) -> WindowResult:
    """Return the draft of a window's own frames, without the anchors before them."""
    if not anchors:
        return draft

    def own(frames: Any) -> Any:
        return None if frames is None else frames[anchors:]

    maps = {name: own(array) for name, array in maps_of(draft).items()}
    return replace(
        draft,
        edits=tuple(own(edit) for edit in draft.edits),
        reconstruction=own(draft.reconstruction),
        control=own(draft.control),
        **fields_of(maps),
    )
