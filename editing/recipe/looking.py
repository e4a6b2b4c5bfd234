"""A model that looks at pictures while it edits a window: each where its region is, in every frame.

The empty half of guidance sees the empty picture in the same places. Branches of the source see none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import PICTURE, RegionAttention
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, plain
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.models.pictures.adapter import Half, Pictures
from regrain.editing.models.unet.tuned import View
from regrain.editing.recipe.attention_recorder import AttentionRecorder, Columns, HeatScope
from regrain.editing.recipe.events import Event, Preview
from regrain.editing.recipe.window import WindowFrames, WindowResult, pooled, working_frames

if TYPE_CHECKING:
    from regrain.editing.diffusion.schedule import Step
    from regrain.editing.diffusion.text import PromptEmbedding
    from regrain.editing.params.base import MethodParams
    from regrain.editing.request.edit_request import EditRequest

Cover = Callable[[int, tuple[int, int]], Float[Tensor, "frames tokens"]]
"""(label, size of a grid) -> how much of each token its region covers, 0..1."""
# Of the longer side, each way: places so near go to a palette alike, so that what is drawn there stays.
_AROUND = 0.15
_AT_ONCE = 8  # frames
Recipe = Callable[..., Generator[Event, None, WindowResult]]


def covered(request: EditRequest) -> Cover:
    """How much of each token the area of a region covers; the whole frame has label 0."""

    def cover(label: int, size: tuple[int, int]) -> Float[Tensor, "frames tokens"]:
        area = pooled(
            request.areas, lambda part: F.adaptive_avg_pool2d((part == label).float(), size)
        )
        return area.flatten(1) if label else torch.ones_like(area).flatten(1)

    return cache(cover)


def toward(
    x: Float[Tensor, "frames c h w"],
    palette: Float[Tensor, "places c"],
    cover: Float[Tensor, "frames 1 h w"],
) -> Float[Tensor, "frames c h w"]:
    """From each place to the nearest one of a palette; the mean of the covered ones around it.

    The means of both are taken for equal, or all of a light thing would go to the light parts of a dark one.
    """
    mean = (cover * x).sum((0, 2, 3)) / cover.sum().clamp(min=1e-3)
    places = x.movedim(1, -1) + (palette.mean(0) - mean)
    lengths = palette.square().sum(1)
    # The nearest has the least |p - x|^2, of which |x|^2 decides nothing; few frames at once, for memory.
    far = (
        torch.addmm(lengths, some.flatten(0, 2), palette.T, alpha=-2)
        for some in places.split(_AT_ONCE)
    )
    nearest = torch.cat([palette[each.argmin(1)] for each in far])
    ways = cover * (nearest.view_as(places).movedim(-1, 1) - x)
    reach = round(_AROUND * max(x.shape[2:]))
    ways, known = (F.avg_pool2d(each, 2 * reach + 1, 1, reach) for each in (ways, cover))
    return ways / known.clamp(min=1e-3)


def run_looking(
    run: Recipe,
    pictures: Pictures | None,
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    piece: WindowFrames,
) -> Generator[Event, None, WindowResult]:
    """Run a recipe on a window with pictures; its previews and maps also say where they are looked at."""
    if pictures is None:
        return (yield from run(backbone, request, params, piece))
    view = Looking(backbone, pictures, request, params)
    events = run(cast("Backbone", view), request, params, piece)
    try:
        while True:
            event = next(events)
            if isinstance(event, Preview):
                places = [piece.numbers.index(number, piece.anchors) for number in event.indices]
                event = replace(event, attention={**event.attention, **view.now(places)})
            yield event
    except StopIteration as stop:
        draft: WindowResult = stop.value
        return replace(draft, attention={**draft.attention, **view.maps()})
    finally:
        events.close()


class Looking(View):
    """A view of a model for one window; the model itself does not change, nor what its inversions are."""

    def __init__(
        self, backbone: Backbone, pictures: Pictures, request: EditRequest, params: MethodParams
    ) -> None:
        super().__init__(backbone)
        self.fingerprint = backbone.fingerprint
        self._pictures, self._params, self._cover = pictures, params, covered(request)
        self._layers = pictures.acting(params.picture_blocks)
        self._grid = backbone.grid(*working_frames(backbone, request).shape[:3])
        self._heat = AttentionRecorder(HeatScope.choose(self._grid, backbone.sites))
        names = (
            f"{PICTURE} of {p.asked.name}" if p.asked.label else PICTURE for p in pictures.seen
        )
        self._columns: Columns = {name: (number,) for number, name in enumerate(names)}
        self._looked = False

    def predict(
        self,
        x: Tensor,
        step: Step,
        text: PromptEmbedding,
        change: Intervention = PLAIN,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict (x0, eps); the edits look at the pictures."""
        halves = [branch.partition("/")[0] for branch in text.branches]
        if not {"uncond", "cond"} & set(halves):
            return self._backbone.predict(x, step, text, change, recompute=recompute)
        if "cond" in halves:
            self._heat.begin(step)
        change = replace(change, attend=self._attend(change.attend or plain, halves, step))
        x0, eps = self._backbone.predict(x, step, text, change, recompute=recompute)
        if not self._params.picture_colors or not self._acts(step):
            return x0, eps
        colored = self._colored(x0, halves)
        return colored, torch.where(colored == x0, eps, (x - step.signal * colored) / step.noise)

    def _acts(self, step: Step) -> bool:
        params = self._params
        return step.within(params.picture_until, begun=True) and not step.within(
            params.picture_from
        )

    def _colored(self, x0: Tensor, halves: Sequence[str]) -> Tensor:
        """The expected latents of both halves, taken some of the way to their pictures' colours.

        Each place goes to the place of its picture that is nearest to it, by where the places around it go.
        This is what universal guidance (Bansal et al. 2023, arXiv:2302.07121) does for a distance whose
        gradient is known, so nothing is differentiated.
        """
        rows, out = len(x0) // len(halves), x0.clone()
        for number, picture in enumerate(self._pictures.seen):
            palette = self._pictures.palette(number, self._backbone).to(x0)
            size = (x0.shape[2], x0.shape[3])
            cover = self._cover(picture.asked.label, size).to(x0).view(rows, 1, *size)
            share = self._params.picture_colors * min(1.0, picture.scale) * cover
            for at, half in enumerate(halves):
                if half in ("uncond", "cond"):
                    part = slice(at * rows, (at + 1) * rows)
                    out[part] += share * toward(x0[part], palette, cover)
        return out

    def _attend(self, attend: AttentionFn, halves: Sequence[str], step: Step) -> AttentionFn:
        acts = self._acts(step)

        def look(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            out = attend(q, k, v, site)
            if site.kind != "cross":
                return out
            acting, watched = acts and site.name in self._layers, "cond" in halves
            rows = len(q) // len(halves)
            parts = list(out.split(rows))
            for number, half in enumerate(halves):
                if half in ("uncond", "cond"):
                    terms = self._terms(q[number * rows :][:rows], site, cast("Half", half), acting)
                    if half == "cond" and watched and self._heat.reads(site):
                        watched = False  # of several edits the first
                        self._note(parts[number], terms, site)
                    parts[number] = sum(terms, parts[number]).to(out) if acting else parts[number]
            return torch.cat(parts) if acting else out

        return look

    def _terms(self, q: Tensor, site: AttentionLayer, half: Half, acting: bool) -> list[Tensor]:
        """What each picture adds in one branch."""
        if not acting:
            return [torch.zeros_like(q[:, :, :, :1])] * len(self._pictures.seen)
        size, found = self._grid.at(site).size, []
        for number, picture in enumerate(self._pictures.seen):
            share = picture.scale * self._cover(picture.asked.label, size).to(q)[:, None, :, None]
            found.append(share * self._pictures.term(q, site.name, half, number))
        return found

    def _note(self, out: Tensor, terms: Sequence[Tensor], site: AttentionLayer) -> None:
        """Note how much of what a layer finds is of each picture, by the lengths of what is added up."""
        own, *others = (x.transpose(1, 2).flatten(2).float().norm(dim=-1) for x in (out, *terms))
        whole = sum(others, own).clamp(min=1e-8)
        shares = torch.stack([other / whole for other in others], -1)
        self._heat.add(shares, size=self._grid.at(site).size)
        self._looked = True

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """This step's maps of some frames, for a preview."""
        return self._heat.now(self._columns, frames) if self._looked else {}

    def maps(self) -> dict[str, RegionAttention]:
        """Maps over the run."""
        return self._heat.maps(self._columns) if self._looked else {}
