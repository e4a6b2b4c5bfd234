"""A look at the result of a run: which words each region is nearest to, and how clear it
is.

The share of crops that are nearest to their own words is the cross-instance accuracy of
arXiv:2412.12877.
"""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np

from regrain.editing.media.clip import resize, within
from regrain.editing.media.lazy_frames import Frames
from regrain.editing.models.backbone import Backbone
from regrain.editing.recipe.events import EditResult, Progress, Stage, Steps
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.verdict.answers import Looked, say, unseen
from regrain.editing.verdict.crop_reader import CropReader, reader_of
from regrain.editing.verdict.wishes import Wish, wishes

_SIDE = 512  # pixels of a crop that is kept; readers see fewer


def look_at(
    request: EditRequest, result: EditResult, backbone: Backbone
) -> Steps[list[Looked]]:
    """Look at every edit of a run, and return what the report says of each.

    An edit is kept, whatever happens here: what went wrong is said in its place.
    """
    edits = [result.frames, *(other.frames for other in result.others)]
    name = reader_of(request.reader, backbone.id)
    if not name:
        return [unseen(name, "no reader is chosen")] * len(edits)
    enough = threading.Event()
    yield Stage("looking", enough.set)
    found = []
    try:
        reader = CropReader(name)
        pairs = zip(edits, request.targets, strict=True)
        for number, (frames, prompt) in enumerate(pairs, 1):
            regions = []
            known = (reader.kinds, reader.places, reader.styles)
            for wish in wishes(request, prompt, *known):
                if enough.is_set():
                    return [unseen(name, "that was skipped")] * len(edits)
                regions.append(_look(reader, wish, frames, backbone))
            found.append(say(name, regions))
            yield Progress("looking", number, len(edits))
    except Exception as error:
        return [unseen(name, str(error))] * len(edits)
    return found


def _look(reader: CropReader, wish: Wish, frames: Frames, backbone: Backbone) -> Looked:
    """Look at a region in some of its frames."""
    found: Looked = {"region": wish.region, "words": wish.words, "there": None}
    if not wish.others:
        return found
    crops = []
    for number, box in zip(wish.frames, wish.boxes, strict=True):
        (frame,) = frames[number : number + 1]
        left, top, right, bottom = box
        # Beyond the frame its edge is repeated.
        last = len(frame) - 1
        end = frame.shape[1] - 1
        rows = np.arange(top, bottom).clip(0, last)
        columns = np.arange(left, right).clip(0, end)
        crop = frame[rows][:, columns]
        size = within(crop.shape[1::-1], _SIDE)
        (kept,) = resize(crop[None], size)
        crops.append(kept)
    phrases = (*wish.others, wish.words)  # as near as others is not nearest
    # Each of the channels is once red: what a thing is does not depend on that.
    turns = range(3 if wish.pictured else 1)
    colourings = [np.roll(crop, turn, 2) for turn in turns for crop in crops]
    each = reader.cosines(colourings, phrases, backbone.device)
    of_turns = each.reshape(len(turns), len(crops), -1)
    cosines = of_turns.mean(0)
    best = cosines[:, :-1].max(1)
    margins = cosines[:, -1] - best
    nearest = [phrases[place] for place in cosines.argmax(1)]
    share = nearest.count(wish.words) / len(nearest)
    margin = float(margins.mean())
    instead = Counter(text for text in nearest if text != wish.words)
    clear = reader.clear(crops, backbone.device)
    return found | {
        "there": reader.rule.holds(share, margin, clear),
        "clear": clear,
        "mush": clear is not None and clear < reader.rule.mush,
        "share": round(share, 4),
        "margin": round(margin, 4),
        "frames": wish.frames.tolist(),
        "nearest": nearest,
        "margins": np.round(margins.astype(float), 4).tolist(),
        "instead": max(instead, key=instead.__getitem__, default=None),
    }
