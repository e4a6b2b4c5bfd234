"""VideoGrain: edits several regions of a clip together; modulated attention binds each to its own words.

Yang et al. 2025, arXiv:2502.17258. The clip is inverted to noise with the source prompt; on the way back,
during the first steps, cross-attention ties the pixels of each region to the words of that region (Eq. 6) and
self-attention keeps each region among its own pixels in all frames (Eq. 5). Attention along the flow
(FLATTEN), features of the source (Plug-and-Play) and control networks keep the motion. Outside the edited
regions, latents come from the inversion.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from editing.attention.backends import attention
from editing.attention.batch import Batch
from editing.attention.frames import Seen, across_frames, frames_seen, labels_seen, tracks
from editing.attention.heat import Heat, HeatScope, PixelHeat
from editing.attention.layout import Layout
from editing.attention.regions import modulate, modulated_attention
from editing.attention.sites import AttentionFn, Grid, Site
from editing.backbones.control_net import ControlNets
from editing.backbones.features import Features, injecting, recording
from editing.backbones.patches import FREEU, Change, freeu, joint_norm
from editing.blending import blend_latents, vary
from editing.diffusion import Convention, Step, add_noise, advance
from editing.errors import PromptError, RequestError, shorten
from editing.events import EditResult, Event, Progress, RegionAttention, Stage
from editing.flow import follow
from editing.inversion import cached, inversion_key
from editing.inversion import invert as walk_up
from editing.params.videograin import VideoGrainParams
from editing.params.written import HeatPixel
from editing.preview import Previews
from editing.recipe import Working, finish, working_clip
from editing.request import EditRequest
from editing.text import Text, spans, splice

if TYPE_CHECKING:
    from editing.backbones import Backbone

_CONVENTIONS: dict[str, Convention] = {"paper": "paper", "released": "videograin"}
_SPANS = {"full": "all", "sparse_causal": ("first", "previous"), "own_frame": ("own",)}
Tracks = Mapping[tuple[int, int], Int[Tensor, "frames tokens"]]
"""The track of every token, by height and width of an attention grid."""


@torch.no_grad()
def run(
    backbone: Backbone, request: EditRequest, params: VideoGrainParams
) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    working = working_clip(backbone, request)
    heat, pixel = make_heat(backbone, request, params, working.grid)

    yield Stage("inverting")
    model = GuidedModel(backbone, working, request, params)
    inverted = yield from invert(model, working)
    layout, text = lay_out(backbone, request, working.grid)
    modulation = Modulation(layout, params, model.seen, heat, model.tracks, pixel)

    yield Stage("editing")
    fresh, inside = torch.Generator().manual_seed(request.seed), working.inside()
    previews = Previews(inverted[0], working.frames, params.preview_every)
    x = vary(inverted[-1], inside, params.variation, fresh)
    for step in backbone.schedule.sampling(params.steps):
        modulation.begin(step)
        features = source_features(model, inverted, step)
        x0, eps = model.predict_guided(x, step, text, modulation, features)
        x = advance(x0, eps, step)
        if params.blend:
            x = blend_latents(x, outside(inverted, step, params.blend_with, fresh), inside)
        yield from previews(step, x0, modulation.now)
        yield Progress("editing", step.index + 1, step.total, None)

    yield Stage("decoding")
    maps = modulation.maps()
    return finish(backbone, request, [x], params.feather, maps, control=model.control.maps)


class GuidedModel:
    """How a run calls the backbone, in inversion and in denoising.

    Attributes:
        seen: Whose keys a frame sees.
        tracks: Tracks along the flow.
        control: The control networks with their input.
        source: The source prompt.
        calls: Rows of each call of a denoising step: both halves of guidance in one, or one after the other.
    """

    def __init__(
        self, backbone: Backbone, working: Working, request: EditRequest, params: VideoGrainParams
    ) -> None:
        self.backbone, self.params, self.grid = backbone, params, working.grid
        frames = working.grid.time
        self.seen = frames_seen(_SPANS[params.attention_span], frames)
        finest = sorted({site.stride for site in backbone.sites if site.kind == "self"})
        sizes = [working.grid.over(stride).size for stride in finest[: params.track_levels]]
        self.tracks: Tracks = follow(working.frames, sizes, params.flow)
        joint = (joint_norm(frames),) if params.joint_norm else ()
        self._patches = (*joint, freeu(FREEU[params.freeu])) if params.freeu != "off" else joint
        self.control = ControlNets(params.control, working.frames, backbone, joint)
        self.source = backbone.embed([request.source_prompt], ["source_prompt"])
        self._controlled = dict(zip(("uncond", "cond"), embed_prompts(backbone, request), strict=True))
        both = Batch(frames, ("uncond", "cond"))
        fits = backbone.halves_fit(frames, *working.grid.size)
        self.calls = (both,) if fits else tuple(Batch(frames, (half,)) for half in both.branches)

    def predict_guided(
        self,
        x: Float[Tensor, "frames c h w"],
        step: Step,
        text: Mapping[str, Text],
        modulation: Modulation,
        features: Features | None,
    ) -> tuple[Float[Tensor, "frames c h w"], Float[Tensor, "frames c h w"]]:
        """Guided (x0, eps) under modulated attention, with the `features` of the source injected."""
        answers = [self._predict(x, step, text, modulation, features, batch) for batch in self.calls]
        x0, eps = (torch.cat(both) for both in zip(*answers, strict=True))
        return Batch(len(x), ("uncond", "cond")).guide((x0, eps), self.params.guidance_scale)

    def _predict(
        self,
        x: Tensor,
        step: Step,
        text: Mapping[str, Text],
        modulation: Modulation,
        features: Features | None,
        batch: Batch,
    ) -> tuple[Tensor, Tensor]:
        control = self.control.reading(batch.texts(self._controlled))
        change = Change(modulation.attend(step, batch), self._patches, control)
        if features is not None:
            change = injecting(features, change)
        rows = batch.join({"uncond": x, "cond": x})
        return self.backbone.predict(rows, step, batch.texts(text), change)

    def predict_source(
        self, x: Float[Tensor, "frames c h w"], step: Step, keep: Features | None = None
    ) -> tuple[Float[Tensor, "frames c h w"], Float[Tensor, "frames c h w"]]:
        """Predict (x0, eps) of the source clip during inversion; its features are written into `keep`."""
        change = Change(self.attend, self._patches, self.control.reading(self.source))
        change = change if keep is None else recording(keep, change)
        return self.backbone.predict(x, step, self.source, change)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        """Attention without modulation."""
        if site.kind == "cross":
            return attention(q, k, v)
        out = across_frames(q, k, v, self.grid.time, self.seen)
        return along_tracks(q, k, out, self.tracks.get(self.grid.at(site).size))


def invert(
    model: GuidedModel, working: Working
) -> Generator[Event, None, list[Float[Tensor, "frames c h w"]]]:
    """Invert the clip without guidance and modulation: latents from clean to noise; cached."""
    backbone, params = model.backbone, model.params
    steps = backbone.schedule.inversion(params.steps, _CONVENTIONS[params.inversion])
    key = inversion_key(
        backbone,
        working.frames,
        text=model.source.vectors.cpu().numpy().tobytes(),
        steps=params.steps,
        convention=params.inversion,
        attention=params.attention_span,
        # The tracks themselves, not the `flow` setting: weights of RAFT may be added or removed.
        tracks=b"".join(ids.numpy().tobytes() for ids in model.tracks.values()),
        norm=(params.joint_norm, params.freeu),
        control=model.control.fingerprint,
        method="videograin",
    )

    def up() -> Generator[Event, None, dict[str, Tensor]]:
        latents = yield from walk_up(backbone, working.frames, model.predict_source, steps, len(steps))
        return {"latents": torch.stack(latents)}

    done = Progress("inverting", len(steps), len(steps), 0.0)
    return list((yield from cached(key, up, done, backbone.device))["latents"])


def source_features(model: GuidedModel, inverted: Sequence[Tensor], step: Step) -> Features | None:
    """Features of the source at the inversion step that `step` reverses; recomputed, so none are stored.

    The release stores those of every inversion step. Those that reverse 961 -> 981 are of t = 961. None
    outside their window of the schedule.
    """
    params = model.params
    steps = model.backbone.schedule.inversion(params.steps, _CONVENTIONS[params.inversion])
    if not step.within(params.inject_until, begun=True) or step.index >= len(steps):
        return None
    undone, features = steps[-1 - step.index], Features()
    model.predict_source(inverted[undone.index], undone, keep=features)
    return features


def outside(
    inverted: Sequence[Float[Tensor, "frames c h w"]], step: Step, of: str, fresh: torch.Generator
) -> Float[Tensor, "frames c h w"]:
    """The source's latents after `step`: from the inversion, or as released.

    The release adds fresh noise at the level before the step, one step too noisy, even after the last step.
    """
    if of == "noise":
        noise = torch.randn(inverted[0].shape, generator=fresh).to(inverted[0])
        return add_noise(inverted[0], noise, step)
    return inverted[max(len(inverted) - 2 - step.index, 0)]


def embed_prompts(backbone: Backbone, request: EditRequest) -> Text:
    """The encoded negative prompt and prompt."""
    return backbone.embed([request.negatives, request.composed.text], ["negative_prompt", "prompt"])


def lay_out(backbone: Backbone, request: EditRequest, grid: Grid) -> tuple[Layout, dict[str, Text]]:
    """Bind the regions to their words: the layout, and the texts uncond and cond, phrases encoded alone."""
    composed = request.composed
    phrases = {
        r.label: composed.text[slice(*span)] for r in request.regions if (span := composed.spans[r.label])
    }
    names = {region.label: f"regions.{region.name}.prompt" for region in request.regions}
    uncond, cond, *alone = backbone.embed(
        [request.negatives, composed.text, *phrases.values()],
        ["negative_prompt", "prompt", *(names[label] for label in phrases)],
    )
    words = torch.full((cond.vectors.shape[1],), -1, dtype=torch.int64, device=cond.vectors.device)
    places: dict[tuple[int, ...], Text] = {}
    for label, phrase in zip(phrases, alone, strict=True):
        start, stop = composed.spans[label] or (0, 0)
        positions = spans(cond, start, stop)
        if len(positions) != phrase.lengths[0] - 2:
            raise PromptError(
                names[label],
                f"{shorten(phrases[label])} must match whole words of the prompt. Put spaces around it.",
            )
        words[list(positions)] = [region.label for region in request.regions].index(label) + 1
        places[positions] = phrase
    return Layout(request, grid, words), {"uncond": uncond, "cond": splice(cond, places)}


def find_pixel(request: EditRequest, pixel: HeatPixel | None) -> HeatPixel | None:
    """Check that the pixel whose attention is mapped, if any, is inside the clip."""
    if pixel is None:
        return None
    frame, x, y = pixel
    width, height = request.clip.size
    if frame >= len(request.clip) or x >= width or y >= height:
        raise RequestError(
            "params.heat_pixel",
            f"Pixel {frame},{x:g},{y:g} is outside the clip. Choose a frame from 0 to "
            f"{len(request.clip) - 1} and a pixel inside {width} x {height}.",
        )
    return pixel


def make_heat(
    backbone: Backbone, request: EditRequest, params: VideoGrainParams, grid: Grid
) -> tuple[Heat, PixelHeat | None]:
    """Make the collectors of attention to the words, and of the chosen pixel's attention."""
    pixel = find_pixel(request, params.heat_pixel)
    scope = HeatScope.choose(grid, backbone.sites, params.heat_grids, params.heat_from, params.heat_until)
    return Heat(scope), PixelHeat(pixel, request.clip.size, scope) if pixel else None


