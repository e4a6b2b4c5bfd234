"""Drafts of windows in the cache, so that a run that was stopped goes on at the window it was in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

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
        "prompts": [request.source_prompt, request.prompt, request.negative_prompt, *request.more_prompts],
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


def store_draft(key: Mapping[str, object], draft: WindowResult, paths: Mapping[str, Tensor]) -> None:
    """Cache a draft and the paths of its ends."""
    words, arrays = draft.words, {}
    for name, maps in draft.attention.items():
        arrays |= {f"before/{name}": maps.before, f"after/{name}": maps.after}
    if words is not None:
        arrays |= {f"source/{name}": maps for name, maps in words.source.items()}
        arrays |= {f"edit/{name}": maps for name, maps in words.edit.items()}
    arrays |= {f"step/{step}": area for step, area in draft.step_areas.items()}
    if draft.control is not None:
        arrays["control"] = draft.control
    tensors = {f"latents/{number}": x for number, x in enumerate(draft.edits)}
    if draft.reconstruction is not None:
        tensors["reconstruction"] = draft.reconstruction
    tensors |= {f"path/{walk}": x for walk, x in paths.items()}
    cache.store(key, tensors | {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def load_draft(
    key: Mapping[str, object], device: torch.device
) -> tuple[WindowResult, dict[str, Tensor]] | None:
    """The cached draft and the paths of its ends; None if there is none."""
    kept = cache.load(key)
    if kept is None:
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, x in kept.items():
        group, _, rest = name.partition("/")
        # Copies, since the last bits of a CPU result depend on memory alignment.
        groups.setdefault(group, {})[rest] = x.clone()
    maps = {
        group: {name: x.numpy() for name, x in groups.get(group, {}).items()}
        for group in ("before", "after", "source", "edit", "step", "control")
    }
    latents, rebuilt = groups["latents"], groups.get("reconstruction")
    draft = WindowResult(
        tuple(latents[str(number)].to(device) for number in range(len(latents))),
        {name: RegionAttention(before, maps["after"][name]) for name, before in maps["before"].items()},
        rebuilt[""].to(device) if rebuilt else None,
        WordAttention(maps["source"], maps["edit"]) if maps["source"] or maps["edit"] else None,
        {int(step): area for step, area in sorted(maps["step"].items(), key=lambda item: int(item[0]))},
        maps["control"].get(""),
    )
    return draft, {walk: x.to(device) for walk, x in groups.get("path", {}).items()}


def without_anchors(draft: WindowResult, anchors: int) -> WindowResult:
    """The draft of a window's own frames."""
    if not anchors:
        return draft

    def own(maps: Mapping) -> dict:
        return {name: array[anchors:] for name, array in maps.items()}

    words, rebuilt, control = draft.words, draft.reconstruction, draft.control
    return replace(
        draft,
        edits=tuple(x[anchors:] for x in draft.edits),
        attention={
            name: RegionAttention(maps.before[anchors:], maps.after[anchors:])
            for name, maps in draft.attention.items()
        },
        reconstruction=None if rebuilt is None else rebuilt[anchors:],
        words=None if words is None else WordAttention(own(words.source), own(words.edit)),
        step_areas=own(draft.step_areas),
        control=None if control is None else control[anchors:],
    )
