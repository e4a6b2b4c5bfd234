"""Steps of `python -m masks track`: clicks become key frames, masks are written as they
come."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.progress import track as show

from regrain.editing.errors import MaskError
from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels
from regrain.editing.media.mask_files import write_frame
from regrain.masks.io.files import colors_of
from regrain.masks.models.finders import CUTS
from regrain.masks.models.sam import missing
from regrain.masks.segmentation.click import segment
from regrain.masks.track.corrections import ByLabel, Pass, plan
from regrain.masks.track.propagate import Confidence, propagate
from regrain.masks.track.uncertainty import judged

# By label and frame: points (x, y) and their labels.
Clicks = dict[int, dict[int, tuple[list[tuple[float, float]], list[int]]]]
Given = dict[int, dict[int, np.ndarray]]
Confidences = dict[int, dict[int, float]]


def masks_of_clicks(
    clip: Clip, clicks: Clicks, method: str, model: str | None
) -> Given:
    """Find the mask of every click: by frame and label, bool [height, width].

    Clicks are in pixels of the clip; `method` and `model` are as for `masks.segment`.

    Raises:
        MaskError: Nothing was found.
        ModelError: The weights are missing or unknown.
    """
    lacking = missing()
    if method == "sam" and model is None and lacking:
        typer.echo(f"warning: {lacking}", err=True)
        method = CUTS
    keys: Given = {}
    for label, by_frame in clicks.items():
        for frame, (points, kinds) in by_frame.items():
            image = clip.read(frame, frame + 1)[0]
            find = partial(
                segment, image, method=method, model=model, clip=clip, frame=frame
            )
            mask = None
            if kinds[0] == 1:  # the first click alone selects the whole object
                mask = find(points[:1], kinds[:1])
            if mask is None or len(points) > 1:
                mask = find(points, kinds, previous=mask)
            if not mask.any():
                raise MaskError(
                    "--click",
                    f"Nothing was found for label {label} in frame {frame}. Click "
                    "nearer to its middle.",
                )
            keys.setdefault(frame, {})[label] = mask
    return keys


def follow(clip: Clip, keys: Given, folder: Path, tracker: str = CUTS) -> Confidences:
    """Track key frames through the clip and write the labels of every frame.

    Returns:
        By label and frame, how sure the mask is; see `masks.track.uncertainty.judged`.
    """
    labels_of_keys = dict.fromkeys(chain.from_iterable(keys.values()))
    colors = colors_of(labels_of_keys)
    confidences: Confidences = {label: {} for label in colors}
    all_frames = range(len(clip))
    whole = Pass(all_frames, keys, {label: [all_frames] for label in colors})
    for frame, labels, _ in _tracked(clip, [whole], keys, confidences, tracker):
        write_frame(labels, folder, frame, colors)
    return confidences


def correct(
    clip: Clip,
    given: Given,
    folder: Path,
    before: Labels,
    right: Collection[int],
    tracker: str = CUTS,
) -> Confidences:
    """Track given masks up to the frames whose masks are right; other labels stay, and
    all are written.

    Args:
        clip: The clip.
        given: Corrected masks, by frame and label.
        folder: Where labels are written, one PNG per frame.
        before: Labels as they were.
        right: Frames, from 0, at which tracking ends.
        tracker: As for `masks.propagate`.

    Returns:
        By corrected label and changed frame, how sure the mask is.
    """
    known = partial(_masks_at, before)
    keys = _with_known(given, {frame: known(frame) for frame in right})
    corrected: dict[int, list[int]] = {}
    for frame, masks in given.items():
        for label in masks:
            corrected.setdefault(label, []).append(frame)
    colors = colors_of(before.present | corrected.keys())
    for frame, seen in enumerate(before):
        write_frame(seen, folder, frame, colors)
    confidences: Confidences = {label: {} for label in corrected}
    passes = plan(keys, corrected, known, len(clip))
    tracked = _tracked(
        clip,
        passes,
        keys,
        confidences,
        tracker,
    )
    for frame, found, changed in tracked:
        old = before[frame]
        new = old.copy()
        for label in changed:
            # What the region gives up goes to whatever was seen there.
            new = np.where(new == label, found, new)
            new[found == label] = label
        write_frame(new, folder, frame, colors)
    return confidences


def with_masks_at(given: Given, labels: Labels, frame: int) -> Given:
    """Add the masks that labels have at a frame to given ones, which are in front."""
    return _with_known(given, {frame: _masks_at(labels, frame)})


def _with_known(given: Given, keys: Given) -> Given:
    """Add given masks to key frames, in front of the masks that are there."""
    added = dict(keys)
    for frame, masks in given.items():
        there = keys.get(frame, {})
        others = {label: mask for label, mask in there.items() if label not in masks}
        added[frame] = masks | others
    return added


def _tracked(
    clip: Clip,
    passes: Sequence[Pass],
    keys: Mapping[int, Mapping[int, np.ndarray]],
    confidences: Confidences,
    tracker: str,
) -> Iterator[tuple[int, np.ndarray, list[int]]]:
    """Yield frame, labels and the regions that take them; fill in `confidences`, show
    progress."""
    # in pixels, over the key frames that show a label
    areas: dict[int, list[int]] = {}
    for masks in keys.values():
        for label, mask in masks.items():
            if mask.any():
                areas.setdefault(label, []).append(int(mask.sum()))
    means = {label: float(np.mean(found)) for label, found in areas.items()}

    def steps() -> Iterator[tuple[Pass, int, np.ndarray, Confidence]]:
        for part in passes:
            tracked = propagate(
                clip,
                part.keys,
                start=part.frames.start,
                stop=part.frames.stop,
                tracker=tracker,
            )
            for frame, labels, sure in tracked:
                yield part, frame, labels, sure

    total = sum(len(part.frames) for part in passes)
    shown = show(
        steps(),
        "tracking",
        total=total,
        console=Console(stderr=True),
    )
    for part, frame, labels, sure in shown:
        changed = part.labels_at(frame)
        for label in changed:
            share = float((labels == label).sum()) / means.get(label, 1.0)
            confidences[label][frame] = judged(sure.regions.get(label, 0.0), share)
        yield frame, labels, changed


def _masks_at(labels: Labels, frame: int) -> ByLabel:
    seen = labels[frame]
    return {label: seen == label for label in sorted(labels.present)}