def fade(params: VideoGrainParams, step: Step) -> float:
    """xi(t), the strength of modulation at this step; 0 after the window."""
    inside = step.within(params.modulate_until, begun=True)
    return step.time**params.schedule_power if inside else 0.0


def along_tracks(q: Tensor, k: Tensor, v: Tensor, ids: Int[Tensor, "frames tokens"] | None) -> Tensor:
    """Attention along the tracks, on grids that have any; `v` is the output of the attention before it."""
    return v if ids is None else tracks(q, k, v, len(ids), ids.to(q.device))


@dataclass(eq=False)
class Modulation:
    """ST-Layout attention of one run: Eq. 5 and 6 of the paper.

    Attributes:
        layout: Regions and words.
        params: Strengths, levels, and the half whose self-attention is modulated.
        seen: Whose keys a frame sees.
        heat: Collects the attention to words in the cond half.
        tracks: Tracks along the flow.
        pixel: Collects self-attention of the modulated half (cond if both are).
    """

    layout: Layout
    params: VideoGrainParams
    seen: Seen
    heat: Heat
    tracks: Tracks = field(default_factory=dict)
    pixel: PixelHeat | None = None

    def begin(self, step: Step) -> None:
        """Start a new step."""
        for heat in (self.heat, self.pixel.heat if self.pixel else None):
            if heat:
                heat.begin(step)

    def now(self, frames: Sequence[int]) -> dict[str, np.ndarray]:
        """This step's maps of some frames, for a preview."""
        pixel = self.pixel.heat.now(self.pixel.columns, frames) if self.pixel else {}
        return self.heat.now(self.layout.columns, frames) | pixel

    def maps(self) -> dict[str, RegionAttention]:
        """Maps over the run."""
        pixel = self.pixel.heat.maps(self.pixel.columns) if self.pixel else {}
        return self.heat.maps(self.layout.columns) | pixel

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """The attention of one denoising step, for the halves of guidance in `batch`."""
        xi, half = fade(self.params, step), self.params.guidance_half
        modulated = ("uncond", "cond") if half == "both" else (half,)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
            out = []
            for branch in batch.branches:
                one = [x[batch.rows(branch)] for x in (q, k, v)]
                if site.kind == "cross":
                    out.append(self.across(*one, site, xi) if branch == "cond" else attention(*one))
                elif branch in modulated:
                    out.append(self.within(*one, site, xi, looks=branch == modulated[-1]))
                else:
                    out.append(across_frames(*one, batch.frames, self.seen))
            ids = None if site.kind == "cross" else self.tracks.get(self.layout.grid.at(site).size)
            return along_tracks(q, k, torch.cat(out), ids)

        return attend

    def across(self, q: Tensor, k: Tensor, v: Tensor, site: Site, xi: float) -> Tensor:
        """Eq. 6: cross-attention that ties the pixels of each region to its words."""
        layout, params = self.layout, self.params
        codes, words = layout.codes(site), layout.words[None]
        # Pixels without words keep their cross-attention, unless `uncovered` repels them from all words.
        bound = layout.has_words if params.uncovered == "region" else torch.ones_like(layout.has_words)
        weight = params.cross_strength * layout.strength * bound
        a = self.strength(codes, weight, layout.size_term(codes), site, xi)
        if self.heat.reads(site):
            own = layout.indicator.to(v.dtype).expand(*k.shape[:2], -1, -1)
            before, after = attention(q, k, own), modulated_attention(q, k, own, codes, words, a)
            size = layout.grid.at(site).size
            self.heat.add(before.mean(1), after.mean(1), size=size, changed=bool(a.any()))
        return modulated_attention(q, k, v, codes, words, a)

    def within(self, q: Tensor, k: Tensor, v: Tensor, site: Site, xi: float, looks: bool) -> Tensor:
        """Eq. 5: self-attention that keeps each region among its own pixels, in all frames it sees."""
        layout, params = self.layout, self.params
        codes, keys = labels_seen(layout.codes(site), self.seen)
        term = layout.size_term(codes, keys)
        if params.size_over_frames:
            term = 1 - (1 - term) / layout.grid.time
        a = self.strength(codes, params.self_strength * layout.strength, term, site, xi)
        if params.uncovered == "repelled":  # by everything: pixels without words are no region
            codes, keys = (torch.where(x == 0, -1, x) for x in (codes, keys))

        def change(q: Tensor, k: Tensor, row: int, query: int) -> tuple[Tensor, Tensor]:
            one, rows = slice(query, query + 1), slice(row, row + 1)
            return modulate(q, k, codes[rows, one], keys[rows], a[rows, one])

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if looks and self.pixel and self.pixel.heat.reads(site):
                self.pixel.add(q, k, layout.grid.at(site), self.seen, change if bool(a.any()) else None)
            return modulated_attention(q, k, v, codes, keys, a)

        return across_frames(q, k, v, layout.grid.time, self.seen, attend)

    def strength(self, codes: Tensor, weight: Tensor, size_term: Tensor, site: Site, xi: float) -> Tensor:
        """lambda: xi(t) (1 - S) times the weight of each pixel's region; 0 in layers left out."""
        if self.params.levels == "coarse" and site.finest:
            return torch.zeros_like(codes, dtype=torch.float32)
        if self.params.uncovered == "repelled":  # what is no region has no size
            size_term = torch.where(codes == 0, 1.0, size_term)
        return xi * weight[codes] * (size_term if self.params.size_term else 1.0)
