"""Parameters of vace."""

from __future__ import annotations

from typing import Literal

from regrain.editing.errors import RequestError
from regrain.editing.params.base import Reach, guidance, steps, strength
from regrain.editing.params.flow_regions import BoundParams, shift, span
from regrain.editing.params.written import Share, parameter

_PLAIN = {
    "cross_strength": 0.0,
    "picture_binding": 0.0,
    "mask": "exact",
    "match": False,
    "blend": False,
}


class VaceParams(BoundParams):
    """VACE (Jiang et al. 2025, arXiv:2503.07598), words and pictures bound to regions. See docs/wan.md."""

    PRESETS = {
        "regions": {},
        "authors": _PLAIN | {"steps": 50, "shift": 16.0, "levels": "authors"},
        "diffusers": _PLAIN | {"shift": 3.0, "levels": "diffusers"},
        "fast": {"steps": 4, "guidance_scale": 1.0, "shift": 5.0, "solver": "lcm"},
    }

    preset: Literal["regions", "authors", "diffusers", "fast"] = parameter(
        "regions",
        "Preset",
        "Start from values for regions, from those of the authors or of diffusers, where nothing is bound, "
        "or from values for weights that draw in four steps.",
    )
    steps: int = steps(30)
    strength: Share = strength(1.0)
    guidance_scale: float = guidance(5.0)
    shift: float = shift(8.0)
    solver: Literal["unipc", "euler", "lcm"] = parameter(
        "unipc",
        "Solver",
        "How a run goes from noise to clean: UniPC, Euler, or by fresh noise in each step, for weights that "
        "draw in few.",
        group="Flow",
    )
    mask: Reach = parameter(
        "hull",
        "Area of a region",
        "What is drawn anew: the mask, which forces the old shape, its hull, or the box around it.",
        group="Source",
    )
    keep: Literal["nothing", "grey", "canny", "depth", "pose", "flow", "layout"] = (
        parameter(
            "nothing",
            "Keep of the thing",
            "What the model sees of a thing that it draws anew: grey values, depth, pose, motion, box, or "
            "edges, with which it was not trained.",
            group="Source",
        )
    )
    picture_binding: Share = parameter(
        1.0,
        "Keep pictures apart",
        "How far a region does not see the pictures of others.",
        group="Pictures",
    )
    span: int = span(81)
    window: int = parameter(
        81,
        "Frames at once",
        "Most frames that are edited together; a later window begins with the last of the window before. 0 "
        "takes as many as can be decoded together.",
        (0, 1000),
        group="Long clips",
        reach=64,
    )
    overlap: int = parameter(
        17,
        "Frames handed on",
        "How many finished frames a later window begins with: 0, 1, 5, 9, 13, ...",
        (0, 997),
        group="Long clips",
    )
    match: bool = parameter(
        True,
        "Match colours",
        "Take the colours of each window to those of the source around its regions.",
        group="Long clips",
    )

    @property
    def overlapped(self) -> int:
        """See `MethodParams`."""
        return self.overlap

    @property
    def matches(self) -> bool:
        """See `MethodParams`."""
        return self.match

    @property
    def reach(self) -> Reach:
        """See `MethodParams`."""
        return self.mask

    def check_together(self) -> None:
        """Refuse parameters of picture adapters, too."""
        super().check_together()
        fits = not self.window or self.overlap < self.window
        if self.overlap and (self.overlap % 4 != 1 or not fits):
            most = f", less than the window of {self.window}" if self.window else ""
            raise RequestError(
                "params.overlap",
                f"Expected 0, or a multiple of 4 and 1 more{most}, got {self.overlap}.",
            )
        if self.picture_colors:
            raise RequestError(
                "params.picture_colors",
                "It is for picture adapters; vace sees pictures beside the clip. "
                "Leave it out.",
            )
