"""The filter of a public page: results of real checkpoints are shown only if they pass.

Published as `StableDiffusionSafetyChecker`: a CLIP vision model with embeddings of
concepts. The built-in model draws a picture-book world and is not checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.recipe.events import Event, Finished, Preview, Ready
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.local_models import absent, find_local, local_entries
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.safetensors_files import LOADING, check_read, quieten
from regrain.ui.work.jobs import RunEdit

FOLDER = "safety_checker"
_EVERY = 4  # every fourth frame is looked at, and the last
_BATCH = 8  # pictures
# CLIP's normalization
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_WITHHELD = "The safety filter withheld it. Change the words, or use another clip."
_ALONE = "Only the built-in model runs here, since the safety checker"
_MISSING = f"{_ALONE} was not found. Put it into $REGRAIN_MODELS/{FOLDER}."
_BROKEN = f"{_ALONE} cannot be loaded. Use its safetensors file."


def wanted() -> bool:
    """Return whether results are checked: on a Hugging Face Space, or as
    $REGRAIN_SAFETY says, 1 or 0."""
    usual = "1" if os.environ.get("SPACE_ID") else "0"
    return os.environ.get("REGRAIN_SAFETY", usual) != "0"


def guarded(edit: RunEdit) -> RunEdit:
    """Make an editor withhold results that do not pass, by a RequestError, and show
    nothing before.

    Real checkpoints are refused where no checker can be loaded; see `find_checker` and
    `load_checker`.
    """

    def edit_and_check(request: EditRequest) -> Iterator[Event]:
        if request.model == BUILT_IN_MODEL:
            yield from edit(request)
            return
        checker = load_checker(find_checker(request.model))
        with closing(edit(request)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Finished):
                    _check(event, checker)
                if not isinstance(event, Preview | Ready):
                    yield event

    return edit_and_check


def find_checker(model: str) -> Path:
    """Return the folder of the checker: the model's own, the shared one, or any other
    model's.

    Raises:
        ModelError: There is none.
    """
    own = find_local(model)
    shared = find_local(FOLDER)
    places = []
    if own:
        places.append(own / FOLDER)
    if shared:
        places.append(shared)
    places += [entry / FOLDER for entry in local_entries()]
    for place in places:
        if os.path.isfile(place / "config.json"):
            return place
    raise ModelError("model", f"{_MISSING}{absent()}")


@lru_cache(maxsize=1)
def load_checker(folder: Path) -> Any:
    """Load the checker in a folder, on the device that edits; a ModelError if it cannot
    be loaded."""
    from diffusers.pipelines.stable_diffusion.safety_checker import (
        StableDiffusionSafetyChecker,
    )

    load: Any = StableDiffusionSafetyChecker.from_pretrained
    quieten("transformers")
    with boundary("model", _BROKEN, ModelError), LOADING:
        checker, loading = load(
            folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    # Random weights would pass everything, as NaN would.
    check_read(loading["missing_keys"], FOLDER)
    check_finite(checker, FOLDER)
    return checker.eval().to(choose_device())


def flags(checker: Any, frames: Iterator[Rgb]) -> bool:
    """Return whether any of these frames does not pass."""
    import torch

    side = checker.config.vision_config.image_size
    device = next(checker.parameters()).device
    every = (square for frame in frames for square in squares(frame, side))
    while batch := list(islice(every, _BATCH)):
        pixels = torch.from_numpy(np.stack(batch)).to(device)
        # the images themselves would be blacked out
        nothing = np.zeros((len(batch), 1))
        _, flagged = checker(clip_input=pixels, images=nothing)
        if any(flagged):
            return True
    return False


def squares(frame: Rgb, side: int) -> list[np.ndarray]:
    """Return squares that cover a frame, as CLIP reads them: float32 [3, side,
    side]."""
    height, width = frame.shape[:2]
    short = min(height, width)
    found = []
    long = max(height, width)
    count = -(-long // short)
    for number in range(count):  # evenly spread, so that they cover the longer side
        start = round(number * (long - short) / max(1, count - 1))
        stop = start + short
        cut = frame[:, start:stop] if width > height else frame[start:stop]
        picture = Image.fromarray(np.ascontiguousarray(cut))
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        values = np.asarray(picture, np.float32) / 255
        values = (values - _MEAN) / _DEVIATION
        found.append(values.transpose(2, 0, 1).astype(np.float32))
    return found


def _check(event: Finished, checker: Any) -> None:
    """Raise RequestError if an edit of a result, or its reconstruction, does not
    pass."""
    result = event.result
    edits = [result.frames, result.uncomposited]
    edits += [other.frames for other in result.others]
    if result.reconstruction is not None:
        edits.append(result.reconstruction)
    for frames in edits:
        last = len(frames) - 1
        looked = dict.fromkeys([*range(0, len(frames), _EVERY), last])
        if flags(checker, (np.asarray(frames[index]) for index in looked)):
            raise RequestError("result", _WITHHELD)
