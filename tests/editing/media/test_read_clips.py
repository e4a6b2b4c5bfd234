"""What is read of clips of many kinds: size, times, what is said, and the pictures."""

from fractions import Fraction
from pathlib import Path

import pytest
from json_files import read_json
from made_clips import moving, off, write_clip

from regrain.editing.media.clip import ColorTags, resize
from regrain.editing.media.reading import open_clip

CLIPS = read_json(Path(__file__).with_name("read_clips.json"))
"""How a clip is written and opened, and what is then read of it."""


def made(given, folder):
    """A clip of a table, and its pictures."""
    how = dict(given["written"])
    for name, kind in {"fps": Fraction, "aspect": Fraction}.items():
        if name in how:
            how[name] = kind(how[name])
    if "tags" in how:
        how["tags"] = ColorTags(*how["tags"])
    frames = moving(how.pop("count", len(how.get("stamps", range(6)))))
    path = write_clip(folder / how.pop("name"), frames, **how)
    part = given.get("opened", {})
    chosen = frames[part.get("start", 0) :: part.get("stride", 1)]
    return open_clip(path, **part), chosen[: part.get("frames")]


def told(clip):
    """What a clip says of itself."""
    return {
        "size": [*clip.size],
        "fps": str(clip.fps),
        "times": clip.times and " ".join(map(str, clip.times)),
        "duration": str(clip.duration),
        "said": clip.warnings,
    }


@pytest.mark.parametrize("kind", CLIPS)
def test_a_clip_is_read_as_it_was_written(kind, tmp_path):
    clip, frames = made(CLIPS[kind], tmp_path)
    assert told(clip) == CLIPS[kind]["read"]
    shown = clip.read(0, len(clip))
    assert off(shown, resize(frames, clip.size)).mean() < 16
