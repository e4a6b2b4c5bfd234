"""VideoGrain: several regions of a clip edited together, each bound to its own words by modulated attention.

Yang et al. 2025, arXiv:2502.17258. The clip is inverted to noise with the source prompt; on the way back,
during the first steps, cross-attention ties the pixels of each region to the words of that region (Eq. 6) and
self-attention keeps each region among its own pixels in all frames (Eq. 5). Outside the edited regions the
latents are the inversion's.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from editing import cache as store
from editing.attention.backends import attention
from editing.attention.frames import all_frames, fold_frames, unfold_frames
from editing.attention.regions import grid_labels, modulated_attention
from editing.attention.sites import AttentionFn, Site
from editing.blending import blend_latents, composite
from editing.clip import resize
from editing.diffusion import Step, advance, guide
from editing.errors import PromptError
from editing.events import EditResult, Event, Preview, Progress, RegionAttention, Stage
from editing.inversion import ddim_invert
from editing.methods.params import VideoGrainParams
from editing.preview import LatentPreview, heat
from editing.request import EditRequest
from editing.text import Text, spans, splice

if TYPE_CHECKING:
    from editing.backbones import Backbone

_PREVIEW_FRAMES = 8
# Heat maps are read from layers of at most this many tokens: the paper's 32 x 32.
_HEAT_TOKENS = 1024


@torch.no_grad()
def run(
    backbone: Backbone, request: EditRequest, params: VideoGrainParams
) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    source = request.clip.read(0, len(request.clip))
    width, height = backbone.fit(*request.clip.size, request.size)
    frames = resize(source, (width, height))

    yield Stage("inverting")
    inverted = yield from invert(backbone, frames, request.source_prompt, params.steps)
    layout, text = lay_out(backbone, request, inverted[0].shape[-2:])

    yield Stage("editing")
    preview = LatentPreview(inverted[0], frames)
    shown = tuple(
        np.linspace(0, len(frames) - 1, min(len(frames), _PREVIEW_FRAMES)).round().astype(int).tolist()
    )
    heats = HeatMaps(layout)
    x = vary(inverted[-1], layout.blend_mask, params.variation, request.seed)
    for step in backbone.schedule.sampling(params.steps):
        attend = region_attention(layout, params, fade(params, step, backbone), heats)
        x0, eps = backbone.predict(torch.cat([x, x]), step, text, attend=attend)
        x0, eps = (guide(*both.chunk(2), params.guidance_scale) for both in (x0, eps))
        x = advance(x0, eps, step)
        if params.blend:
            x = blend_latents(x, inverted[step.total - 1 - step.index], layout.blend_mask)
        if params.preview_every and step.index % params.preview_every == 0:
            yield Preview(preview(x0[list(shown)]), shown, heats.now(shown))
        yield Progress("editing", step.index + 1, step.total, None)

    yield Stage("decoding")
    edited = resize(backbone.decode(x), request.clip.size)
    frames = composite(source, edited, request.edited_mask, params.feather)
    return EditResult(frames, edited, source, request.edited_mask, heats.mean())


def invert(
    backbone: Backbone, frames: np.ndarray, prompt: str, steps: int
) -> Generator[Event, None, list[Float[Tensor, "frames c h w"]]]:
    """The N + 1 latents from clean to noise, with full-frame attention and no guidance; cached."""
    key = {
        "kind": "inversion",
        "version": 1,
        "clip": frames.tobytes(),
        "shape": frames.shape,
        "model": backbone.fingerprint,
        "prompt": prompt,
        "attention": "all_frames",
        "steps": steps,
        "torch": torch.__version__,
    }
    if kept := store.load(key):
        yield Progress("inverting", steps, steps, 0.0)
        # Copies of their own: the last bits of a CPU result depend on how memory is aligned.
        return [x.clone() for x in kept["latents"].to(backbone.device)]

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        return attention(q, k, v) if site.kind == "cross" else all_frames(q, k, v, len(frames))

    vectors = backbone.embed([prompt]).vectors
    latents = [backbone.encode(frames)]

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        return backbone.predict(x, step, vectors, attend=attend)

    for step, x in ddim_invert(latents[0], predict, backbone.schedule.inversion(steps)):
        latents.append(x)
        yield Progress("inverting", step.index + 1, step.total, None)
    store.store(key, {"latents": torch.stack(latents)})
    return latents


def vary(
    x: Float[Tensor, "frames c h w"], mask: Float[Tensor, "frames 1 h w"], variation: float, seed: int
) -> Float[Tensor, "frames c h w"]:
    """Noise mixed into the inverted latents inside the mask, its variance kept; the same in every frame."""
    if not variation:
        return x
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
    mixed = (1 - variation) ** 0.5 * x + variation**0.5 * noise
    return blend_latents(mixed, x, mask)


class Layout:
    """Where the regions are on every attention grid, and their tokens: 0 background, i + 1 region i."""

    def __init__(self, request: EditRequest, grid: tuple[int, int], words: Int[Tensor, "tokens"]) -> None:
        self.names = tuple(region.name for region in request.regions)
        self.words = words
        codes = np.zeros(256, np.int64)
        codes[[region.label for region in request.regions]] = np.arange(1, len(request.regions) + 1)
        device = words.device
        self.frames, self.grid = len(request.clip), grid
        self.strength = torch.tensor([1.0, *[region.strength for region in request.regions]], device=device)
        # Pixels whose region has no words keep their cross-attention: flattening it would only erase them.
        self.bound = torch.tensor(
            [float((words == code).any()) for code in range(len(self.strength))], device=device
        )
        labels = torch.from_numpy(codes[request.labels]).to(device)
        self.cells = cache(lambda h, w: grid_labels(labels, h, w, len(self.strength)))
        edited = torch.from_numpy(request.edited_mask).float()[:, None]
        self.blend_mask = F.adaptive_max_pool2d(edited, grid).to(device)

    def at(self, tokens: int) -> tuple[int, int]:
        """Height and width of the attention grid with this many tokens a frame."""
        height, width = self.grid
        while height * width > tokens:
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width

    def codes(self, tokens: int) -> Int[Tensor, "frames tokens"]:
        """Region of every token of a layer."""
        return self.cells(*self.at(tokens))

    def spare(self, codes: Int[Tensor, "rows tokens"]) -> Float[Tensor, "rows tokens"]:
        """The size term 1 - S: the share of its row that is not of a token's own region."""
        share = F.one_hot(codes, len(self.strength)).float().mean(1)
        return 1 - share.gather(1, codes)


