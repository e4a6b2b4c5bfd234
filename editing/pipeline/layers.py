"""A finished edit in layers, for people who go on working with it: the frames, the edit
alone, and the matte that tells how much of it they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from regrain.editing.media.clip import ArrayClip, Clip
from regrain.editing.media.lazy_frames import (
    AnyLabels,
    Frames,
    LazyFrames,
    Rgba,
    frames_of,
)
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import (
    AI_EDITED,
    write_lossless,
)
from regrain.editing.recipe.events import EditResult

_FILES = {"frames": "frames.mkv", "drawn": "drawn.mkv", "matte": "matte.mkv"}


@dataclass(frozen=True)
class Layers:
    """The layers of one edit.

    Attributes:
        frames: The edit over the source.
        drawn: The edit alone, as the model drew it, in straight colours.
        matte: How much of it `frames` show, 0 to 255.
        clip: Says timing, sound and colour tags.
    """

    frames: Frames
    drawn: Frames
    matte: AnyLabels
    clip: Clip

    def rgba(self) -> Iterator[Rgba]:
        """Yield frames with the matte as straight alpha: over the source, they are
        `frames`.

        Where nothing of the edit is shown, the colours are the source's.
        """
        layers = zip(self.frames, self.drawn, self.matte, strict=True)
        for frame, drawn, matte in layers:
            alpha = matte[..., None]
            shown = np.where(alpha > 0, drawn, frame)
            yield np.concatenate([shown, alpha], axis=-1)


def layers_of(result: EditResult, clip: Clip) -> list[Layers]:
    """Return the layers of each edit of a run."""
    mask = result.edited_mask
    whole = LazyFrames(
        mask.shape,
        np.uint8,
        lambda start, stop: 255 * mask[start:stop].astype(np.uint8),
    )
    return [
        Layers(edit.frames, edit.uncomposited, edit.matte or whole, clip)
        for edit in (result, *result.others)
    ]


def keep_layers(layers: Layers, folder: Path) -> None:
    """Write layers into a folder without loss, so that any format can be made of them
    later."""
    folder.mkdir(parents=True, exist_ok=True)
    grey = LazyFrames(
        (*layers.matte.shape, 3),
        np.uint8,
        lambda start, stop: np.repeat(layers.matte[start:stop][..., None], 3, axis=-1),
    )
    kept = {"frames": layers.frames, "drawn": layers.drawn, "matte": grey}
    for name, frames in kept.items():
        write_lossless(folder / _FILES[name], ArrayClip(frames, layers.clip.fps))


def kept_layers(folder: Path, video: Path) -> Layers:
    """Read what `keep_layers` wrote; `video` is the edit's own, whose times and sound
    they have.

    Raises:
        FileNotFoundError: Nothing was kept.
    """
    clip = VideoClip(video)
    kept = {}
    for name, file in _FILES.items():
        if not (folder / file).is_file():
            raise FileNotFoundError(folder / file)
        kept[name] = frames_of(VideoClip(folder / file))
    matte = kept["matte"].changed(lambda grey: grey[..., 0], np.uint8)
    return Layers(kept["frames"], kept["drawn"], matte, clip)


def write_pictures(frames: Frames | AnyLabels, folder: Path) -> None:
    """Write frames as PNG files, from `00000.png` on, without loss."""
    folder.mkdir(parents=True)
    about = PngInfo()
    about.add_text("Comment", AI_EDITED)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:05d}.png", pnginfo=about)
