"""What a recipe asks of its model, call by call: a small model, a spy on its `predict`, and formulas.

Formulas are written out here, on whole matrices, and share no code with what they check but the arithmetic of
a step. `read` and `with_attention` are the only places that know how `predict` is called.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from regrain.editing import EditRequest
from regrain.editing.attention.layers import AttentionLayer
from regrain.editing.diffusion.schedule import Step, advance, guide
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.models.intervention import PLAIN, Intervention
from regrain.editing.params.registry import resolve_params
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.events import EditResult, Preview, Stage, Tuned

FRAMES, HEIGHT, WIDTH = 3, 16, 24
GRIDS = {96: (8, 12), 24: (4, 6), 6: (2, 3)}
FINEST = 96
SEEN = {
    "own": lambda frame: [frame],
    "middle": lambda frame: [1],
    "own_middle": lambda frame: [frame, 1],
    "first_previous": lambda frame: [0, max(frame - 1, 0)],
    "all": lambda frame: [0, 1, 2],
}


# --- The spy


@dataclass
class Layer:
    """What one attention layer got and gave."""

    site: AttentionLayer
    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor

    @property
    def tokens(self) -> int:
        return self.q.shape[2]

    def rows(self, rows: slice) -> "Layer":
        return Layer(self.site, self.q[rows], self.k[rows], self.v[rows], self.out[rows])


@dataclass
class Call:
    """One call of `predict`: what it was given, and what it answered."""

    stage: str
    x: Tensor
    step: Step
    vectors: Tensor
    recompute: bool
    learns: bool
    layers: list[Layer] = field(default_factory=list)
    x0: Tensor = field(default_factory=lambda: torch.empty(0))
    eps: Tensor = field(default_factory=lambda: torch.empty(0))
    normed: int = 0  # rows that the last normalisation took statistics of
    # What came to each up block, before a patch changed it.
    entering: list[Tensor] = field(default_factory=list)
    # What entered the first layer of each up block, before and after a patch changed it.
    hidden: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def branches(self) -> int:
        return len(self.x) // FRAMES

    def branch(self, index: int) -> slice:
        return slice(index * FRAMES, (index + 1) * FRAMES)

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
    versions: list[int]  # numbers of the steps after which a tuning showed what it had learned
    kept: dict[Any, Any] = field(default_factory=dict)  # of formulas that need much work

    def of(self, stage: str) -> list[Call]:
        return [call for call in self.calls if call.stage == stage]


def read(
    x: Tensor, step: Step, text: PromptEmbedding, change: Intervention = PLAIN
) -> tuple[Tensor, Step, Tensor, Any]:
    """(x, step, vectors, attend) of a call of `predict`."""
    return x, step, text.vectors, change.attend


def tuned_by(x: Tensor, step: Step, text: PromptEmbedding, change: Intervention = PLAIN) -> Iterator[Tensor]:
    """The query projections that a call brings."""
    yield from change.queries.values()


def with_attention(
    attend: Callable, x: Tensor, step: Step, text: PromptEmbedding, change: Intervention = PLAIN
) -> tuple:
    """The same call with another attention."""
    return x, step, text, replace(change, attend=attend)


def drive(model: Any, request: EditRequest, cache: Path, **given: object) -> Run:
    """Run the request's method with these parameters, and note every call of the model."""
    params, _ = resolve_params(request.method, given, {})
    calls, previews, decoded, controls, versions, stage = [], {}, [], [], [], ["loading"]
    predict, decode = model.predict, model.decode

    def spy(*args: Any, **named: Any) -> tuple[Tensor, Tensor]:
        x, step, vectors, attend = read(*args)
        learns = torch.is_grad_enabled() and any(x.requires_grad for x in (vectors, *tuned_by(*args)))
        call = Call(stage[0], x.clone(), step, vectors.detach().clone(), bool(named.get("recompute")), learns)
        calls.append(call)

        def attending(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            seen = [x.detach().clone() for x in (q, k, v)]
            out = plain(q, k, v) if attend is None else attend(q, k, v, site)
            call.layers.append(Layer(site, *seen, out.detach().clone()))
            return out

        with sensors(model.unet, call):
            call.x0, call.eps = x0, eps = predict(*with_attention(attending, *args), **named)
        call.x0, call.eps = x0.detach(), eps.detach()
        return x0, eps

    # Types are checked around a recipe, which hides from `no_grad` that it is a generator.
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv("REGRAIN_CACHE", str(cache))
        patch.setattr(model, "predict", spy)
        patch.setattr(model, "decode", lambda x: decoded.append(x.clone()) or decode(x))
        watch_control(patch, controls, stage)
        events = edit_clip(model, request, params)
        result = None
        while result is None:
            try:
                event = next(events)
            except StopIteration as stop:
                result = stop.value
                break
            if isinstance(event, Stage):
                stage[0] = event.name
            if isinstance(event, Tuned):
                versions.append(event.adapter.facts.steps)
            if isinstance(event, Preview) and stage[0] == "editing":
                previews[calls[-1].step.index] = event
    return Run(model, request, params, calls, previews, decoded, result, controls, versions)


class sensors:  # noqa: N801
    """What happens inside the network during one call: normalisation, and the input of each up block."""

    def __init__(self, unet: torch.nn.Module, call: Call) -> None:
        self._unet, self._call = unet, call

    def __enter__(self) -> None:
        call, self._handles, self._patch = self._call, [], pytest.MonkeyPatch()
        norm = self._unet.conv_norm_out
        forward = norm.forward

        def normed(x: Tensor) -> Tensor:
            call.normed = len(x)
            return forward(x)

        self._patch.setattr(norm, "forward", normed)
        for block in self._unet.up_blocks:
            self._handles.append(
                block.register_forward_pre_hook(
                    lambda _, __, named: call.entering.append(named["hidden_states"].detach().clone()),
                    with_kwargs=True,
                )
            )
            resnet = block.resnets[0]
            before: list[Tensor] = []
            # Registered first, it sees what a patch has not changed yet.
            self._handles.append(
                resnet.register_forward_pre_hook(
                    lambda _, inputs, before=before: before.append(inputs[0].detach().clone())
                )
            )

            def forward_(x: Tensor, *more: Any, call=call, inner=resnet.forward, before=before) -> Tensor:
                call.hidden.append((before[-1], x.detach().clone()))
                return inner(x, *more)

            self._patch.setattr(resnet, "forward", forward_)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        for handle in self._handles:
            handle.remove()


def watch_control(patch: pytest.MonkeyPatch, seen: list[dict[str, Any]], stage: list[str]) -> None:
    """Note what control networks are called with, and what they answer."""
    from diffusers import ControlNetModel

    forward = ControlNetModel.forward

    def noting(self: Any, x: Tensor, t: Tensor, text: Tensor, hint: Tensor, **named: Any) -> Any:
        answer = forward(self, x, t, text, hint, **named)
        seen.append({"stage": stage[0], "x": x, "text": text, "hint": hint, "answer": answer} | named)
        return answer

    patch.setattr(ControlNetModel, "forward", noting)


# --- Formulas


def near(found: Tensor, expected: Tensor, what: object = "", atol: float = 2e-5) -> None:
    torch.testing.assert_close(
        found.float(), expected.float(), atol=atol, rtol=1e-4, msg=lambda text: f"{what}: {text}"
    )


def differs(one: Tensor, other: Tensor) -> bool:
    return one.shape != other.shape or not torch.allclose(one.float(), other.float(), atol=1e-4)


def softmax(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return softmax(q, k) @ v


def gathered(x: Tensor, frames: str) -> Tensor:
    """Keys or values of the frames that each frame of a branch sees, one after the other."""
    branches = x.unflatten(0, (-1, FRAMES))
    seen = [torch.cat([branches[:, f] for f in SEEN[frames](frame)], 2) for frame in range(FRAMES)]
    return torch.stack(seen, 1).flatten(0, 1)


def see(q: Tensor, k: Tensor, v: Tensor, frames: str) -> Tensor:
    return plain(q, gathered(k, frames), gathered(v, frames))


def any_in(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """1 in each cell that any pixel of the mask touches: [frames, 1, h, w]."""
    high, wide = mask.shape[1] // size[0], mask.shape[2] // size[1]
    cells = np.asarray(mask).reshape(len(mask), size[0], high, size[1], wide)
    return torch.from_numpy(cells.any((2, 4))).float()[:, None]


def marked(mass: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Where attention [frames, h, w] exceeds a share of its strongest: [frames, 1, height, width]."""
    wide = interpolate(max_pool2d(mass[:, None], 3, 1, 1), size, mode="nearest")
    return (wide > threshold * wide.amax((2, 3), keepdim=True)).float()


def mass(call: Call, rows: slice) -> Tensor:
    """Attention of every token on the finest grid, over its layers and heads: [frames, h, w, tokens]."""
    layers = [one.rows(rows) for one in call.layers if one.site.kind == "cross" and one.tokens == FINEST]
    maps = torch.stack([softmax(one.q, one.k).mean(1) for one in layers])
    return maps.mean(0).unflatten(1, GRIDS[FINEST])


def walk(start: Tensor, calls: Sequence[Call], steps: Sequence[Step]) -> list[Tensor]:
    """Latents of unguided calls, each of which begins where the one before led."""
    assert [call.step for call in calls] == list(steps)
    latents = [start]
    for call in calls:
        near(call.x, latents[-1], "x")
        latents.append(advance(call.x0, call.eps, call.step))
    return latents


def has_text(call: Call, branch: int, text: Tensor) -> bool:
    return torch.allclose(call.text(branch), text[0], atol=1e-4)


def guided(uncond: Sequence[Tensor], cond: Sequence[Tensor], scale: float, step: Step) -> Tensor:
    """Where a guided step leads, of (x0, eps) without and with the prompt."""
    return advance(*(guide(u, c, scale) for u, c in zip(uncond, cond, strict=True)), step)


def answers(call: Call, branch: int) -> tuple[Tensor, Tensor]:
    return call.x0[call.branch(branch)], call.eps[call.branch(branch)]


def varied(x: Tensor, mask: Tensor | None, params: Any, seed: int) -> Tensor:
    """Inverted latents with the share of fresh noise that `variation` asks for, the same in all frames."""
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
    mixed = (1 - params.variation) ** 0.5 * x + params.variation**0.5 * noise
    return mixed if mask is None else mask * mixed + (1 - mask) * x


def check_norm(run: Run) -> None:
    """Statistics over all frames of a branch, or of each frame, in every call."""
    joint = getattr(run.params, "joint_norm", False)
    for call in run.calls:
        assert call.normed == (call.branches if joint else len(call.x)), call.stage


def check_pixels(run: Run) -> None:
    """Inside the mask the edit, next to it a fade as wide as `feather`, outside the source."""
    mask, feather = np.asarray(run.request.edited_mask), run.params.feather
    source, alone, frames = (np.asarray(getattr(run.result, n)) for n in ("source", "uncomposited", "frames"))
    assert np.array_equal(alone, run.model.decode(run.decoded[0]))
    ys, xs = np.mgrid[: mask.shape[1], : mask.shape[2]]
    for frame in range(len(mask)):
        inside = np.argwhere(mask[frame])
        away = np.hypot(ys[..., None] - inside[:, 0], xs[..., None] - inside[:, 1]).min(-1)
        weight = (1 - away / max(feather, 1e-6)).clip(0, 1)[..., None]
        mixed = weight * alone[frame] + (1 - weight) * source[frame]
        straight = (away % 1 == 0) & (away < 3) | (away >= feather)  # others are measured approximately
        assert np.abs(frames[frame] - mixed)[straight].max() <= 0.51
        outside = (away > 0) & (away >= feather)
        assert np.array_equal(frames[frame][outside], source[frame][outside])


def check_previews(run: Run) -> None:
    every = run.params.preview_every
    assert list(run.previews) == [i for i in range(run.params.steps) if every and i % every == 0]


def each(layers: Sequence[Layer], kind: str) -> Iterator[Layer]:
    found = [layer for layer in layers if layer.site.kind == kind]
    assert {layer.tokens for layer in found} == set(GRIDS)
    yield from found
