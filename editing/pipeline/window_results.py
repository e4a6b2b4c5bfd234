"""Drafts of windows in the cache, so that a run that was stopped goes on at the window it was in."""

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

# What comes after the latents, or is decided by the frames of the window.
_LATER = {"feather", "steady", "preview_every", "keyframes", "cuts", "window", "frames_at_once"}
_MAPS = ("before", "after", "source", "edit", "step")  # kinds, of a region, a word or a step


def draft_key(
    backbone: Backbone, request: EditRequest, params: MethodParams, piece: WindowFrames, method: str
) -> dict[str, object]:
    """The cache key of the draft of a piece: everything it depends on. `request` is for its frames alone."""
    regions = [
        [region.name, region.label, region.prompt, region.source, region.strength, region.negative]
        for region in request.regions
    ]
    known = sorted(piece.known.items()) if piece.anchors else []
    return {
        "kind": "draft",
        "model": backbone.fingerprint,
        "method": method,
        "params": params.model_dump(mode="json", exclude=_LATER),
        "prompts": [
            request.source_prompt,
            request.prompt,
            request.negative_prompt,
            *request.more_prompts,
        ],
        "regions": regions,
        "seed": request.seed,
        "frames": _digest(working_frames(backbone, request)),
        "areas": _digest(request.areas),
        "numbers": piece.numbers,
        "leads": piece.leads,
        "walks": [walk for walk, _ in known],
        "anchors": b"".join(x.float().cpu().numpy().tobytes() for _, x in known),
    }


def _digest(frames: Iterable[np.ndarray]) -> str:
    """SHA-256 of frames, read one by one."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(np.ascontiguousarray(frame))
    return found.hexdigest()


def maps_of(draft: WindowResult) -> dict[str, np.ndarray]:
    """All maps of a draft but those of parts of the schedule, by kind and name, such as `before/horse`."""
    words = draft.words or WordAttention({}, {})
    before = {name: maps.before for name, maps in draft.attention.items()}
    after = {name: maps.after for name, maps in draft.attention.items()}
    kinds = zip(_MAPS, (before, after, words.source, words.edit, draft.step_areas), strict=True)
    return {f"{kind}/{name}": array for kind, maps in kinds for name, array in maps.items()}


def fields_of(maps: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What `maps_of` was made of: `attention`, `words` and `step_areas` of a draft or of a result."""
    kinds: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _MAPS}
    for path, array in maps.items():
        kind, _, name = path.partition("/")
        kinds[kind][name] = array
    before, after, source, edit, steps = kinds.values()
    return {
        "attention": {name: RegionAttention(array, after[name]) for name, array in before.items()},
        "words": WordAttention(source, edit) if source or edit else None,
        "step_areas": {step: steps[str(step)] for step in sorted(map(int, steps))},
    }


def store_draft(
    key: Mapping[str, object], draft: WindowResult, paths: Mapping[str, Tensor]
) -> None:
    """Cache a draft and the paths of its ends."""
    arrays = (
        maps_of(draft) if draft.control is None else maps_of(draft) | {"control": draft.control}
    )
    tensors = {f"latents/{number}": x for number, x in enumerate(draft.edits)}
    if draft.reconstruction is not None:
        tensors["reconstruction"] = draft.reconstruction
    tensors |= {f"path/{walk}": x for walk, x in paths.items()}
    cache.store(
        key, tensors | {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    )


def load_draft(
    key: Mapping[str, object], device: torch.device
) -> tuple[WindowResult, dict[str, Tensor]] | None:
    """The cached draft and the paths of its ends; None if there is none."""
    kept = cache.load(key)
    if kept is None:
        return None
    # Copies, since the last bits of a CPU result depend on memory alignment.
    kept = {name: x.clone() for name, x in kept.items()}
    rebuilt, control = kept.get("reconstruction"), kept.get("control")
    latents = sum(name.startswith("latents/") for name in kept)
    draft = WindowResult(
        tuple(kept[f"latents/{number}"].to(device) for number in range(latents)),
        reconstruction=None if rebuilt is None else rebuilt.to(device),
        control=None if control is None else control.numpy(),
        **fields_of(
            {name: x.numpy() for name, x in kept.items() if name.partition("/")[0] in _MAPS}
        ),
    )
    paths = {name: x.to(device) for name, x in kept.items() if name.startswith("path/")}
    return draft, {name.removeprefix("path/"): x for name, x in paths.items()}


def without_anchors(draft: WindowResult, anchors: int) -> WindowResult:
    """The draft of a window's own frames."""
    if not anchors:
        return draft
    rebuilt, control = draft.reconstruction, draft.control
    return replace(
        draft,
        edits=tuple(x[anchors:] for x in draft.edits),
        reconstruction=None if rebuilt is None else rebuilt[anchors:],
        control=None if control is None else control[anchors:],
        **fields_of({name: array[anchors:] for name, array in maps_of(draft).items()}),
    )
