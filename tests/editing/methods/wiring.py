"""What a recipe asks of its model, call by call: a small model, a spy on its `predict`,
and formulas.

Formulas are written out here, on whole matrices, and share no code with what they check
but the arithmetic of a step. `drive` is the only place that knows how `predict` is
called.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_clips import drifting
from made_models import randn
from running import composite, edit_clip
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.attention.layers import AttentionLayer
from regrain.editing.diffusion.blending import matched
from regrain.editing.diffusion.schedule import Step, advance, guide
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.motion.flow import estimate_flow, occlusion, trajectories
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS, resolve_params
from regrain.editing.recipe.events import EditResult, Event, Preview, Stage, Tuned

FRAMES = 3
HEIGHT = 16
WIDTH = 24
GRIDS = {96: (8, 12), 24: (4, 6), 6: (2, 3)}
FINEST = 96  # that of the latents
# The frames that a frame sees, of so many.
SEEN: dict[str, Callable[[int, int], list[int]]] = {
    "own": lambda frame, count: [frame],
    "middle": lambda frame, count: [count // 2],
    "own_middle": lambda frame, count: [frame, count // 2],
    "first_previous": lambda frame, count: [0, max(frame - 1, 0)],
    "all": lambda frame, count: list(range(count)),
}
UNETS = [name for name in METHODS if "image_unet" in METHODS[name].needs]
# Those that edit with any UNet, not only with one that sees the source.
PLAIN_UNETS = [name for name in UNETS if "source" not in METHODS[name].needs]
# What small edits have in common.
MODULATED = {"modulate_until": 1.0, "schedule_power": 1.0, "self_strength": 0.8}
SHORT = {"steps": 4, "preview_every": 0}


def clip(frames: int = FRAMES) -> ArrayClip:
    """Blobs that drift."""
    return drifting(frames, HEIGHT, WIDTH, start=8, blocks=3)


def labels(frames: int = FRAMES) -> np.ndarray:
    """Two boxes that drift with the clip, their edges off the cells of every grid."""
    found = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for t in range(frames):
        found[t, 1:10, 1 + 2 * t : 10 + 2 * t] = 1
        found[t, 5:15, 14 + t : 22 + t] = 2
    return found


def requested(
    method: str, prompt: str = "", masks: bool = True, frames: int = FRAMES
) -> EditRequest:
    """Two regions if they are bound to their words, none with a prompt; else one, by
    words and, if wanted, by its mask."""
    given = {"negative_prompt": "blurred", "seed": 7, "method": method}
    pictures, areas = clip(frames), labels(frames)
    if "vace" in METHODS[method].needs:  # whose tokens are twice as large
        pictures = drifting(frames, 2 * HEIGHT, 2 * WIDTH, start=8, blocks=3)
        areas = areas.repeat(2, 1).repeat(2, 2)
    if issubclass(METHODS[method].Params, ModulatedParams):
        if prompt or not masks:
            words = {"source_prompt": "a cat on the grass"}
            words["prompt"] = prompt or "a fox on the grass"
            return EditRequest(pictures, None, (), **given, **words)
        left = Region(
            "left", 1, "a panda", "a cat", strength=0.9, negative="ugly", margin=0
        )
        right = Region("right", 2, "a fox", "a dog", strength=0.5, margin=0)
        given["source_prompt"] = "a cat and a dog on the grass"
        return EditRequest(pictures, areas, (left, right), **given)
    given |= {
        "source_prompt": "a cat on the grass",
        "prompt": prompt or "a fox on the grass",
    }
    if not masks:
        return EditRequest(clip(frames), None, (), **given)
    region = Region(
        "cat", 1, prompt="a red fox" if prompt else "a fox", source="a cat", margin=0
    )
    return EditRequest(clip(frames), labels(frames) % 2, (region,), **given)


# --- The spy


@dataclass
class Layer:
    """What one attention layer got and gave."""

    site: AttentionLayer
    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    frames: int  # of a branch

    @property
    def tokens(self) -> int:
        return self.q.shape[2]

    def gives(self, expected: Tensor, atol: float = 2e-5) -> None:
        """Check what it gave."""
        near(self.out, expected, self.site.name, atol)

    def seeing(self, seen: str) -> Tensor:
        """What it gives where each frame sees these of its branch."""
        return see(self.q, self.k, self.v, seen, self.frames)

    def rows(self, rows: slice) -> "Layer":
        parts = (part[rows] for part in (self.q, self.k, self.v, self.out))
        return Layer(self.site, *parts, self.frames)


@dataclass
class Call:
    """One call of `predict`: what it was given, and what it answered."""

    stage: str
    x: Tensor
    step: Step
    vectors: Tensor
    recompute: bool
    learns: bool
    frames: int  # of a branch
    change: Intervention = PLAIN
    layers: list[Layer] = field(default_factory=list)
    x0: Tensor = field(default_factory=lambda: torch.empty(0))
    eps: Tensor = field(default_factory=lambda: torch.empty(0))
    normed: int = 0  # rows that the last normalisation took statistics of
    # What came to each up block, before a patch changed it.
    entering: list[Tensor] = field(default_factory=list)
    # What entered the first layer of each up block, before and after a patch changed
    # it.
    hidden: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def branches(self) -> int:
        return len(self.x) // self.frames

    def branch(self, index: int) -> slice:
        return slice(index * self.frames, (index + 1) * self.frames)

    def text(self, branch: int) -> Tensor:
        """The text of a branch: [L, d]."""
        assert len(self.vectors) in (self.branches, len(self.x))
        return self.vectors[branch * len(self.vectors) // self.branches]


@dataclass
class Run:
    """A whole run."""

    model: Any
    request: EditRequest
    params: Any
    calls: list[Call]
    previews: dict[int, Preview]
    decoded: list[Tensor]
    result: EditResult
    controls: list[dict[str, Any]]
    # numbers of the steps after which a tuning showed what it had learned
    versions: list[int]
    # of formulas that need much work
    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return len(self.request.clip)

    @property
    def clean(self) -> Tensor:
        """Latents of the clip."""
        return self.model.encode(self.request.clip.read(0, self.frames))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps from noise to clean."""
        return self.model.schedule.sampling(self.params.steps)

    def of(self, stage: str) -> list[Call]:
        return [call for call in self.calls if call.stage == stage]


