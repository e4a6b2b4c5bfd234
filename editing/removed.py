"""What left the product: who still asks for it is told in one line what to use
instead."""

from __future__ import annotations

# By what a person writes: an option, a command, a parameter as `params.NAME`, an
# endpoint as `/NAME`, a kind of file as its reader names it.
_GIF = "`ffmpeg -i edited.mp4 edited.gif` makes one of the edit."
INSTEAD: dict[str, str] = {
    "--gif": _GIF,
    "gif": _GIF,
    "joined recordings": "Give recordings that were joined one clock by "
    "`ffmpeg -i JOINED -crf 12 CLIP.mp4`.",
}


def instead(name: str) -> str:
    """Return what to use instead of a thing that left: one or two sentences, empty for
    what never was."""
    return INSTEAD.get(name, "")
