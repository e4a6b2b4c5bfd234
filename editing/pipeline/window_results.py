"""Drafts of windows in the cache, so that a run that was stopped goes on at the window
it was in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter

import numpy as np
import torch

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.media.images import read_picture
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.base import MethodParams
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_frames
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage import cache
from regrain.editing.storage.by_name import Tensors, Weights
from regrain.editing.storage.texts import Content, Values

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
Maps = dict[str, np.ndarray]
"""Maps by kind and name."""
# Kinds of maps: of a region before and after the edit, of a word in each prompt, of a
# step; and pictures that control networks read.
_MAPS = ("before", "after", "source", "edit", "step", "control")


def draft_key(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    window: WindowFrames,
    method: str,
) -> Content:
    """Return the cache key of the draft of a window: everything it depends on.

    `request` is for the frames of the window alone.
    """
    fields = attrgetter("name", "label", "prompt", "source", "strength", "negative")
    prompts = [
        request.source_prompt,
        request.prompt,
        request.negative_prompt,
        *request.more_prompts,
    ]
    known = sorted(window.known.items()) if window.anchors else []
    return {
        "kind": "draft",
        "model": backbone.fingerprint,
        "method": method,
        "params": params.model_dump(mode="json", exclude=_LATER),
        "prompts": prompts,
        "regions": [list(fields(region)) for region in request.regions],
        "seed": request.seed,
        "frames": _digest(working_frames(backbone, request)),
        "areas": _digest(request.areas),
        "pictures": _pictures(request) if request.sees_by_itself else [],
        "numbers": window.numbers,
        "leads": window.leads,
        "walks": [walk for walk, _ in known],
        "anchors": b"".join(
            latents.float().cpu().numpy().tobytes() for _, latents in known
        ),
        "finished": None if window.finished is None else _digest(window.finished),
    }


def _pictures(request: EditRequest) -> list[list[object]]:
    """Return what identifies the pictures that a method sees by itself."""
    return [
        [one.label, one.scale, _digest([read_picture(one.path, one.field)])]
        for one in request.pictures
    ]


def _digest(frames: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of frames, read one by one."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(np.ascontiguousarray(frame))
    return found.hexdigest()


def maps_of(draft: WindowResult) -> Maps:
    """Return all maps of a draft but those of parts of the schedule, by kind and name
    (`before/horse`), and its control pictures."""
    attention = draft.attention
    words = draft.words
    kinds = {
        "before": {name: one.before for name, one in attention.items()},
        "after": {name: one.after for name, one in attention.items()},
        "source": words.source if words else {},
        "edit": words.edit if words else {},
        "step": draft.step_areas,
    }
    maps = {}
    for kind, by_name in kinds.items():
        for name, array in by_name.items():
            maps[f"{kind}/{name}"] = array
    if draft.control is not None:
        maps["control"] = draft.control
    return maps


def with_maps(draft: WindowResult, maps: Maps) -> WindowResult:
    """Return a draft with maps as `maps_of` returns them."""
    kinds: dict[str, Maps] = {kind: {} for kind in _MAPS}
    for path, array in maps.items():
        kind, _, name = path.partition("/")
        kinds[kind][name] = array
    after = kinds["after"]
    attention = {
        name: RegionAttention(before, after[name])
        for name, before in kinds["before"].items()
    }
    words = None
    if kinds["source"] or kinds["edit"]:
        words = WordAttention(kinds["source"], kinds["edit"])
    steps = kinds["step"]
    areas = {step: steps[str(step)] for step in sorted(map(int, steps))}
    control = kinds["control"].get("")
    return replace(
        draft, attention=attention, words=words, step_areas=areas, control=control
    )


def store_draft(key: Values, draft: WindowResult, paths: Weights) -> None:
    """Cache a draft and the paths of its ends."""
    tensors = {
        f"latents/{number}": latents for number, latents in enumerate(draft.edits)
    }
    if draft.reconstruction is not None:
        tensors["reconstruction"] = draft.reconstruction
    for walk, path in paths.items():
        tensors[f"path/{walk}"] = path
    tensors["given"] = torch.tensor(draft.given)
    for name, array in maps_of(draft).items():
        tensors[name] = torch.from_numpy(np.array(array))
    cache.store(key, tensors)


def load_draft(
    key: Values, device: torch.device
) -> tuple[WindowResult, Tensors] | None:
    """Load a cached draft and the paths of its ends; None if there is none."""
    kept = cache.load(key)
    if kept is None:
        return None
    # Copies, since the last bits of a CPU result depend on memory alignment.
    own = {path: tensor.clone() for path, tensor in kept.items()}

    def placed(kind: str) -> Tensors:
        return {
            path.removeprefix(kind): tensor.to(device)
            for path, tensor in own.items()
            if path.startswith(kind)
        }

    edits = placed("latents/")
    whole = WindowResult(
        tuple(edits[str(number)] for number in range(len(edits))),
        reconstruction=placed("reconstruction").get(""),
        given=int(own["given"]),
    )
    maps = {path: own[path].numpy() for path in own if path.split("/")[0] in _MAPS}
    return with_maps(whole, maps), placed("path/")


def without_anchors(draft: WindowResult, anchors: int) -> WindowResult:
    """Return the draft of a window's own frames, without the anchors before them;
    latents that stand for several frames stay."""
    if not anchors:
        return draft
    maps = {name: array[anchors:] for name, array in maps_of(draft).items()}
    if draft.given:
        return with_maps(draft, maps)
    rebuilt = draft.reconstruction
    own = replace(
        draft,
        edits=tuple(edit[anchors:] for edit in draft.edits),
        reconstruction=None if rebuilt is None else rebuilt[anchors:],
    )
    return with_maps(own, maps)