def lay_out(
    backbone: Backbone, request: EditRequest, grid: tuple[int, int]
) -> tuple[Layout, Float[Tensor, "2 L d"]]:
    """Bind the regions to their words: the layout, and the texts (uncond, cond), phrases encoded alone."""
    composed = request.composed
    phrases = {
        r.label: composed.text[slice(*span)] for r in request.regions if (span := composed.spans[r.label])
    }
    negative = ", ".join(
        filter(None, [request.negative_prompt, *(region.negative for region in request.regions)])
    )
    text = backbone.embed([negative, composed.text, *phrases.values()])
    alone = dict(zip(phrases, (text[2 + i] for i in range(len(phrases))), strict=True))
    words = torch.full((text.vectors.shape[1],), -1, dtype=torch.int64, device=text.vectors.device)
    places: dict[tuple[int, ...], Text] = {}
    for code, region in enumerate(request.regions, 1):
        if region.label not in phrases:
            continue
        start, stop = composed.spans[region.label]
        positions = spans(text[1], start, stop)
        if len(positions) != alone[region.label].lengths[0] - 2:
            raise PromptError(
                f"regions.{region.name}.prompt",
                f'"{phrases[region.label]}" is not whole words of the prompt; add spaces',
            )
        words[list(positions)] = code
        places[positions] = alone[region.label]
    return Layout(request, grid, words), torch.cat([text[0].vectors, splice(text[1], places)])


def fade(params: VideoGrainParams, step: Step, backbone: Backbone) -> float:
    """xi(t): how strongly this step modulates; 0 once the window is over."""
    inside = step.index < params.modulate_until * step.total - 1e-9
    return (step.t / len(backbone.schedule.alphas_cumprod)) ** params.schedule_power if inside else 0.0


