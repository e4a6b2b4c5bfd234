"""Frames that are woven of two fields, made whole by FFmpeg's filter bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import cast

import av
import av.filter

from regrain.editing.boundary import boundary
from regrain.editing.errors import ClipError


def deinterlace(
    frames: Iterator[av.VideoFrame], *, marked: bool
) -> Iterator[av.VideoFrame]:
    """Make whole frames of those that are woven of two fields, one for each, at their
    times.

    Args:
        frames: Decoded one after the other; each is made by those before and after it,
            too.
        marked: Leave those as they are that do not say that they are woven.
    """
    first = next(frames, None)
    if first is None:
        return
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width,
        height=first.height,
        format=first.format,
        time_base=first.time_base,
    )
    sink = graph.add("buffersink")
    options = f"mode=send_frame:deint={'interlaced' if marked else 'all'}"
    graph.link_nodes(source, graph.add("bwdif", options), sink).configure()
    waiting: deque[av.VideoFrame] = deque()
    said = "The clip cannot be deinterlaced. Re-encode it, or leave this out."
    with boundary("clip.deinterlace", said, ClipError):
        for frame in chain([first], frames, [None]):
            if frame is not None:
                waiting.append(frame)
            source.push(frame)
            while waiting:
                try:
                    made = cast(av.VideoFrame, sink.pull())
                except (av.BlockingIOError, av.EOFError):
                    break  # it looks at the frames after, too
                given = waiting.popleft()
                made.pts = given.pts
                made.time_base = given.time_base
                yield made
