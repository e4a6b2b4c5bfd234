"""InstructPix2Pix written out: what every call of the model should be given, and what
becomes of its answers."""

import torch
from made_models import seeded
from torch import Tensor
from videograin_formulas import (
    as_paper,
    check_readings,
    cross_maps,
    refusal,
    self_maps,
    span,
    spliced,
)
from wiring import (
    MODULATED,
    SHORT,
    Call,
    Case,
    Layer,
    Row,
    Run,
    blended_area,
    check_latents,
    each,
    gathered,
    has_text,
    near,
    plain,
)

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import Step

CASE = Case(
    base=SHORT | MODULATED | {"sampler": "ddim", "guidance_scale": 3.0},
    rows={
        "sampler": "lcm",
        "size_term": False,
        "source_guidance": 1.0,
        "guide_until": Row(0.5, {"source_guidance": 1.0}),
        "attention_span": "own_frame",
    },
    # held in test_wiring.py
    elsewhere={"flow"},
    heat={"left", "right"},
)


def check(run: Run) -> None:
    """The whole run, by the formulas of the paper and the parameters given."""
    params = run.params
    clean = run.clean
    fresh = seeded(run.request.seed)

    def draw() -> Tensor:
        return torch.randn(clean.shape[1:], generator=fresh).expand_as(clean).to(clean)

    sampling = Sampling(
        run.model.schedule, params.sampler, params.steps, params.strength
    )
    steps = sampling.steps
    noise = draw()
    inside = blended_area(run)
    edits = len(run.request.targets)
    assert [call.step for call in run.calls] == [s for s in steps for _ in range(edits)]
    start = steps[0].signal * clean + steps[0].noise * noise
    x = (noise if params.strength == 1 else start).repeat(edits, 1, 1, 1)
    calls = iter(run.calls)
    for step in steps:
        x0s = []
        for edit, own in enumerate(x.chunk(edits)):
            call = next(calls)
            check_call(run, call, own, edit)
            x0s.append(guided(run, call))
        x0 = torch.cat(x0s)
        if inside is not None:
            there = inside.repeat(edits, 1, 1, 1)
            x0 = there * x0 + (1 - there) * clean.repeat(edits, 1, 1, 1)
        eps = (x - step.signal * x0) / step.noise
        added = draw() if params.sampler == "lcm" else noise
        x = sampling.advance(x, x0, eps, step, added.repeat(edits, 1, 1, 1))
    check_latents(run, x.chunk(edits))
    assert set(run.result.attention) == (CASE.heat if run.request.regions else set())
    texts = run.model.embed([run.request.negatives, *run.request.targets]).vectors

    def texts_of(call: Call) -> Tensor:
        edit = [one is call for one in run.calls].index(True) % edits
        free = [texts[0]] * (len(weights(run, call.step)) - 1)
        return torch.stack([*free, texts[1 + edit]])

    check_readings(run, run.calls, texts_of)


def weights(run: Run, step: Step) -> list[float]:
    """What neither, the source alone, and both count in the answer; what counts nothing
    is not asked."""
    params = run.params
    guides = step.index < params.guide_until * step.total - 1e-9
    words = params.guidance_scale if guides else 1.0
    shares = [1 - params.source_guidance, params.source_guidance - words]
    return [*filter(None, shares), words]


def guided(run: Run, call: Call) -> Tensor:
    parts = call.x0.split(run.frames)
    shares = weights(run, call.step)
    return sum(
        (share * part for share, part in zip(shares, parts, strict=True)),
        torch.zeros_like(parts[0]),
    )


def check_call(run: Run, call: Call, x: Tensor, edit: int) -> None:
    """Words for the last branch alone; the source for all but the first of three."""
    count = len(weights(run, call.step))
    assert call.branches == count
    near(call.x, x.repeat(count, 1, 1, 1), "x")
    free, *conds = run.model.embed(
        [run.request.negatives, *run.request.targets]
    ).vectors
    own = spliced(run) if run.request.regions else conds[edit]
    for branch in range(count - 1):
        assert has_text(call, branch, free[None])
    assert has_text(call, count - 1, own[None])
    seen = run.clean / run.model.vae.config.scaling_factor
    beside = [seen] * count
    if run.params.source_guidance != 1:
        beside[0] = torch.zeros_like(seen)
    near(call.change.beside, torch.cat(beside), "what is seen")
    for kind in ("cross", "self"):
        for layer in each(call.layers, kind):
            parts = [layer.rows(call.branch(branch)) for branch in range(count)]
            attend = read if kind == "cross" else within
            found = [attend(run, call.step, part, part is parts[-1]) for part in parts]
            layer.gives(torch.cat(found))


def read(run: Run, step: Step, own: Layer, has_words: bool) -> Tensor:
    """Attention to words."""
    if not run.request.regions:
        return plain(own.q, own.k, own.v)
    if not has_words:
        return refusal(run, own)
    return cross_maps(as_paper(run), step, own) @ own.v


def within(run: Run, step: Step, own: Layer, has_words: bool) -> Tensor:
    """Attention among the pixels of the frames that a frame sees."""
    paper = as_paper(run, attention_span=run.params.attention_span)
    seen = span(run)
    if not run.request.regions or not has_words:
        return own.seeing(seen)
    return self_maps(paper, step, own) @ gathered(own.v, seen, run.frames)