class HeatMaps:
    """Probability mass of each region's words at every pixel, before and after modulation."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        coarsest_that_counts = layout.grid
        while np.prod(coarsest_that_counts) > _HEAT_TOKENS:
            coarsest_that_counts = tuple((side + 1) // 2 for side in coarsest_that_counts)
        self.size = coarsest_that_counts
        shape = (layout.frames, len(layout.names), *self.size)
        self._sum = torch.zeros(2, *shape, device=layout.words.device)
        self._count = 0
        self._step = torch.zeros(shape, device=layout.words.device)
        self._step_count = 0
        self._modulated = False

    def begin(self, modulated: bool) -> None:
        """A new step; the mean is taken over modulated steps, or over all if none is."""
        if modulated and not self._modulated:
            self._sum.zero_()
            self._count = 0
        self._modulated |= modulated
        self._step.zero_()
        self._step_count = 0

    def add(
        self,
        before: Float[Tensor, "frames tokens regions"],
        after: Float[Tensor, "frames tokens regions"],
        modulated: bool,
    ) -> None:
        """One layer's masses."""
        height, width = self._layout.at(before.shape[1])
        maps = torch.stack([before, after]).movedim(-1, -2).unflatten(-1, (height, width)).flatten(0, 1)
        maps = F.interpolate(maps.float(), self.size, mode="bilinear", align_corners=False).unflatten(
            0, (2, -1)
        )
        self._step += maps[1]
        self._step_count += 1
        if modulated or not self._modulated:
            self._sum += maps
            self._count += 1

    def now(self, shown: tuple[int, ...]) -> dict[str, np.ndarray]:
        """This step's maps, each scaled to its own strongest pixel."""
        return {name: heat(self._step[list(shown), i]) for i, name in enumerate(self._layout.names)}

    def mean(self) -> dict[str, RegionAttention]:
        """Maps over the whole run, as probabilities."""
        before, after = (self._sum / max(self._count, 1)).cpu().numpy()
        return {name: RegionAttention(before[:, i], after[:, i]) for i, name in enumerate(self._layout.names)}


def region_attention(layout: Layout, params: VideoGrainParams, amount: float, heats: HeatMaps) -> AttentionFn:
    """The attention of one denoising step, for rows (uncond frames, cond frames).

    Args:
        layout: Regions and words.
        params: Strengths, levels and the half whose self-attention is modulated.
        amount: xi(t), 0 for plain full-frame attention.
        heats: Receives the words' masses of the cond half.
    """
    heats.begin(modulated=amount > 0 and params.cross_strength > 0)
    finest = layout.grid[0] * layout.grid[1]
    halves = {"uncond": (True, False), "cond": (False, True), "both": (True, True)}[params.guidance_half]

    def strength(codes: Tensor, weight: Tensor, tokens: int) -> Tensor:
        if params.levels == "coarse" and tokens == finest:
            return torch.zeros_like(codes, dtype=torch.float32)
        size = layout.spare(codes) if params.size_term else 1.0
        return amount * weight[codes] * size

    def cross(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[2]
        codes, words = layout.codes(tokens), layout.words[None]
        a = strength(codes, params.cross_strength * layout.strength * layout.bound, tokens)
        (_, q), (k0, k), (v0, v), plain = q.chunk(2), k.chunk(2), v.chunk(2), q.chunk(2)[0]
        if tokens <= _HEAT_TOKENS and layout.names:
            regions = torch.arange(1, len(layout.names) + 1, device=q.device)
            own = (layout.words[:, None] == regions).to(v.dtype).expand(*k.shape[:2], -1, -1)
            before, after = (
                attention(q, k, own).mean(1),
                modulated_attention(q, k, own, codes, words, a).mean(1),
            )
            heats.add(before, after, modulated=bool(a.any()))
        return torch.cat([attention(plain, k0, v0), modulated_attention(q, k, v, codes, words, a)])

    def within(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[2]
        codes = layout.codes(tokens).reshape(1, -1)
        a = strength(codes, params.self_strength * layout.strength, tokens)
        q, k, v = (fold_frames(x, layout.frames) for x in (q, k, v))
        out = [
            modulated_attention(*rows, codes, codes, a) if modulated else attention(*rows)
            for modulated, *rows in zip(halves, q.chunk(2), k.chunk(2), v.chunk(2), strict=True)
        ]
        return unfold_frames(torch.cat(out), layout.frames)

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        return cross(q, k, v) if site.kind == "cross" else within(q, k, v)

    return attend