def drive(model, request: EditRequest, cache: Path, **given: object) -> Run:
    """Run the request's method with these parameters, and note every call of the
    model."""
    params, _ = resolve_params(request.method, given, {})
    calls, previews, decoded, controls, versions, stage = (
        [],
        {},
        [],
        [],
        [],
        ["loading"],
    )
    predict = model.predict
    decode = model.decode
    frames = len(request.clip)

    def spy(
        x, step, text, change: Intervention = PLAIN, **named: Any
    ) -> tuple[Tensor, Tensor]:
        given = (text.vectors, *change.queries.values())
        learns = torch.is_grad_enabled() and any(one.requires_grad for one in given)
        vectors = text.vectors.detach().clone()
        recompute = bool(named.get("recompute"))
        noted = (stage[0], x.clone(), step, vectors, recompute, learns, frames)
        call = Call(*noted, change)
        calls.append(call)

        def attending(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            seen = [x.detach().clone() for x in (q, k, v)]
            out = (
                plain(q, k, v)
                if change.attend is None
                else change.attend(q, k, v, site)
            )
            call.layers.append(Layer(site, *seen, out.detach().clone(), frames))
            return out

        with sensors(model.unet, call) if hasattr(model, "unet") else nullcontext():
            x0, eps = predict(x, step, text, replace(change, attend=attending), **named)
        call.x0, call.eps = x0.detach(), eps.detach()
        return x0, eps

    # Types are checked around a recipe, which hides from `no_grad` that it is a
    # generator.
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv("REGRAIN_CACHE", str(cache))
        patch.setattr(model, "predict", spy)
        patch.setattr(model, "decode", lambda x: decoded.append(x.clone()) or decode(x))
        watch_control(patch, controls, stage)
        result = []

        def finish() -> Iterator[Event]:
            result.append((yield from edit_clip(model, request, params)))

        for event in finish():
            if isinstance(event, Stage):
                stage[0] = event.name
            if isinstance(event, Tuned):
                versions.append(event.adapter.facts.steps)
            if isinstance(event, Preview) and stage[0] == "editing":
                previews[calls[-1].step.index] = event
    return Run(
        model, request, params, calls, previews, decoded, *result, controls, versions
    )


@contextmanager
def sensors(unet: torch.nn.Module, call: Call) -> Iterator[None]:
    """What happens inside the network during one call: normalisation, and the input of
    each up block."""
    norm = unet.conv_norm_out.forward
    before = dict[int, Tensor]()

    def normed(x: Tensor) -> Tensor:
        call.normed = len(x)
        return norm(x)

    def enter(_, __, named: dict[str, Tensor]) -> None:
        call.entering.append(named["hidden_states"].detach().clone())

    def watched(inner: Callable, index: int) -> Callable:
        def forward(x: Tensor, *more) -> Tensor:
            call.hidden.append((before[index], x.detach().clone()))
            return inner(x, *more)

        return forward

    def note(index: int) -> Callable:
        return lambda _, inputs: before.update({index: inputs[0].detach().clone()})

    with pytest.MonkeyPatch.context() as patch, ExitStack() as hooks:
        patch.setattr(unet.conv_norm_out, "forward", normed)
        for index, block in enumerate(unet.up_blocks):
            hooks.enter_context(
                block.register_forward_pre_hook(enter, with_kwargs=True)
            )
            # Registered first, it sees what a patch has not changed yet.
            hooks.enter_context(block.resnets[0].register_forward_pre_hook(note(index)))
            patch.setattr(
                block.resnets[0], "forward", watched(block.resnets[0].forward, index)
            )
        yield


def watch_control(
    patch: pytest.MonkeyPatch, seen: list[dict[str, Any]], stage: list[str]
) -> None:
    """Note what control networks are called with, and what they answer."""
    from diffusers import ControlNetModel

    forward = ControlNetModel.forward

    def noting(self, x: Tensor, t: Tensor, **named) -> Any:
        answer = forward(self, x, t, **named)
        text = named["encoder_hidden_states"]
        hint = named["controlnet_cond"]
        seen.append(
            {"stage": stage[0], "x": x, "text": text, "hint": hint, "answer": answer}
            | named
        )
        return answer

    patch.setattr(ControlNetModel, "forward", noting)


# --- Formulas


def near(
    found: Tensor | np.ndarray, expected: Tensor, what: object = "", atol: float = 2e-5
) -> None:
    """Equal but for rounding; what a model in double precision made, within 1e-6."""
    allowed = {"atol": atol, "rtol": 1e-4}
    if expected.dtype == torch.float64:
        allowed = {"atol": 1e-6, "rtol": 1e-6}
    torch.testing.assert_close(
        torch.as_tensor(found).to(expected),
        expected,
        **allowed,
        msg=lambda text: f"{what}: {text}",
    )


def differs(one: Tensor, other: Tensor) -> bool:
    return one.shape != other.shape or not torch.allclose(
        one.float(), other.float(), atol=1e-4
    )


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / q.shape[-1] ** 0.5


def softmax(q: Tensor, k: Tensor) -> Tensor:
    return scores(q, k).softmax(-1)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return softmax(q, k) @ v


def gathered(x: Tensor, seen: str, count: int) -> Tensor:
    """Keys or values of the frames that each of `count` frames of a branch sees, one
    after the other."""
    branches = x.unflatten(0, (-1, count))
    found = []
    for frame in range(count):
        parts = [branches[:, other] for other in SEEN[seen](frame, count)]
        found.append(torch.cat(parts, 2))
    return torch.stack(found, 1).flatten(0, 1)


def see(q: Tensor, k: Tensor, v: Tensor, seen: str, count: int) -> Tensor:
    return plain(q, gathered(k, seen, count), gathered(v, seen, count))


def any_in(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """1 in each cell that any pixel of the mask touches: [frames, 1, h, w]."""
    high = mask.shape[1] // size[0]
    wide = mask.shape[2] // size[1]
    cells = np.asarray(mask).reshape(len(mask), size[0], high, size[1], wide)
    return torch.from_numpy(cells.any((2, 4))).float()[:, None]


def marked(mass: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Where attention [frames, h, w] exceeds a share of its strongest: [frames, 1,
    height, width]."""
    wide = interpolate(max_pool2d(mass[:, None], 3, 1, 1), size, mode="nearest")
    return (wide > threshold * wide.amax((2, 3), keepdim=True)).float()


def finest(run: Run) -> int:
    """Cells of the finest grid with attention: the latents', of SDXL the next."""
    return FINEST // min(site.stride[1] for site in run.model.sites) ** 2


def mass(call: Call, rows: slice) -> Tensor:
    """Attention of every token on the finest grid, over its layers and heads: [frames,
    h, w, tokens]."""
    most = max(one.tokens for one in call.layers)
    layers = [
        one.rows(rows)
        for one in call.layers
        if one.site.kind == "cross" and one.tokens == most
    ]
    maps = torch.stack([softmax(one.q, one.k).mean(1) for one in layers])
    return maps.mean(0).unflatten(1, GRIDS[most])


def walk(start: Tensor, calls: Sequence[Call], steps: Sequence[Step]) -> list[Tensor]:
    """Latents of unguided calls, each of which begins where the one before led."""
    assert [call.step for call in calls] == list(steps)
    latents = [start]
    for call in calls:
        near(call.x, latents[-1], "x")
        latents.append(advance(call.x0, call.eps, call.step))
    return latents


def check_unguided(run: Run, calls: Sequence[Call], prompt: str, frames) -> None:
    """The clip alone, with one prompt and attention that nothing changes."""
    text = run.model.embed([prompt]).vectors
    for call in calls:
        assert call.branches == 1
        assert has_text(call, 0, text)
        check_plain(call, frames)


def check_inverting(
    run: Run, calls: list[Call], prompt: str, convention: str, frames: Any
) -> list[Tensor]:
    """The clip, unguided, up to noise; the latents from clean to noise."""
    check_unguided(run, calls, prompt, frames)
    rising = run.model.schedule.inversion(run.params.steps, convention)
    return walk(run.clean, calls, rising)


def check_plain(call: Call, frames: str | Callable[[Layer], str] = "own") -> None:
    """Attention that nothing changes; which frames a frame sees may depend on the
    layer."""
    check_free_words(call)
    for layer in each(call.layers, "self"):
        layer.gives(layer.seeing(frames if isinstance(frames, str) else frames(layer)))


def check_free_words(call: Call) -> None:
    """Attention to words that nothing changes."""
    for layer in each(call.layers, "cross"):
        layer.gives(layer.seeing("own"))


def blended_area(run: Run) -> Tensor | None:
    """1 in each cell of the regions, where what is outside is the clip's."""
    blends = run.params.blend and run.request.edited
    return any_in(run.request.edited_mask, GRIDS[FINEST]) if blends else None


def check_edits(
    run: Run,
    calls: list[Call],
    x: Tensor,
    known: Callable[[Step], Tensor],
    frames: str,
    take: Callable[[Tensor, Tensor, Tensor, Step], Tensor] | None = None,
) -> None:
    """Every edit from the same latents, without and with its prompt; `known` gives what
    is outside, and `take` what a step leads to, if not that of `advance`."""
    params = run.params
    request = run.request
    inside = blended_area(run)
    uncond, *texts = run.model.embed(
        [request.negatives, *request.targets]
    ).vectors.split(1)
    edits = len(texts)
    xs = [x] * len(texts)
    for call in calls:
        assert call.branches == 2 * edits
        check_plain(call, frames)
        for i in range(edits):
            near(call.x[call.branch(i)], xs[i], "x, without the prompt")
            near(call.x[call.branch(edits + i)], xs[i], "x, with it")
            assert has_text(call, i, uncond)
            assert has_text(call, edits + i, texts[i])
            halves = zip(answers(call, i), answers(call, edits + i), strict=True)
            x0, eps = (guide(u, c, params.guidance_scale) for u, c in halves)
            xs[i] = (
                take(xs[i], x0, eps, call.step) if take else advance(x0, eps, call.step)
            )
            if inside is not None:
                xs[i] = inside * xs[i] + (1 - inside) * known(call.step)
    assert len(run.decoded) == edits
    check_latents(run, xs)


def check_latents(run: Run, expected: Sequence[Tensor]) -> None:
    """Every edit ends with these; what is decoded behind them is another matter."""
    for found, one in zip(run.decoded, expected, strict=False):
        near(found, one, "last latents")


def has_text(call: Call, branch: int, text: Tensor) -> bool:
    return torch.allclose(call.text(branch), text[0], atol=1e-4)


def guided(
    uncond: Sequence[Tensor], cond: Sequence[Tensor], scale: float, step: Step
) -> Tensor:
    """Where a guided step leads, of (x0, eps) without and with the prompt."""
    return advance(
        *(guide(u, c, scale) for u, c in zip(uncond, cond, strict=True)), step
    )


def answers(call: Call, branch: int) -> tuple[Tensor, Tensor]:
    return call.x0[call.branch(branch)], call.eps[call.branch(branch)]


def varied(x: Tensor, mask: Tensor | None, params, seed: int) -> Tensor:
    """Inverted latents with the share of fresh noise that `variation` asks for, the
    same in all frames."""
    noise = randn(*x.shape[1:], seed=seed)
    mixed = (1 - params.variation) ** 0.5 * x + params.variation**0.5 * noise
    return mixed if mask is None else mask * mixed + (1 - mask) * x


def tracks_on(run: Run, tokens: int) -> Tensor:
    """Track of every cell of a grid: [frames, tokens]."""
    kept = run.kept.setdefault("tracks", {})
    if tokens not in kept:
        frames = run.request.clip.read(0, run.frames)
        there = estimate_flow(frames[:-1], frames[1:], "dis")
        back = estimate_flow(frames[1:], frames[:-1], "dis")
        hidden = occlusion(there, back)
        kept[tokens] = trajectories(there, hidden, GRIDS[tokens]).flatten(1)
    return kept[tokens]


def check_formulas(run: Run) -> None:
    """All calls of the model, by the formulas of the method."""
    import_module(f"{run.request.method}_formulas").check(run)


def check(run: Run) -> None:
    """The formulas, and what all methods have in common."""
    check_formulas(run)
    if hasattr(run.model, "unet"):
        check_norm(run)
    check_pixels(run)
    check_previews(run)


def check_norm(run: Run) -> None:
    """Statistics over all frames of a branch, or of each frame, in every call."""
    tuned = run.request.method == "tune_a_video"
    joint = getattr(run.params, "joint_norm", tuned)
    for call in run.calls:
        assert call.normed == (call.branches if joint else len(call.x)), call.stage


def check_pixels(run: Run) -> None:
    """The edit as it is decoded, over the source by its mask and `feather`."""
    source, alone, frames = (
        np.asarray(getattr(run.result, n)) for n in ("source", "uncomposited", "frames")
    )
    mask = np.asarray(run.request.edited_mask)
    drawn = run.model.decode(run.decoded[0])[: len(alone)]
    if getattr(run.params, "match", False):
        drawn = matched(drawn, source, mask)
    assert np.array_equal(alone, drawn)
    assert np.array_equal(frames, composite(source, alone, mask, run.params.feather))


def check_previews(run: Run) -> None:
    every = run.params.preview_every
    assert list(run.previews) == [
        i for i in range(run.params.steps) if every and i % every == 0
    ]


# --- Words of two prompts

# Token of the source for each of the target, -1 where it is new; the end of the prompts
# is behind.
ALIGNED = {
    ("a cat on the grass", "a fox on the grass"): [0, 1, -1, 3, 4, 5, 6],
    ("a cat on the grass", "a red fox on the grass"): [0, 1, -1, -1, 3, 4, 5, 6],
}


def replaces(run: Run, target: str) -> bool:
    control = run.params.cross_control
    return control == "replace" or (control == "auto" and len(target.split()) == 5)


def exchanged(run: Run, source: Tensor, edit: Tensor, target: str) -> Tensor:
    """Words replaced in their places, or kept words as in the source and new ones their
    own."""
    if replaces(run, target):
        return source.clone()
    return aligned(run, source, edit, target)


def aligned(run: Run, source: Tensor, edit: Tensor, target: str) -> Tensor:
    """Kept words as in the source, and new ones their own."""
    known = ALIGNED[run.request.source_prompt, target]
    length = len(known)
    limit = source.shape[-1]
    shift = 7 - length if getattr(run.params, "alignment", "fixed") == "fixed" else 0
    indices = torch.tensor(
        known + [min(j + shift, limit - 1) for j in range(length, limit)]
    )
    return torch.where(indices < 0, edit, source[..., indices.clamp(min=0)])


def each(layers: Sequence[Layer], kind: str) -> Iterator[Layer]:
    found = [layer for layer in layers if layer.site.kind == kind]
    # Stable Diffusion, SDXL
    assert {layer.tokens for layer in found} in ({96, 24, 6}, {24, 6})
    yield from found


# --- Tables


def latents_of(run: Run) -> list[Any]:
    return [x.tolist() for x in run.decoded]


def frames_of(run: Run) -> list[Any]:
    return np.asarray(run.result.frames).tolist()


def steps_shown(run: Run) -> list[int]:
    return list(run.previews)


def calls_of(run: Run) -> list[Any]:
    return [(call.stage, call.recompute, len(call.layers)) for call in run.calls]


@dataclass
class Row:
    """Another value of a parameter, what is set beside it in both runs, and where the
    two must differ."""

    other: object
    beside: Mapping[str, object] = field(default_factory=dict)
    shown: Callable[[Run], Any] = latents_of
    prompt: str = ""
    masks: bool = True
    # of the clip; with more than three, weights between key frames differ
    frames: int = FRAMES


@dataclass(frozen=True)
class Case:
    """What tests need to know of a method, beside its formulas.

    Attributes:
        base: Parameters of a small edit.
        rows: By parameter another value, which must change the run, or a `Row` that says
            more; `COMMON_ROWS` is added.
        elsewhere: Parameters that other files test.
        heat: Names of the attention of a result.
        more: Parameters of an edit in which there is more to do.
    """

    base: Mapping[str, object]
    rows: Mapping[str, object]
    elsewhere: Set[str] = frozenset()
    heat: Set[str] = frozenset()
    more: Mapping[str, object] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """The row of a parameter."""
        found = self.rows[name]
        return found if isinstance(found, Row) else Row(found)


REFINED = "a red fox on the grass"
COMMON_ROWS = {
    "steps": 4,
    "guidance_scale": 2.0,
    "feather": Row(0.0, shown=frames_of),
    "preview_every": Row(2, shown=steps_shown),
    "blend": False,
    "control": "canny=net@0.5",
    "strength": 0.5,
    "redraw": 0.5,
    "variation": 0.4,
    "self_strength": 0.3,
    "cross_strength": 0.4,
    "modulate_until": 0.3,
    "schedule_power": 5.0,
}
