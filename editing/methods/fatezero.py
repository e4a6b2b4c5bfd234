"""FateZero: edits by words that reuse the source's attention, without training.

Qi et al. 2023, arXiv:2303.09535. The clip is inverted to noise with the source prompt
(DDIM). On the way back, in the first steps, the words that both prompts share look
where they looked in the source, and self-attention keeps the source's layout:
everywhere, or outside the area whose words changed.

The source's latents are stored, not its attention. At a step that reuses attention they
run as one more branch of the same batch: injected self-attention uses the source's
queries and keys and the edit's values. The branch ends when no later step needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import NamedMaps, WordAttention
from regrain.editing.attention.backends import attention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.frames import (
    Selectors,
    across_frames,
    frames_seen,
)
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Size
from regrain.editing.attention.maps import Exchange, fuse_cross
from regrain.editing.diffusion.blending import (
    Area,
    blend_latents,
    mask_from_attention,
    mix_noise,
)
from regrain.editing.diffusion.schedule import (
    Answer,
    FrameLatents,
    RowLatents,
    Step,
    advance,
)
from regrain.editing.diffusion.text import PromptEmbedding, find_all, new_words
from regrain.editing.errors import PromptError
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    Look,
    of_columns,
    telling_columns,
    watched,
)
from regrain.editing.recipe.events import Progress, Stage, Steps
from regrain.editing.recipe.inversion import (
    cached,
    ddim_invert,
    inversion_key,
)
from regrain.editing.recipe.preview import StepEvents
from regrain.editing.recipe.prompts import align, embed_prompts
from regrain.editing.recipe.window import (
    ResizedClip,
    WindowFrames,
    WindowResult,
    working_clip,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.by_name import Tensors

# Shares of the steps from which on, and up to which, latents outside are kept; and the
# share of the strongest attention above which a place is in the area. As released.
_BLEND_FROM, _BLEND_UNTIL, _THRESHOLD = 0.2, 0.8, 0.3
_KEYS: dict[str, Selectors] = {
    "own_middle": ("own", "middle"),
    "middle": ("middle",),
    "first_previous": ("first", "previous"),
    "own": ("own",),
}


@torch.no_grad()
def run(
    backbone: Backbone,
    request: EditRequest,
    params: FateZeroParams,
    window: WindowFrames | None = None,
) -> Steps[WindowResult]:
    """Edit a clip, or a window of it; yields events, returns the latents."""
    working = working_clip(backbone, request, window)
    prompts = FateZeroPrompts(backbone, request, params, working)

    yield Stage("inverting")
    source = yield from invert(backbone, working, prompts)

    yield Stage("editing")
    edits = Edits(prompts, source)
    told = StepEvents(source.latents[0], working, params.preview_every, params.steps)
    inside = None if prompts.edited is None else prompts.edited(working.grid.size)
    fresh = torch.Generator().manual_seed(request.seed)
    x = mix_noise(source.latents[-1], inside, params.variation, fresh)
    x = x.repeat(len(prompts.targets), 1, 1, 1)
    for step in backbone.schedule.sampling(params.steps, inverted=True):
        x = working.window.pin_anchors("edit", step.index, x)
        batch, text = prompts.rows(step)
        change = Intervention(edits.attend(step, batch), prompts.patches)
        rows = batch.join({"source": source.at(step), "uncond": x, "cond": x})
        answer = backbone.predict(rows, step, text, change)
        x0, eps = batch.guide(answer, params.guidance_scale)
        x = edits.blend(advance(x0, eps, step), step)
        yield from told(step, x0[: batch.frames], edits.now)
    words = prompts.targets[0].words
    return WindowResult(
        edits=x.split(prompts.frames),
        attention=edits.heats[0].maps(words),
        words=edits.words(),
        step_areas=edits.step_areas,
    )


class FateZeroPrompts:
    """The prompts of a run, aligned, and attention without the source's.

    Attributes:
        scope: The layers from which maps of words are read.
        source: The source prompt.
        targets: The prompts of the edits.
        areas: For each, the tokens of the source prompt and its own that mark the
            edited area; empty if none are needed.
        edited: The regions, if they define the edited area; None if attention does, or
            nothing.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        params: FateZeroParams,
        working: ResizedClip,
    ) -> None:
        """Encode and align the prompts.

        Raises:
            PromptError: A given word is not in its prompt, or no word marks the edited
                area.
        """
        self.params = params
        self.frames = len(request.clip)
        self.grid = working.grid
        self.scope = HeatScope.of(working.grid, backbone.sites)
        self.patches = (joint_norm(self.frames),) if params.joint_norm else ()
        self.edited = working.edited
        keys = _KEYS[params.keys]
        finest = keys if params.keys_levels == "all" else ("own",)
        among = (self.frames, backbone.device, working.window.middle)
        self._seen = frames_seen(keys, *among)
        self._seen_finest = frames_seen(finest, *among)

        self.source, self._uncond, texts = embed_prompts(backbone, request)
        blends = params.blend_self or params.blend_latents == "always"
        by_words = self.edited is None and blends
        self.targets = []
        self.areas = []
        for text in texts:
            lost, gained = new_words(request.description, text.prompts[0])
            marks = params.blend_words or lost
            if by_words and not marks:
                raise PromptError(
                    "params.blend_words",
                    "No word of the source prompt is replaced, so the edited area is unknown. Name a word, "
                    "add a region with a mask, or set blend_latents=never and blend_self=false.",
                )
            weights = emphasis(params, gained)
            self.targets.append(align(self.source, text, params, weights))
            source_area = area = ()
            if by_words:
                own = params.edit_words or gained
                source_area = find_all(self.source, marks, "params.blend_words")
                area = find_all(text, own, "params.edit_words")
            self.areas.append((source_area, area))

    def injected(self, step: Step) -> tuple[bool, bool]:
        """Check if a step takes cross-attention, and if it takes self-attention, from
        the source.

        The released code counts cross-attention's share of N + 1 steps,
        self-attention's of N.
        """
        takes_cross = step.within(self.params.cross_until, of=step.total + 1)
        return takes_cross, step.within(self.params.self_until)

    def rows(self, step: Step) -> tuple[Batch, PromptEmbedding]:
        """Return the branches of a step and their texts; the source runs along while
        its attention is reused."""
        branches = ["source"] if any(self.injected(step)) else []
        scale = self.params.guidance_scale
        edits = len(self.targets)
        batch = Batch.of(self.frames, *branches, edits=edits, scale=scale)
        conds = [target.text for target in self.targets]
        return batch, batch.guided_texts(self._uncond, conds, source=self.source)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute spatio-temporal self-attention: each frame sees the chosen frames."""
        if site.kind == "cross":
            return attention(q, k, v)
        seen = self._seen_finest if site.finest else self._seen
        return across_frames(q, k, v, self.frames, seen)


def emphasis(params: FateZeroParams, gained: tuple[str, ...]) -> dict[str, float]:
    """Return the factor of each emphasised word."""
    if params.emphasis_words:
        return {
            words: params.emphasis if own is None else own
            for words, own in params.emphasis_words
        }
    return dict.fromkeys(gained if params.emphasis != 1 else (), params.emphasis)


@dataclass(frozen=True, eq=False)
class InvertedSource:
    """The inversion of the source.

    Attributes:
        latents: The N + 1 latents from clean to noise.
        mass: Attention to its words in every call of the model.
        released: Use the levels of the released code: at timestep t, it takes the
            attention of the inversion step with timestep t.
    """

    latents: list[FrameLatents]
    mass: Float[Tensor, "calls frames grid_height grid_width tokens"]
    released: bool

    def at(self, step: Step) -> FrameLatents:
        """Return the latents of the source branch: at the edit's level or, as released,
        one step cleaner."""
        return self.latents[step.total - step.index - self.released]

    def blended(self, step: Step) -> FrameLatents:
        """Return the latents to blend in after a step: at its new level or, as
        released, one step noisier."""
        return self.latents[step.total - 1 - step.index + self.released]


def invert(
    backbone: Backbone, working: ResizedClip, prompts: FateZeroPrompts
) -> Steps[InvertedSource]:
    """Invert the clip with the source prompt; cached."""
    params = prompts.params
    text = prompts.source
    released = params.inversion_latents == "released"
    convention = "fatezero" if released else "paper"
    facts = {
        "prompt": text.prompts[0],
        "steps": params.steps,
        "told": convention,
        "keys": params.keys,
        "keys_levels": params.keys_levels,
        "joint_norm": params.joint_norm,
        "method": "fatezero",
    }
    key = inversion_key(backbone, working, **facts)
    heat = AttentionRecorder(prompts.scope)
    alone = Batch(prompts.frames, ("source",))
    look = watched(prompts.attend, alone, lambda _: [Look(heat, "source")])
    change = Intervention(look, prompts.patches)
    mass = []

    def predict(x: Tensor, step: Step) -> Answer:
        heat.begin(step)
        answer = backbone.predict(x, step, text, change)
        mass.append(heat.step()[..., : text.lengths[0]])
        return answer

    def up() -> Steps[Tensors]:
        steps = backbone.schedule.inversion(params.steps, convention)
        latents = yield from ddim_invert(
            backbone,
            working,
            predict,
            steps,
            params.steps,
            params.preview_every,
        )
        return {"latents": torch.stack(latents), "mass": torch.stack(mass)}

    done = Progress("inverting", params.steps, params.steps)
    kept = yield from cached(key, up, done, backbone.device)
    latents = working.window.pin_inversion(kept["latents"])
    return InvertedSource(latents, kept["mass"], released)


class Edits:
    """The edits during denoising: their attention, the area that they change, and their
    blending."""

    def __init__(self, prompts: FateZeroPrompts, source: InvertedSource) -> None:
        self._prompts = prompts
        self._params = prompts.params
        self._source = source
        self.heats = [AttentionRecorder(prompts.scope) for _ in prompts.targets]
        self.step_areas: dict[int, np.ndarray] = {}

    def now(self, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of the first edit's new words, for a preview."""
        return self.heats[0].now(self._prompts.targets[0].words, frames)

    def words(self) -> WordAttention:
        """Return the attention to each word of the source prompt and of the first
        target."""
        mean = self._source.mass.mean(0)
        source = {}
        for word, tokens in telling_columns(self._prompts.source).items():
            source[word] = of_columns(mean, tokens).float().cpu().numpy()
        maps = self.heats[0].maps(telling_columns(self._prompts.targets[0].text))
        return WordAttention(source, {word: one.before for word, one in maps.items()})

    def attend(self, step: Step, batch: Batch) -> AttentionFn:
        """Return the attention of one denoising step."""
        prompts = self._prompts
        takes_cross, takes_self = prompts.injected(step)
        exchanges = {}
        for number, target in enumerate(prompts.targets):
            self.heats[number].begin(step)
            exchanges[f"cond/{number}"] = target.exchange

        def injects(site: AttentionLayer) -> bool:
            return self._params.levels == "all" or not site.finest

        def fused(site: AttentionLayer) -> dict[str, Exchange]:
            return exchanges if takes_cross and injects(site) else {}

        def looks(site: AttentionLayer) -> Iterator[Look]:
            for branch, heat in zip(exchanges, self.heats, strict=True):
                yield Look(heat, branch, fused(site).get(branch))

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "cross":
                return fuse_cross(
                    q,
                    k,
                    v,
                    batch,
                    fused(site),
                )
            if takes_self and injects(site):
                return self._like_source(
                    q,
                    k,
                    v,
                    site,
                    batch,
                    step,
                )
            return prompts.attend(q, k, v, site)

        return watched(attend, batch, looks)

    def _like_source(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        site: AttentionLayer,
        batch: Batch,
        step: Step,
    ) -> Tensor:
        """Compute self-attention by the source's queries and keys, everywhere or
        outside the edited area, in the half of guidance with the prompt."""
        prompts = self._prompts
        rows = batch.rows("cond")
        edits = len(prompts.targets)
        taken_q = q.clone()
        taken_k = k.clone()
        for taken in (taken_q, taken_k):
            taken[rows] = taken[batch.rows("source")].repeat(edits, 1, 1, 1)
        out = prompts.attend(taken_q, taken_k, v, site)
        if not self._params.blend_self:
            return out
        size = prompts.grid.at(site).size
        areas = [self._area_of_source(step, edit, size) for edit in range(edits)]
        masks = rearrange(torch.cat(areas), "f 1 h w -> f 1 (h w) 1")
        own = prompts.attend(q[rows], k[rows], v[rows], site)
        out[rows] = (masks * own + (1 - masks) * out[rows]).to(out)
        return out

    def blend(self, x: RowLatents, step: Step) -> RowLatents:
        """Return the latents after a step: with blending, the source's outside the
        edited area."""
        edits = len(self._prompts.targets)
        if self._blends_latents(step):
            area = torch.cat([self._area_of_edit(step, edit) for edit in range(edits)])
            known = self._source.blended(step).repeat(edits, 1, 1, 1)
            self._note_area(area, step)
            return blend_latents(x, known, area)
        if self._params.blend_self and step.within(self._params.self_until):
            area = self._area_of_source(step, 0, self._prompts.grid.size)
            self._note_area(area, step)
        return x

    def _note_area(self, area: Float[Tensor, "rows 1 h w"], step: Step) -> None:
        """Keep the first edit's area after a step, unless masks define it."""
        if self._prompts.edited is None:
            own = area[: self._prompts.frames, 0] > 0
            self.step_areas[step.index] = own.cpu().numpy()

    def _blends_latents(self, step: Step) -> bool:
        """Check if latents outside the edited area are the source's after this step,
        the n-th of N.

        As released: int(0.2 N) < n < int(0.8 N).
        """
        params = self._params
        wanted = ("always",) if self._prompts.edited is None else ("always", "masks")
        if params.blend_latents not in wanted or step.within(_BLEND_FROM):
            return False
        after = replace(step, index=step.index + 1)
        return after.within(_BLEND_UNTIL)

    def _area_of_source(self, step: Step, edit: int, size: Size) -> Area:
        """Return the area of an edit: the masks, or that of the source's attention at
        this noise level."""
        if self._prompts.edited is not None:
            return self._prompts.edited(size)
        # The model never saw the noisiest latents during inversion, so use the call
        # before.
        source = self._source
        call = min(step.total - step.index - source.released, len(source.mass) - 1)
        tokens, _ = self._prompts.areas[edit]
        mass = of_columns(source.mass[call], tokens)
        return mask_from_attention(mass, size, _THRESHOLD)

    def _area_of_edit(self, step: Step, edit: int) -> Area:
        """Return the area of an edit on the latents' grid, joined with that of its own
        words' attention."""
        size = self._prompts.grid.size
        area = self._area_of_source(step, edit, size)
        _, tokens = self._prompts.areas[edit]
        if self._prompts.edited is not None or not tokens:
            return area
        mass, _ = self.heats[edit].means()
        own = mask_from_attention(of_columns(mass, tokens), size, _THRESHOLD)
        return torch.maximum(area, own)
