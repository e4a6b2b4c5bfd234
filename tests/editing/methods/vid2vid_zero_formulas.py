"""vid2vid-zero written out: what every call of the model should be given, and what
becomes of its answers."""

import torch
from torch import Tensor
from wiring import (
    FINEST,
    REFINED,
    SHORT,
    Call,
    Case,
    Layer,
    Row,
    Run,
    answers,
    blended_area,
    check_inverting,
    check_latents,
    check_plain,
    each,
    exchanged,
    finest,
    guided,
    has_text,
    near,
    plain,
    replaces,
    softmax,
    varied,
)

from regrain.editing.diffusion.schedule import Step

NULL = {"inversion": "null_text"}
CASE = Case(
    base=SHORT | {"inner_steps": 1},
    rows={
        "preset": "released",
        "guidance_scale": Row(2.0, NULL),
        "inversion": "plain",
        "inner_steps": Row(2, NULL),
        "cross_control": "refine",
        "alignment": Row("original", prompt=REFINED),
        "joint_norm": True,
        "reconstruct": False,
    },
    heat={"fox"},
    more={"inversion": "null_text", "joint_norm": True},
)


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    inverting = run.of("inverting")
    latents = check_inversion(run, inverting[: params.steps])
    learned = check_learning(run, inverting[params.steps :], latents)
    targets = run.request.targets
    scale = params.guidance_scale
    inside = blended_area(run)
    x = varied(latents[-1], inside, params, run.request.seed).repeat(
        len(targets), 1, 1, 1
    )
    rebuilt = latents[-1]
    calls = run.of("editing")
    assert [call.step for call in calls] == list(run.steps)
    for call in calls:
        step = call.step
        rows = Branches(run, call, x, rebuilt, learned)
        check_attention(run, call, rows)
        halves = zip(rows.unconds, rows.edits, strict=True)
        x = torch.cat(
            [
                guided(*(answers(call, row) for row in both), scale, step)
                for both in halves
            ]
        )
        if rows.source is not None:
            rebuilt = guided(
                answers(call, rows.source_uncond),
                answers(call, rows.source),
                scale,
                step,
            )
        if inside is not None:
            known = latents[step.total - 1 - step.index].repeat(len(targets), 1, 1, 1)
            area = inside.repeat(len(targets), 1, 1, 1)
            x = area * x + (1 - area) * known
    check_latents(run, x.split(run.frames))
    assert (run.result.reconstruction is not None) == params.reconstruct
    if params.reconstruct:
        near(run.decoded[-1], rebuilt, "reconstruction")


def check_inversion(run: Run, calls: list[Call]) -> list[Tensor]:
    """Each frame on its own, told the level it goes to, with the source prompt where
    that guides back."""
    params = run.params
    empty = params.inversion != "negative_prompt"
    return check_inverting(
        run, calls, "" if empty else run.request.source_prompt, "fatezero", "own"
    )


def check_learning(
    run: Run, calls: list[Call], latents: list[Tensor]
) -> dict[int, Tensor]:
    """Text by text, each from the one before: Adam towards the latents of the
    inversion; texts by step."""
    params = run.params
    model = run.model
    if params.inversion != "null_text":
        assert not calls
        return {}
    source, text = (
        model.embed([p]).vectors
        for p in (run.request.source_prompt, run.request.negatives)
    )
    x = latents[-1]
    learned = {}
    left = list(calls)
    for step in run.steps:
        here = [call for call in left if call.step == step]
        cond, *tries, last = here
        for call in here:
            near(call.x, x, f"x while learning step {step.index}")
            assert call.recompute == call.learns
            check_plain(call)
        assert has_text(cond, 0, source)
        assert [call.learns for call in here] == [False] + [True] * len(tries) + [False]
        assert has_text(tries[0], 0, text)
        goal = latents[step.total - 1 - step.index]
        share = step.index / step.total
        ends = [
            guided(answers(t, 0), answers(cond, 0), params.guidance_scale, step)
            for t in tries
        ]
        enough = [
            float((end - goal).square().mean()) < 1e-5 + 1e-3 * share for end in ends
        ]
        assert len(tries) == (
            enough.index(True) + 1 if True in enough else params.inner_steps
        )
        rate = 0.01 * (1 - share / 2)
        moved = (tries[1] if len(tries) > 1 else last).text(0) - text[0]
        # Adam's first step, wherever the gradient is not tiny.
        assert float(moved.abs().amax()) <= rate * 1.01
        if not params.joint_norm:
            slope = gradient(run, cond, text, goal)
            steep = slope.abs() > 1e-3 * slope.abs().max()
            near(
                moved[steep],
                (-rate * slope / (slope.abs() + 1e-8))[steep],
                "learned text",
                atol=rate / 50,
            )
        text = last.text(0)[None]
        learned[step.index] = text
        x = guided(answers(last, 0), answers(cond, 0), params.guidance_scale, step)
    return learned


