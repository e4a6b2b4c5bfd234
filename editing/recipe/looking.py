"""A model that sees pictures while it edits a window, each where its region is, in
every frame.

The empty half of guidance sees the empty picture in the same places. Branches of the
source see none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import PICTURE, Heat, NamedMaps
from regrain.editing.attention.batch import group_of
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Size, plain
from regrain.editing.diffusion.blending import Area
from regrain.editing.diffusion.schedule import Answer, FrameLatents, Step
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.models.pictures.adapter import Half, Pictures
from regrain.editing.models.unet.tuned import View
from regrain.editing.params.base import MethodParams
from regrain.editing.recipe.attention_recorder import AttentionRecorder, HeatScope
from regrain.editing.recipe.events import Event, Preview, Steps, changed
from regrain.editing.recipe.window import (
    WindowFrames,
    WindowResult,
    pooled,
    working_frames,
)
from regrain.editing.request.edit_request import EditRequest

Cover = Callable[[int, Size], Float[Tensor, "frames tokens"]]
"""(label, size of a grid) -> how much of each token its region covers, 0..1."""
# Places within this share of the longer side move to a palette together, so that
# details drawn there stay.
_AROUND = 0.15
_AT_ONCE = 8  # frames
_GUIDED = frozenset(["uncond", "cond"])
Recipe = Callable[..., Steps[WindowResult]]


def covered(request: EditRequest, device: torch.device) -> Cover:
    """Return a function that measures how much of each token a region covers; label 0
    is the whole frame. Each is measured once."""

    def cover(label: int, size: Size) -> Float[Tensor, "frames tokens"]:
        def pool(part: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d((part == label).float(), size)

        area = pooled(request.areas, pool).flatten(1).to(device)
        return area if label else torch.ones_like(area)

    return cache(cover)


def toward(
    x: FrameLatents, palette: Float[Tensor, "places c"], cover: Area
) -> FrameLatents:
    """Return the displacement of each place towards the nearest colours of a palette.

    It is the mean over the covered places around. Before the nearest colour is sought,
    the mean of `x` is moved to that of the palette; otherwise all of a light thing
    would go to the light parts of a dark one.
    """
    mean = (cover * x).sum((0, 2, 3)) / cover.sum().clamp(min=1e-3)
    places = x.movedim(1, -1) + (palette.mean(0) - mean)
    # |p - x|^2 without |x|^2, which is the same for all colours p.
    lengths = palette.square().sum(1)
    nearest = []
    for some in places.split(_AT_ONCE):  # for memory
        far = torch.addmm(
            lengths,
            some.flatten(0, 2),
            palette.T,
            alpha=-2,
        )
        nearest.append(palette[far.argmin(1)])
    ways = cover * (torch.cat(nearest).view_as(places).movedim(-1, 1) - x)
    reach = round(_AROUND * max(x.shape[2:]))
    side = 2 * reach + 1
    ways = F.avg_pool2d(ways, side, 1, reach)
    known = F.avg_pool2d(cover, side, 1, reach)
    return ways / known.clamp(min=1e-3)


def run_looking(
    run: Recipe,
    pictures: Pictures | None,
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    window: WindowFrames,
) -> Steps[WindowResult]:
    """Run a recipe on a window with pictures; their attention maps are added to
    previews and results."""
    if pictures is None:
        return (yield from run(backbone, request, params, window))
    view = Looking(backbone, pictures, request, params)

    def with_maps(event: Event) -> Event:
        if not isinstance(event, Preview):
            return event
        places = [
            window.numbers.index(number, window.anchors) for number in event.indices
        ]
        maps = {**event.attention, **view.now(places)}
        return replace(event, attention=maps)

    events = run(cast("Backbone", view), request, params, window)
    draft = yield from changed(events, with_maps)
    return replace(draft, attention={**draft.attention, **view.maps()})


class Looking(View):
    """A view of a model for one window; neither the model itself nor its inversions
    change."""

    def __init__(
        self,
        backbone: Backbone,
        pictures: Pictures,
        request: EditRequest,
        params: MethodParams,
    ) -> None:
        super().__init__(backbone)
        self.fingerprint = backbone.fingerprint
        self._pictures = pictures
        self._params = params
        self._cover = covered(request, backbone.device)
        self._grid = backbone.grid(*working_frames(backbone, request).shape[:3])
        self._heat = AttentionRecorder(HeatScope.choose(self._grid, backbone.sites))
        self._columns: dict[str, tuple[int]] = {}
        for number, picture in enumerate(pictures.seen):
            asked = picture.asked
            name = f"{PICTURE} of {asked.name}" if asked.label else PICTURE
            self._columns[name] = (number,)
        self._looked = False

    def predict(
        self,
        x: Tensor,
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> Answer:
        """Predict (x0, eps); the edits look at the pictures."""
        halves = [group_of(branch) for branch in text.branches]
        looks = not _GUIDED.isdisjoint(halves)
        if looks:
            attend = self._attend(change.attend or plain, halves)
            change = replace(change, attend=attend)
        if "cond" in halves:
            self._heat.begin(step)
        x0, eps = self._backbone.predict(
            x,
            step,
            text,
            change,
            recompute=recompute,
        )
        if not (looks and self._params.picture_colors):
            return x0, eps
        colored = self._colored(x0, halves)
        new_eps = (x - step.signal * colored) / step.noise
        # Noise stays where colours do.
        return colored, torch.where(colored == x0, eps, new_eps)

    def _colored(self, x0: Tensor, halves: Sequence[str]) -> Tensor:
        """Move the expected latents of both halves some of the way to their pictures'
        colours.

        Each place moves by the mean of the ways, around it, to the nearest colours of
        its picture. This is universal guidance (Bansal et al. 2023, arXiv:2302.07121)
        for a distance whose gradient is known, so nothing is differentiated.
        """
        size = (x0.shape[2], x0.shape[3])
        rows = len(x0) // len(halves)
        out = x0.clone()
        for number, picture in enumerate(self._pictures.seen):
            palette = self._pictures.palette(number, self._backbone).to(x0)
            covered = self._cover(picture.asked.label, size).to(x0)
            cover = covered.view(-1, 1, *size)
            share = self._params.picture_colors * min(1.0, picture.scale) * cover
            for place, half in enumerate(halves):
                if half in _GUIDED:
                    part = slice(place * rows, (place + 1) * rows)
                    out[part] += share * toward(x0[part], palette, cover)
        return out

    def _attend(self, attend: AttentionFn, halves: Sequence[str]) -> AttentionFn:
        """Return `attend`, extended so that the branches of guidance see the pictures,
        of which the first edit is recorded."""
        first = halves.index("cond") if "cond" in halves else None

        def look(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            out = attend(q, k, v, site)
            if site.kind != "cross":
                return out
            reads = self._heat.reads(site)
            rows = len(q) // len(halves)
            parts = list(out.split(rows))
            for number, (half, own) in enumerate(
                zip(halves, q.split(rows), strict=True)
            ):
                if half not in _GUIDED:
                    continue
                terms = self._terms(own, site, cast("Half", half))
                if reads and number == first:
                    self._note(parts[number], terms, site)
                parts[number] = sum(terms, parts[number]).to(out)
            return torch.cat(parts)

        return look

    def _terms(self, q: Tensor, site: AttentionLayer, half: Half) -> list[Tensor]:
        """Return the term that each picture adds to the attention of one branch."""
        size = self._grid.at(site).size
        terms = []
        for number, picture in enumerate(self._pictures.seen):
            cover = self._cover(picture.asked.label, size).to(q)
            share = picture.scale * cover[:, None, :, None]
            terms.append(share * self._pictures.term(q, site.name, half, number))
        return terms

    def _note(self, out: Tensor, terms: Sequence[Tensor], site: AttentionLayer) -> None:
        """Record each picture's share of a layer's output, by the lengths of the terms
        of the sum."""
        own, *others = (
            x.transpose(1, 2).flatten(2).float().norm(dim=-1) for x in (out, *terms)
        )
        whole = sum(others, own).clamp(min=1e-8)
        shares = torch.stack([other / whole for other in others], -1)
        self._heat.add(shares, size=self._grid.at(site).size)
        self._looked = True

    def now(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, for a preview."""
        return self._heat.now(self._columns, frames) if self._looked else {}

    def maps(self) -> Heat:
        """Return the maps over the run."""
        return self._heat.maps(self._columns) if self._looked else {}
