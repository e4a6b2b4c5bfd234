"""FRESCO: redraws a clip so that frames agree where the clip's own frames do.

Yang et al. 2024, arXiv:2403.12962. Key frames are noised part of the way and denoised with the prompt
(SDEdit, ancestral sampling), a batch at a time. What enters the blocks of the decoder is optimised to follow
the optical flow and to be as self-similar as in the source; the decoder's self-attention is guided by the
source, by what frames share, and by the motion. With regions that have words, VideoGrain's modulation binds
them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from editing.attention.batch import Batch
from editing.attention.frames import frames_seen
from editing.attention.guided import GuidedAttention
from editing.attention.heat import Heat, HeatScope
from editing.attention.layout import lay_out
from editing.attention.modulation import Modulation
from editing.attention.sites import Site, plain
from editing.backbones.control_net import ControlNets
from editing.backbones.patches import Change, entering_up_blocks
from editing.between import fill_between
from editing.blending import blend_latents
from editing.consistency import Agreement, agree
from editing.correspondence import around, cut, scan_cuts, smooth_background
from editing.diffusion import Step, add_noise, advance, ddpm_step
from editing.events import EditResult, Event, Preview, Progress, RegionAttention, Stage
from editing.keyframes import batches, choose_keyframes
from editing.params import ModulatedParams
from editing.params.fresco import FrescoParams
from editing.params.videograin import VideoGrainParams
from editing.preview import Previews
from editing.recipe import ReadFrames, Working, finish, working_clip
from editing.request import EditRequest

if TYPE_CHECKING:
    from editing.backbones import Backbone

_ANCHORS = 2
# The release's, at 512 pixels: how far foreground and occluded pixels grow before backgrounds are smoothed.
_FOREGROUND_GROWTH, _OCCLUSION_GROWTH, _OF_SIDE = 7, 13, 512


@torch.no_grad()
def run(backbone: Backbone, request: EditRequest, params: FrescoParams) -> Generator[Event, None, EditResult]:
    """Edit a clip; yields events, returns the result."""
    working = working_clip(backbone, request)
    keys = choose_keyframes(params.keyframes, working.frames)
    clip, groups = Keyed(backbone, request, params, working, keys), batches(keys, params.frames_at_once)

    yield Stage("editing")
    redrawn: dict[int, Tensor] = {}
    anchors: dict[int, Tensor] = {}
    for number, group in enumerate(groups):
        batch, known = GuidedBatch(clip, group), _ANCHORS if number else 0
        x = yield from redraw(clip, batch, anchors, number, len(groups))
        redrawn |= zip(group[known:], x[known:], strict=True)

    yield Stage("decoding")
    latents = torch.stack([redrawn[key] for key in keys])
    edit = latents if len(keys) == len(working.frames) else clip.filled(latents)
    maps, control = clip.maps(), clip.control.maps
    result = finish(backbone, request, [edit], params.feather, maps, control=control)
    return replace(result, warnings=_say_cuts(clip.cuts))


def redraw(
    clip: Keyed, batch: GuidedBatch, anchors: dict[int, Tensor], number: int, total: int
) -> Generator[Event, None, Float[Tensor, "frames c h w"]]:
    """Noise a batch of key frames part of the way and denoise it; returns its latents.

    `anchors` holds, for every step, the latents with which the first frame of the clip and the last of the
    batch before entered it. Later batches begin with these two, which follow the same path again.
    """
    x, inside, steps = clip.noised(batch.frames), clip.inside(batch.frames), len(clip.steps)
    for done, step in enumerate(clip.steps, 1):
        if number:
            x = torch.cat([anchors[step.index], x[_ANCHORS:]])
        anchors[step.index] = x[[0, -1]]
        x0, eps = batch.predict_guided(x, step)
        x0, eps = batch.smoothed(x0, eps, x, step)
        x = clip.stepped(x0, eps, step, batch.frames)
        if inside is not None:
            x = blend_latents(x, clip.outside(step, batch.frames), inside)
        yield from clip.preview(batch, step, x0)
        yield Progress("editing", number * steps + done, total * steps, None)
    return x


class Keyed:
    """The key frames of a clip, and what all their batches share.

    Attributes:
        frames: All frames of the clip, RGB at the working size.
        keys: The key frames.
        steps: The steps that are run: all of the schedule or, with less strength, its last ones.
        control: The control networks with their input.
        plain_text: The negative prompt and the prompt, as control networks read them.
        text: The same as the model reads them: words of regions are encoded alone.
        layout: Regions and words; None if no region has words.
        background: How much of a pixel no region covers; None if the background is not smoothed.
        modulations: The modulation of each batch, by its frames.
        cuts: The first frame of each shot but the first.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: FrescoParams,
        working: Working,
        keys: Sequence[int],
    ) -> None:
        self.backbone, self.request, self.params = backbone, request, params
        self.frames, self.grid, self.keys = working.frames, working.grid, tuple(keys)
        self._inside = working.inside() if params.blend else None
        skipped = round(params.steps * (1 - params.strength))
        self.steps = backbone.schedule.sampling(params.steps)[skipped:]
        self.control = ControlNets(params.control, working.frames, backbone)
        prompts = [request.negatives, request.composed.text]
        text = backbone.embed(prompts, ["negative_prompt", "prompt"])
        self.plain_text = dict(zip(("uncond", "cond"), text, strict=True))
        self.layout, self.text = None, self.plain_text
        if request.edited:
            self.layout, self.text = lay_out(backbone, request, working.grid)
        own = working.frames[list(keys)]
        self._place = {key: place for place, key in enumerate(keys)}
        self._source = backbone.encode(own)
        self._shown = self._source.clone()
        self._previews = Previews(self._source, own, params.preview_every, keys)
        self.background = self._find_background()
        self.modulations: dict[tuple[int, ...], Modulation] = {}
        self.cuts = scan_cuts(working.frames)

    def places(self, frames: Sequence[int]) -> list[int]:
        """Where key frames are in the list of key frames."""
        return [self._place[frame] for frame in frames]

    def source(self, frames: Sequence[int]) -> Float[Tensor, "frames c h w"]:
        """Latents of the clip."""
        return self._source[self.places(frames)]

    def inside(self, frames: Sequence[int]) -> Float[Tensor, "frames 1 h w"] | None:
        """The edited area of the latents; None if it is the whole frame."""
        return None if self._inside is None else self._inside[list(frames)]

    def noise(self, draw: int, frames: Sequence[int], own: bool) -> Float[Tensor, "frames c h w"]:
        """Noise from the seed, the number of the draw and the frame alone, so that batches change nothing."""
        seeds = [(self.request.seed, draw, frame if own else 0) for frame in frames]
        return torch.stack([_drawn(self._source.shape[1:], seed) for seed in seeds]).to(self._source)

    def first_noise(self, frames: Sequence[int]) -> Float[Tensor, "frames c h w"]:
        """The noise that the clip is mixed with."""
        return self.noise(0, frames, self.params.first_noise == "own")

    def noised(self, frames: Sequence[int]) -> Float[Tensor, "frames c h w"]:
        """Latents of the clip where the first step starts."""
        source = self.source(frames)
        return add_noise(source, self.first_noise(frames), self.steps[0]) if self.steps else source

    def stepped(
        self, x0: Tensor, eps: Tensor, step: Step, frames: Sequence[int]
    ) -> Float[Tensor, "frames c h w"]:
        """The latents after a step. Ancestral sampling ends clean, whatever the schedule."""
        if self.params.step_noise == "none":
            return advance(x0, eps, step)
        fresh = self.noise(step.index + 1, frames, self.params.step_noise == "own")
        return x0 if _is_last(step) else ddpm_step(x0, eps, step, fresh)

    def outside(self, step: Step, frames: Sequence[int]) -> Float[Tensor, "frames c h w"]:
        """The clip's own latents after a step."""
        source = self.source(frames)
        return source if _is_last(step) else advance(source, self.first_noise(frames), step)

    def preview(self, batch: GuidedBatch, step: Step, x0: Tensor) -> Iterator[Preview]:
        """The preview of a step, if one is due; key frames of later batches are still the clip's."""
        places = self.places(batch.frames)
        self._shown[places] = x0

        def heat(shown: Sequence[int]) -> dict[str, Float32[np.ndarray, "shown h w"]]:
            now = {} if batch.modulation is None else batch.modulation.now(range(len(places)))
            rows = [(row, places.index(place)) for row, place in enumerate(shown) if place in places]
            maps = {name: np.zeros((len(shown), *found.shape[1:]), np.float32) for name, found in now.items()}
            for name, row, place in ((name, *pair) for name in maps for pair in rows):
                maps[name][row] = now[name][place]
            return maps

        yield from self._previews(step, self._shown, heat)

    def maps(self) -> dict[str, RegionAttention]:
        """Maps of all frames over the run; a frame between key frames has those of the nearest."""
        if not self.modulations or not self.steps:
            return {}
        found = [(frames, modulation.maps()) for frames, modulation in self.modulations.items()]
        # Anchors are frames of an earlier batch, whose maps count.
        of_key = {frame: (maps, row) for frames, maps in found[::-1] for row, frame in enumerate(frames)}
        nearest = [min(self.keys, key=lambda key: abs(key - frame)) for frame in range(len(self.frames))]
        rows = [of_key[key] for key in nearest]
        return {
            name: RegionAttention(
                np.stack([maps[name].before[row] for maps, row in rows]),
                np.stack([maps[name].after[row] for maps, row in rows]),
            )
            for name in found[0][1]
        }

    def filled(self, latents: Float[Tensor, "keys c h w"]) -> ReadFrames:
        """Read all frames, one window after the other, from the latents of the key frames."""
        edited = self.backbone.decode(latents)
        frames = fill_between(
            edited, self.keys, lambda *window: self.frames[slice(*window)], self.params.flow
        )
        return lambda start, stop: np.stack(list(islice(frames, stop - start)))

    def _find_background(self) -> Float[Tensor, "keys 1 height width"] | None:
        # Latents outside an edited area are the clip's, and need no smoothing.
        if not self.params.smooth_background or self._inside is not None or not self.request.regions:
            return None
        areas = np.concatenate([self.request.read_areas(key, key + 1) for key in self.keys])
        size = self.frames.shape[1:3]
        covered = F.adaptive_max_pool2d(torch.from_numpy(areas > 0).float()[:, None], size)
        side = _odd(_FOREGROUND_GROWTH, size)
        return 1 - F.max_pool2d(covered, side, stride=1, padding=side // 2)


@dataclass(eq=False)
class Reference:
    """Features of the source: what entered each up block, and queries and keys of the guided layers."""

    entering: dict[int, Tensor] = field(default_factory=dict)
    looks: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class GuidedBatch:
    """Predictions for some key frames, guided by their motion and by features of the source.

    Attributes:
        frames: Numbers of the frames in the clip.
        modulation: Binds regions to their words; None if none has any.
    """

    def __init__(self, clip: Keyed, frames: tuple[int, ...]) -> None:
        self.frames, self._clip = frames, clip
        backbone, params, some = clip.backbone, clip.params, clip.frames[list(frames)]
        self._motion = cut(around(some, params.flow), _crossed(clip.cuts, frames))
        self._motion_at = cache(lambda size: self._motion.at(size).to(backbone.device))
        grid = clip.grid._replace(time=len(frames))
        self.modulation = self._make_modulation()
        self._attention = GuidedAttention(some, self._motion, grid, backbone.sites, params, self.modulation)
        both = Batch(len(frames), ("uncond", "cond"))
        fits = backbone.halves_fit(len(frames), *grid.size)
        calls = (both,) if fits else tuple(Batch(len(frames), (half,)) for half in both.branches)
        self._calls = [(call, self._read_source(call)) for call in calls]

    def predict_guided(
        self, x: Float[Tensor, "frames c h w"], step: Step
    ) -> tuple[Float[Tensor, "frames c h w"], Float[Tensor, "frames c h w"]]:
        """Guided (x0, eps)."""
        if self.modulation is not None:
            self.modulation.begin(step)
        answers = [self._predict(x, step, *call) for call in self._calls]
        x0, eps = (torch.cat(both) for both in zip(*answers, strict=True))
        return Batch(len(x), ("uncond", "cond")).guide((x0, eps), self._clip.params.guidance_scale)

    def _predict(self, x: Tensor, step: Step, call: Batch, source: Reference) -> tuple[Tensor, Tensor]:
        clip, params = self._clip, self._clip.params
        spatial = step.index < clip.steps[0].index + params.spatial_steps
        attend = self._attention.attend(step, call, source.looks if spatial else None)
        optimises = step.within(params.optimise_until)
        patches = (entering_up_blocks(self._agreeing(source)),) if optimises else ()
        control = clip.control.reading(call.texts(clip.plain_text), self.frames)
        rows = call.join({"uncond": x, "cond": x})
        return clip.backbone.predict(rows, step, call.texts(clip.text), Change(attend, patches, control))

    def _agreeing(self, source: Reference) -> Callable[[int, Tensor], Tensor]:
        """What enters an up block, optimised, and its background smoothed."""
        params = self._clip.params
        wanted = Agreement(
            flow=params.flow_weight,
            similarity=params.similarity_weight,
            circular=params.flow_loss == "circular",
            distance=params.similarity_loss,
            rounds=params.optimise_rounds,
            learning_rate=params.learning_rate,
            restore=params.restore_statistics,
        )

        def enter(block: int, x: Float[Tensor, "rows c h w"]) -> Float[Tensor, "rows c h w"]:
            motion = self._motion_at(tuple(x.shape[2:]))
            x = agree(x, source.entering[block], motion, wanted)
            background = self._background(x.shape[2:], x)
            if background is None:
                return x
            halves = x.split(len(self.frames))
            return torch.cat([smooth_background(half, motion, background) for half in halves])

        return enter

    def _background(self, size: Sequence[int], like: Tensor) -> Float[Tensor, "frames 1 h w"] | None:
        """The background of these frames at some size."""
        if self._clip.background is None:
            return None
        whole = self._clip.background[self._clip.places(self.frames)]
        return F.interpolate(whole, tuple(size), mode="bilinear", align_corners=False).to(like)

    def smoothed(self, x0: Tensor, eps: Tensor, x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Smooth the background of the expected frames in pixels, in a few late steps."""
        clip, params = self._clip, self._clip.params
        due = step.within(params.smooth_until) and not step.within(params.smooth_from)
        if clip.background is None or not due:
            return x0, eps
        pixels = torch.from_numpy(clip.backbone.decode(x0)).movedim(-1, 1).float()
        grown = _odd(_OCCLUSION_GROWTH, pixels.shape[2:])
        background = self._background(pixels.shape[2:], pixels)
        pixels = smooth_background(pixels, self._motion, background, grown)
        x0 = clip.backbone.encode(pixels.round().clamp(0, 255).byte().movedim(1, -1).numpy()).to(x0)
        return x0, (x - step.signal * x0) / step.noise

    def _make_modulation(self) -> Modulation | None:
        clip, params = self._clip, self._clip.params
        if clip.layout is None:
            return None
        rules = VideoGrainParams(**params.model_dump(include=set(ModulatedParams.model_fields)))
        scope = HeatScope.choose(clip.grid, clip.backbone.sites)
        own = frames_seen(("own",), len(self.frames))
        modulation = Modulation(clip.layout.of(self.frames), rules, own, Heat(scope))
        clip.modulations[self.frames] = modulation
        return modulation

    def _read_source(self, call: Batch) -> Reference:
        """Features of the clip itself, almost without noise: at the level where the last step starts."""
        clip, found = self._clip, Reference()

        def look(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
            if site.name in self._attention.sites:
                found.looks[site.name] = (q, k)
            return plain(q, k, v, site)

        def enter(block: int, x: Tensor) -> Tensor:
            found.entering[block] = x
            return x

        if clip.steps:
            step = clip.steps[-1]
            x = add_noise(clip.source(self.frames), clip.first_noise(self.frames), step)
            change = Change(look, (entering_up_blocks(enter),))
            clip.backbone.predict(call.join({"uncond": x, "cond": x}), step, call.texts(clip.text), change)
        return found


def _crossed(cuts: Sequence[int], frames: Sequence[int]) -> list[int]:
    """Which pairs of a batch, from 1, are of different shots; the last frame and the first are the last."""
    pairs = zip(frames, (*frames[1:], frames[0]), strict=True)
    spans = [range(min(pair) + 1, max(pair) + 1) for pair in pairs]
    return [number for number, span in enumerate(spans, 1) if any(frame in span for frame in cuts)]


def _say_cuts(cuts: Sequence[int]) -> tuple[str, ...]:
    if not cuts:
        return ()
    frames = f"frame{'s' if len(cuts) > 1 else ''} {', '.join(map(str, cuts))}"
    return (
        f"The clip seems to be cut before {frames}, counted from 0, so motion is not followed there. "
        "For the best result, edit each shot alone.",
    )


def _drawn(shape: Sequence[int], seed: tuple[int, ...]) -> Float[Tensor, "..."]:
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(int(mixed)))


def _odd(pixels: int, size: Sequence[int]) -> int:
    """A length given for 512 pixels, as an odd number of pixels of frames of this size."""
    return 2 * round(pixels * min(size) / _OF_SIDE / 2 - 0.5) + 1


def _is_last(step: Step) -> bool:
    return step.index + 1 == step.total
