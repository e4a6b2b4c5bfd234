"""VideoGrain: several regions of a clip edited together, each bound to its own words by modulated attention.

Yang et al. 2025, arXiv:2502.17258. The clip is inverted to noise with the source prompt; on the way back,
during the first steps, cross-attention ties the pixels of each region to the words of that region (Eq. 6) and
self-attention keeps each region among its own pixels in all frames (Eq. 5). Attention along the flow
(FLATTEN), features of the source (Plug-and-Play) and control networks hold the motion. Outside the edited
regions the latents are the inversion's.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from editing import cache as store
from editing.attention.backends import attention
from editing.attention.frames import all_frames, arrange, own_frame, sparse_causal, tracks
from editing.attention.layout import Layout
from editing.attention.regions import modulate, modulated_attention
from editing.attention.sites import AttentionFn, Site
from editing.backbones.control_net import ControlNets
from editing.backbones.features import Features, injecting, recording
from editing.backbones.patches import FREEU, freeu, joint_norm, together
from editing.blending import blend_latents, composite, vary
from editing.clip import resize
from editing.diffusion import Convention, Step, add_noise, advance, guide
from editing.errors import PromptError, RequestError
from editing.events import EditResult, Event, Preview, Progress, Stage
from editing.flow import follow
from editing.inversion import ddim_invert
from editing.params.videograin import VideoGrainParams
from editing.params.written import HeatPixel
from editing.preview import HeatMaps, HeatScope, LatentPreview, PixelHeat, shown_frames
from editing.request import EditRequest
from editing.text import Text, spans, splice

if TYPE_CHECKING:
    from editing.backbones import Backbone

_CONVENTIONS: dict[str, Convention] = {"paper": "paper", "released": "videograin"}
_SPANS = {"full": all_frames, "sparse_causal": sparse_causal, "own_frame": own_frame}
# Rows of a call: the uncond half of guidance, the cond half, or both.
_HALVES = ("uncond", "cond")


@torch.no_grad()
def run(
    backbone: Backbone, request: EditRequest, params: VideoGrainParams
) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    pixel = find_pixel(request, params.heat_pixel)
    source = request.clip.read(0, len(request.clip))
    frames = resize(source, backbone.fit(*request.clip.size, request.size))
    scope = HeatScope(params.heat_from, params.heat_until, params.heat_grids, backbone.coarsest)
    scope.grids(backbone.grid(*frames.shape[:3])[1:])  # refused before any work

    yield Stage("inverting")
    model = Wiring(backbone, frames, request, params)
    inverted = yield from invert(model, frames)
    layout, text = lay_out(backbone, request, inverted[0].shape[-2:])

    yield Stage("editing")
    preview = LatentPreview(inverted[0], frames)
    shown = shown_frames(len(frames))
    heats = HeatMaps(layout, scope=scope)
    look = PixelHeat(layout, pixel, scope) if pixel else None
    fresh = torch.Generator().manual_seed(request.seed)
    x = vary(inverted[-1], layout.blend_mask, params.variation, request.seed)
    for step in backbone.schedule.sampling(params.steps):
        amount = fade(params, step, backbone)
        heats.begin(step)
        if look:
            look.maps.begin(step)
        features = source_features(model, inverted, step) if within(params.inject_until, step) else None
        answers = []
        for rows in model.calls:
            attend = region_attention(layout, params, amount, heats, rows, model.tracks, look)
            answers.append(model.predict(x, step, text, attend, rows, features))
        x0, eps = (
            guide(*torch.cat(both).chunk(2), params.guidance_scale) for both in zip(*answers, strict=True)
        )
        x = advance(x0, eps, step)
        if params.blend:
            x = blend_latents(x, outside(inverted, step, params.blend_with, fresh), layout.blend_mask)
        if params.preview_every and step.index % params.preview_every == 0:
            maps = heats.now(shown) | (look.maps.now(shown) if look else {})
            yield Preview(preview(x0[list(shown)]), shown, maps)
        yield Progress("editing", step.index + 1, step.total, None)

    yield Stage("decoding")
    edited = resize(backbone.decode(x), request.clip.size)
    result = composite(source, edited, request.edited_mask, params.feather)
    attention_maps = heats.mean() | (look.maps.mean() if look else {})
    return EditResult(result, edited, source, request.edited_mask, attention_maps, control=model.control.maps)


class Wiring:
    """How a run calls the model in inversion and denoising alike: norm, FreeU, tracks, control networks.

    Attributes:
        tracks: Tracks along the flow, by tokens a frame.
        control: The control networks and what they are shown.
        source: The source prompt, encoded.
        calls: Halves of guidance in each call of a denoising step: both in one, or one after the other.
    """

    def __init__(
        self, backbone: Backbone, frames: np.ndarray, request: EditRequest, params: VideoGrainParams
    ) -> None:
        self.backbone, self.params, self.frames = backbone, params, len(frames)
        grid = backbone.grid(*frames.shape[:3])[1:]
        self.tracks = follow(frames, grid, params.track_levels, params.flow)
        joint = joint_norm(self.frames) if params.joint_norm else None
        self._adapter = together(joint, freeu(FREEU[params.freeu]) if params.freeu != "off" else None)
        self.control = ControlNets(params.control, frames, backbone, joint)
        self.source = backbone.embed([request.source_prompt]).vectors
        self._plain = backbone.embed(prompts(request)).vectors
        self.calls = (_HALVES,) if backbone.halves_fit(self.frames, *grid) else tuple((h,) for h in _HALVES)

    def predict(
        self,
        x: Float[Tensor, "frames c h w"],
        step: Step,
        text: Float[Tensor, "2 L d"],
        attend: AttentionFn,
        rows: Sequence[str],
        features: Features | None = None,
    ) -> tuple[Float[Tensor, "rows c h w"], Float[Tensor, "rows c h w"]]:
        """(x0, eps) of the same latents in the halves `rows`, with the `features` of the source injected."""
        halves = [_HALVES.index(half) for half in rows]
        attend, patch = (attend, None) if features is None else injecting(features, attend)
        return self.backbone.predict(
            torch.cat([x] * len(rows)),
            step,
            text[halves],
            attend=attend,
            features=patch,
            adapter=self._adapter,
            control=self.control.hook(self._plain[halves]),
        )

    def predict_source(
        self, x: Float[Tensor, "frames c h w"], step: Step, keep: Features | None = None
    ) -> tuple[Float[Tensor, "frames c h w"], Float[Tensor, "frames c h w"]]:
        """(x0, eps) of the source clip on its way to noise; its features are written into `keep`."""
        attend, patch = (self.attend, None) if keep is None else recording(keep, self.attend)
        return self.backbone.predict(
            x,
            step,
            self.source,
            attend=attend,
            features=patch,
            adapter=self._adapter,
            control=self.control.hook(self.source),
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        """Attention that nothing modulates."""
        if site.kind == "cross":
            return attention(q, k, v)
        out = _SPANS[self.params.attention_span](q, k, v, self.frames)
        return along_tracks(q, k, out, self.tracks)


def invert(model: Wiring, frames: np.ndarray) -> Generator[Event, None, list[Float[Tensor, "frames c h w"]]]:
    """The latents from clean to noise, without guidance and modulation; cached."""
    backbone, params = model.backbone, model.params
    steps = backbone.schedule.inversion(params.steps, _CONVENTIONS[params.inversion])
    key = {
        "kind": "inversion",
        "version": 3,
        "clip": frames.tobytes(),
        "shape": frames.shape,
        "model": backbone.fingerprint,
        "text": model.source.cpu().numpy().tobytes(),
        "steps": params.steps,
        "convention": params.inversion,
        "attention": params.attention_span,
        # What they are, not how they were asked for: weights of a flow network come and go.
        "tracks": b"".join(ids.numpy().tobytes() for ids in model.tracks.values()),
        "norm": (params.joint_norm, params.freeu),
        "control": model.control.fingerprint,
        "torch": torch.__version__,
    }
    if kept := store.load(key):
        yield Progress("inverting", len(steps), len(steps), 0.0)
        # Copies of their own: the last bits of a CPU result depend on how memory is aligned.
        return [x.clone() for x in kept["latents"].to(backbone.device)]

    latents = [backbone.encode(frames)]
    for step, x in ddim_invert(latents[0], model.predict_source, steps):
        latents.append(x)
        yield Progress("inverting", step.index + 1, step.total, None)
    store.store(key, {"latents": torch.stack(latents)})
    return latents


def source_features(model: Wiring, inverted: Sequence[Tensor], step: Step) -> Features | None:
    """Features of the source at the inversion step that `step` undoes; made anew, so none are stored.

    The release keeps those of every inversion step. Undoing 961 -> 981 they are of t = 961.
    """
    steps = model.backbone.schedule.inversion(model.params.steps, _CONVENTIONS[model.params.inversion])
    if step.index >= len(steps):
        return None
    undone, features = steps[-1 - step.index], Features()
    model.predict_source(inverted[undone.index], undone, keep=features)
    return features


def outside(
    inverted: Sequence[Float[Tensor, "frames c h w"]], step: Step, of: str, fresh: torch.Generator
) -> Float[Tensor, "frames c h w"]:
    """The source's latents where `step` leads: of its inversion, or as the release has them.

    The release adds fresh noise of the level the step came from, one too noisy, after the last step too.
    """
    if of == "noise":
        noise = torch.randn(inverted[0].shape, generator=fresh).to(inverted[0])
        return add_noise(inverted[0], noise, step)
    return inverted[max(len(inverted) - 2 - step.index, 0)]


def prompts(request: EditRequest) -> tuple[str, str]:
    """What the edit should not and should show."""
    return request.negatives, request.composed.text


def lay_out(
    backbone: Backbone, request: EditRequest, grid: tuple[int, int]
) -> tuple[Layout, Float[Tensor, "2 L d"]]:
    """Bind the regions to their words: the layout, and the texts (uncond, cond), phrases encoded alone."""
    composed = request.composed
    phrases = {
        r.label: composed.text[slice(*span)] for r in request.regions if (span := composed.spans[r.label])
    }
    text = backbone.embed([*prompts(request), *phrases.values()])
    alone = dict(zip(phrases, (text[2 + i] for i in range(len(phrases))), strict=True))
    words = torch.full((text.vectors.shape[1],), -1, dtype=torch.int64, device=text.vectors.device)
    places: dict[tuple[int, ...], Text] = {}
    for code, region in enumerate(request.regions, 1):
        if (span := composed.spans[region.label]) is None:
            continue
        positions = spans(text[1], *span)
        if len(positions) != alone[region.label].lengths[0] - 2:
            raise PromptError(
                f"regions.{region.name}.prompt",
                f'"{phrases[region.label]}" is not whole words of the prompt; add spaces',
            )
        words[list(positions)] = code
        places[positions] = alone[region.label]
    return Layout(request, grid, words), torch.cat([text[0].vectors, splice(text[1], places)])


def find_pixel(request: EditRequest, pixel: HeatPixel | None) -> HeatPixel | None:
    """The pixel whose attention is asked for, if the clip has it."""
    if pixel is None:
        return None
    frame, x, y = pixel
    width, height = request.clip.size
    if frame >= len(request.clip) or x >= width or y >= height:
        raise RequestError(
            "params.heat_pixel",
            f"{frame},{x:g},{y:g} was given; allowed are frames 0 to {len(request.clip) - 1} and pixels of "
            f"{width} x {height}; choose one of them",
        )
    return pixel


def within(share: float, step: Step) -> bool:
    """Whether a step is in the first `share` of the schedule."""
    return step.index < share * step.total - 1e-9


def fade(params: VideoGrainParams, step: Step, backbone: Backbone) -> float:
    """xi(t): how strongly this step modulates; 0 once the window is over."""
    if not within(params.modulate_until, step):
        return 0.0
    schedule = backbone.schedule
    return max(0.0, (step.t - schedule.offset) / len(schedule.alphas_cumprod)) ** params.schedule_power


def along_tracks(q: Tensor, k: Tensor, v: Tensor, ids: Mapping[int, Tensor]) -> Tensor:
    """What tokens see along their tracks, where their grid has any; `v` is what attention gave before."""
    if (found := ids.get(q.shape[2])) is None:
        return v
    return tracks(q, k, v, len(found), found.to(q.device))


def region_attention(
    layout: Layout,
    params: VideoGrainParams,
    amount: float,
    heats: HeatMaps,
    rows: Sequence[str] = _HALVES,
    ids: Mapping[int, Tensor] = MappingProxyType({}),
    look: PixelHeat | None = None,
) -> AttentionFn:
    """The attention of one denoising step.

    Args:
        layout: Regions and words.
        params: Strengths, levels, span, and the half whose self-attention is modulated.
        amount: xi(t), 0 for attention that nothing modulates.
        heats: Receives the words' masses of the cond half.
        rows: The halves of guidance that q, k and v hold, each with all frames.
        ids: Tracks by tokens a frame.
        look: Receives self-attention of the half that is modulated, the cond one if both are.
    """
    finest = layout.grid[0] * layout.grid[1]
    modulated_halves = _HALVES if params.guidance_half == "both" else (params.guidance_half,)
    see = _SPANS[params.attention_span]
    # Pixels that no word is for keep their cross-attention, unless they are to be repelled by all words.
    bound = layout.bound if params.uncovered == "region" else torch.ones_like(layout.bound)

    def strength(codes: Tensor, weight: Tensor, spare: Tensor, tokens: int) -> Tensor:
        if params.levels == "coarse" and tokens == finest:
            return torch.zeros_like(codes, dtype=torch.float32)
        return amount * weight[codes] * (spare if params.size_term else 1.0)

    def labels(codes: Tensor) -> Tensor:
        return codes if params.uncovered == "region" else torch.where(codes == 0, -1, codes)

    def cross(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[2]
        codes, words = layout.codes(tokens), layout.words[None]
        spare = without_background(layout.spare(codes), codes, params)
        a = strength(codes, params.cross_strength * layout.strength * bound, spare, tokens)
        if heats.reads(tokens):
            regions = torch.arange(1, len(layout.names) + 1, device=q.device)
            own = (layout.words[:, None] == regions).to(v.dtype).expand(*k.shape[:2], -1, -1)
            before, after = (
                attention(q, k, own).mean(1),
                modulated_attention(q, k, own, codes, words, a).mean(1),
            )
            heats.add(before, after, modulated=bool(a.any()))
        return modulated_attention(q, k, v, codes, words, a)

    def within_regions(q: Tensor, k: Tensor, v: Tensor, looks: bool) -> Tensor:
        tokens = q.shape[2]
        codes, keys = arrange(see, layout.codes(tokens))
        spare = layout.spare(codes, keys)
        if params.size_over_frames:
            spare = 1 - (1 - spare) / layout.frames
        spare = without_background(spare, codes, params)
        a = strength(codes, params.self_strength * layout.strength, spare, tokens)

        def change(q: Tensor, k: Tensor, row: int, query: int) -> tuple[Tensor, Tensor]:
            one, rows = slice(query, query + 1), slice(row, row + 1)
            return modulate(q, k, labels(codes)[rows, one], labels(keys)[rows], a[rows, one])

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if looks and look and look.maps.reads(tokens):
                look.add(q, k, tokens, see, change if bool(a.any()) else None)
            return modulated_attention(q, k, v, labels(codes), labels(keys), a)

        return see(q, k, v, layout.frames, attend=attend)

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        out = []
        for half, *qkv in zip(rows, *(x.chunk(len(rows)) for x in (q, k, v)), strict=True):
            if site.kind == "cross":
                out.append(cross(*qkv) if half == "cond" else attention(*qkv))
            else:
                looks = half == ("cond" if "cond" in modulated_halves else "uncond")
                out.append(
                    within_regions(*qkv, looks) if half in modulated_halves else see(*qkv, layout.frames)
                )
        joined = torch.cat(out)
        return joined if site.kind == "cross" else along_tracks(q, k, joined, ids)

    return attend


def without_background(spare: Tensor, codes: Tensor, params: VideoGrainParams) -> Tensor:
    """The size term where uncovered pixels are no region: they have no size."""
    return spare if params.uncovered == "region" else torch.where(codes == 0, 1.0, spare)
