"""VACE: what masks cover of a clip is drawn anew by words and pictures (Jiang et al. 2025,
arXiv:2503.07598), all of them bound to their regions.

Control blocks beside those of the network read the clip without what is drawn anew, the
mask, and latents of pictures ahead of the clip, which are denoised along and dropped.
Words are bound by modulated cross-attention (VideoGrain, arXiv:2502.17258, Eq. 6) in both
kinds of blocks; a picture is seen by its own region and the background alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from regrain.editing.attention.averages import NamedMaps, WordAttention
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, plain
from regrain.editing.attention.references import Separation
from regrain.editing.diffusion.blending import Area
from regrain.editing.diffusion.flow import (
    Euler,
    FlowSchedule,
    Renoised,
    Solver,
    UniPC,
)
from regrain.editing.diffusion.schedule import (
    FrameLatents,
    Step,
    add_noise,
    generator,
    late_steps,
)
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import resize_labels
from regrain.editing.media.images import read_picture
from regrain.editing.media.lazy_frames import Masks, Rgb, RgbFrames
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.finite import checked_together
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.wan.condition import HIDDEN, condition, cut_out
from regrain.editing.models.wan.keep import kept_of
from regrain.editing.params.vace import VaceParams
from regrain.editing.recipe.events import Stage, Steps
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.region_words import (
    ClipModel,
    Piece,
    RegionText,
    TokenRegions,
    WordAttending,
    pieces_of,
)
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest

_PICTURES = 4  # of the seed of noise of pictures


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: VaceParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    subjects = subjects_of(request)
    before = len(subjects)
    codes = [one.code for one in subjects]
    regions = TokenRegions(backbone, request, working, codes)
    model, words = bound_words(backbone, request, regions, params)

    yield Stage("editing")
    kept = kept_frames(request, working, params)
    hidden = working.drawn_anew()
    frames, given = with_finished(working, hidden)
    inside = HIDDEN if kept is None else kept
    context = condition(
        backbone.encode,
        np.where(hidden[..., None], inside, frames),
        hidden.astype(np.float32),
        [one.picture for one in subjects],
        per_latent=backbone.frames_per_latent,
    )
    shown = Shown.of(context, subjects, regions, request, params)
    source = backbone.encode(frames)
    pictures = context[:before, : source.shape[1]]
    gate = drawn_latents(working, given) if params.blend else None

    fresh = torch.Generator().manual_seed(request.seed)
    beside = generator(request.seed, _PICTURES)

    def draw() -> FrameLatents:
        """Draw noise: that of the clip is the same whatever pictures there are."""
        both = ((pictures, beside), (source, fresh))
        drawn = [torch.randn(part.shape, generator=one) for part, one in both]
        return torch.cat(drawn).to(source)

    solver = solver_of(params.solver, draw)
    schedule = FlowSchedule(params.shift).sampling(params.steps, params.levels)
    steps = late_steps(schedule, params.strength)
    x = clean = torch.cat([pictures, source])
    if steps:
        x = draw() if params.strength == 1 else add_noise(clean, draw(), steps[0])
    told = StepEvents(source, working, params.preview_every, len(steps))
    columns = words.columns(request)

    def now(latents: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some latents of the clip."""
        return words.heat.now(columns, [before + latent for latent in latents])

    for step in steps:
        words.heat.begin(step)
        with checked_together(step):
            x0, _ = model.guided(x, step, words, params.guidance_scale, shown.change)
        if gate is not None:
            blended = gate * x0[before:] + (1 - gate) * source
            x0 = torch.cat([x0[:before], blended])
        x = solver.advance(x, x0, step)
        yield from told(step, x0[before:], now)
    result = WindowResult((x[before:],), control=kept, given=given)
    if not steps:
        return result
    maps = words.maps(columns, working.latents)
    seen = WordAttention({}, words.word_maps(working.latents))
    return replace(result, attention=maps, words=seen)


def bound_words(
    backbone: Backbone,
    request: EditRequest,
    regions: TokenRegions,
    params: VaceParams,
) -> tuple[ClipModel, WordAttending]:
    """Return the model as it is called for pieces of the clip, and the attention to the
    prompt, whose words are bound to regions."""
    most = 1 + (params.span - 1) // backbone.frames_per_latent
    before = regions.pictures
    pieces = pieces_of(len(regions.codes) - before, most, before)
    model = ClipModel(backbone, request.negatives, pieces)
    text = RegionText.of(backbone, request, request.composed, "prompt")
    return model, WordAttending(text, regions, params, pieces, True)


def solver_of(name: str, draw: Callable[[], FrameLatents]) -> Solver:
    """Return a solver for one run; `draw` makes noise for one that adds some."""
    if name == "unipc":
        return UniPC()
    return Euler() if name == "euler" else Renoised(draw)