def gradient(run: Run, cond: Call, text: Tensor, goal: Tensor) -> Tensor:
    """Of the squared distance between where a guided step leads and its goal, by the
    text: [L, d]."""
    step = cond.step
    text = text.clone().requires_grad_(True)
    with torch.enable_grad():
        empty = run.model.embed([run.request.negatives]).with_vectors(text)
        eps = run.model.unet(
            cond.x, torch.tensor(step.t), **run.model.read_by(cond.x, empty)
        ).sample
        x0 = (cond.x - step.noise * eps) / step.signal
        error = (
            guided((x0, eps), answers(cond, 0), run.params.guidance_scale, step) - goal
        )
        return torch.autograd.grad(error.square().mean(), text)[0][0]


class Branches:
    """Which rows of a call are whose: those of the source, if it runs, come first."""

    def __init__(
        self,
        run: Run,
        call: Call,
        x: Tensor,
        rebuilt: Tensor,
        learned: dict[int, Tensor],
    ) -> None:
        model = run.model
        step = call.step
        prompts = [run.request.source_prompt, *run.request.targets]
        source, *targets = model.embed(prompts).vectors.split(1)
        negative = run.params.inversion == "negative_prompt"
        unguided = source if negative else model.embed([run.request.negatives]).vectors
        if uses_learned(run.params, step):
            unguided = learned[step.index]
        given = []
        if needs_source(run, step):
            texts = [source] if negative else [unguided, source]
            given = [(text, rebuilt) for text in texts]
        first, edits = len(given), len(targets)
        self.source_uncond, self.source = (0, first - 1) if first else (None, None)
        self.unconds = range(first, first + edits)
        self.edits = range(first + edits, first + 2 * edits)
        parts = x.split(run.frames)
        given += [(unguided, part) for part in parts]
        given += zip(targets, parts, strict=True)
        assert call.branches == len(given)
        for branch, (text, latents) in enumerate(given):
            assert has_text(call, branch, text), f"step {step.index}"
            near(call.x[call.branch(branch)], latents, f"x of step {step.index}")


def uses_learned(params, step: Step) -> bool:
    return params.inversion == "null_text" and 2 * step.index >= step.total


def crosses(run: Run, step: Step, target: str) -> bool:
    share = 0.8 if replaces(run, target) else 0.4
    return step.index < int((step.total + 1) * share + 1e-9)


def needs_source(run: Run, step: Step) -> bool:
    taken = [crosses(run, step, target) for target in run.request.targets]
    return run.params.reconstruct or any(taken)


# --- Attention


def frames_of(run: Run, layer: Layer) -> str:
    """All frames in the dense layers, some in the others."""
    # In SDXL, the first level has no attention.
    level = 1 if finest(run) < FINEST else 0
    names = [f"down_blocks.{level}", "mid_block", "up_blocks.1"]
    dense = any(layer.site.name.startswith(f"{name}.attentions.0.") for name in names)
    return "all" if dense else "first_previous"


def check_attention(run: Run, call: Call, rows: Branches) -> None:
    """Source and unconditional rows are free; the edits follow the source in their
    windows."""
    source = call.branch(rows.source) if rows.source is not None else None
    for layer in each(call.layers, "cross"):
        expected = plain(layer.q, layer.k, layer.v)
        for branch, target in zip(rows.edits, run.request.targets, strict=True):
            if not crosses(run, call.step, target):
                continue
            part = call.branch(branch)
            maps = [softmax(layer.q[r], layer.k[r]) for r in (source, part)]
            expected[part] = exchanged(run, *maps, target) @ layer.v[part]
        layer.gives(expected)
    for layer in each(call.layers, "self"):
        layer.gives(layer.seeing(frames_of(run, layer)))
