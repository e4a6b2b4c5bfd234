"""Draw the last steps of a finished edit again, from frames that agree."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from regrain.editing.diffusion.schedule import FrameLatents
from regrain.editing.models.backbone import Backbone
from regrain.editing.motion.smoothing import steady
from regrain.editing.recipe.window import ResizedClip

_CALM = 3.0  # frames over which an edit is averaged before it is drawn again


def calmed(
    backbone: Backbone,
    working: ResizedClip,
    x: FrameLatents,
    flow: Literal["auto", "dis", "raft"],
) -> FrameLatents:
    """Average the frames of a finished edit along the motion of the clip, which does
    not lead over a break.

    Details that frames agree on outlast the noise that is added next; remains of the
    old thing do not. If every frame had noise of its own, frames would disagree again.

    Source: Xu et al. 2023, arXiv:2306.14878 (Restart), for clips.
    """
    frames = backbone.decode(x)
    calm = []
    for start, stop in pairwise((0, *working.window.breaks, len(frames))):
        own = iter(frames[start:stop])
        calm += steady(own, iter(working.frames[start:stop]), _CALM, flow)
    return backbone.encode(np.stack(calm))