def drawn_latents(working: ResizedClip, given: int) -> Area | None:
    """Return the edited regions on the latents' grid, without those of frames that are
    given; None if all is edited."""
    inside = working.inside()
    if inside is None or not given:
        return inside
    inside = inside.clone()
    inside[: working.latents[given - 1] + 1] = 0
    return inside


class Subject(NamedTuple):
    """A picture of what something should become, cut out on white; the code of its
    region, 0 for the whole clip; and how strongly it acts."""

    picture: Rgb
    code: int
    scale: float


def subjects_of(request: EditRequest) -> list[Subject]:
    """Read the pictures of a request, the whole clip's first.

    Raises:
        RequestError: A picture cannot be read.
    """
    codes = {region.label: code for code, region in enumerate(request.regions, 1)}
    found = []
    for asked in request.pictures:
        picture = cut_out(read_picture(asked.path, asked.field))
        scale = 1.0 if asked.scale is None else asked.scale
        found.append(Subject(picture, codes.get(asked.label, 0), scale))
    return found


def with_finished(working: ResizedClip, hidden: Masks) -> tuple[RgbFrames, int]:
    """Return the clip with the finished frames of the window before, and their number;
    in these nothing is drawn anew, so `hidden` is cleared."""
    finished = working.window.finished
    if finished is None:
        return working.frames, 0
    given = len(finished)
    own = hidden[:given, ..., None]
    before = np.where(own, finished, working.frames[:given])
    hidden[:given] = False
    return np.concatenate([before, working.frames[given:]]), given


def kept_frames(
    request: EditRequest, working: ResizedClip, params: VaceParams
) -> RgbFrames | None:
    """Draw what things that are drawn anew keep; None if that is nothing."""
    if params.keep == "nothing":
        return None
    size = working.frames.shape[2], working.frames.shape[1]
    areas = [resize_labels(frame, size) for frame in request.areas]
    labels = np.stack(areas)
    masks: list[Masks] = [labels == region.label for region in request.edited]
    return kept_of(working.frames, masks, params.keep)


@dataclass(frozen=True, eq=False)
class Shown:
    """The condition that control blocks read in every call, and how pictures are kept
    apart.

    Attributes:
        context: See `Intervention`.
        token_scale: How strongly control blocks act on each token, [time, tokens]; None for 1.
        codes: Edited region of every token, 0 for none, [time, tokens].
        pictures: Number of latents that are pictures.
        kept: How far a region sees the pictures of others, 0..1.
    """

    context: FrameLatents
    token_scale: Tensor | None
    codes: Int[Tensor, "time tokens"]
    pictures: int
    kept: float
    _pieces: dict[Piece, tuple[Tensor, Separation | None]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        context: FrameLatents,
        subjects: Sequence[Subject],
        regions: TokenRegions,
        request: EditRequest,
        params: VaceParams,
    ) -> Shown:
        """Return what is shown of a condition.

        Raises:
            RequestError: Regions that are kept apart have pictures, too.
        """
        edited = [
            code
            for code, region in enumerate(request.regions, 1)
            if region in request.edited
        ]
        codes = regions.codes
        is_edited = torch.isin(codes, torch.tensor(edited, device=codes.device))
        count = len(subjects)
        scales = None
        if any(one.scale != 1 for one in subjects):
            scales = torch.ones(codes.shape, device=codes.device)
            for place, one in enumerate(subjects):
                scales[place] = one.scale
        shown = cls(
            context,
            scales,
            codes * is_edited,
            count,
            1 - params.picture_binding,
        )
        every = tuple(range(len(codes)))
        if params.self_strength and shown._piece(every)[1]:
            raise RequestError(
                "params.self_strength",
                "Regions with pictures cannot be kept apart by it, too. Set it to 0, or "
                "picture_binding to 0.",
            )
        return shown

    def change(
        self, words: WordAttending | None, step: Step, part: Piece
    ) -> Intervention:
        """Return what alters the call of a piece; see `ChangeFn`."""
        places, separation = self._piece(part)
        attend = words.attend(step, part) if words else None
        if separation is not None:
            attend = _apart(separation, attend or plain)
        scale = self.token_scale
        return Intervention(
            attend,
            context=self.context[places],
            token_scale=None if scale is None else scale[places].flatten(),
        )

    def _piece(self, part: Piece) -> tuple[Tensor, Separation | None]:
        """Return the latents of a piece, and what keeps pictures apart in it: the same
        in all steps, so that they go to the device once."""
        if part not in self._pieces:
            places = torch.tensor(part, device=self.codes.device)
            codes = self.codes[places]
            is_picture = torch.zeros_like(codes, dtype=torch.bool)
            is_picture[: self.pictures] = True
            separation = Separation.of(codes.flatten(), is_picture.flatten(), self.kept)
            self._pieces[part] = places, separation
        return self._pieces[part]


def _apart(separation: Separation, others: AttentionFn) -> AttentionFn:
    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "self":
            return separation.attend(q, k, v)
        return others(q, k, v, site)

    return attend
