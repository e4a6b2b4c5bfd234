"""Tune-A-Video written out: what every call of the model should be given, and what
comes of its answers."""

from torch import Tensor
from wiring import (
    FINEST,
    GRIDS,
    SHORT,
    Case,
    Row,
    Run,
    any_in,
    calls_of,
    check_edits,
    check_inverting,
    check_plain,
    has_text,
    near,
    varied,
)

TUNED = {"learning_rate": 1e-3, "tune_steps": 3}
CASE = Case(
    base=SHORT | {"tune_steps": 1},
    rows={
        "preset": "fatezero",
        "tune_steps": 2,
        "learning_rate": 1e-3,
        "tune_seed": 1,
        "temporal_rank": Row(2, TUNED),
        "keep_every": Row(1, {"tune_steps": 2}, shown=lambda run: run.versions),
        "tune_preview_every": Row(1, {"preview_every": 9}, shown=calls_of),
    },
    heat={"fox"},
)


def check(run: Run) -> None:
    """The tuning's calls by what they are given; every call of the edit by the formulas
    of the paper."""
    params = run.params
    clean = run.clean
    check_tuning(run)
    source, x = start(run, clean)
    calls = run.of("editing")
    assert [call.step for call in calls] == list(run.steps)
    check_edits(
        run,
        calls,
        x,
        lambda step: source[params.steps - 1 - step.index],
        "first_previous",
    )
    check_control(run)


def check_tuning(run: Run) -> None:
    """With the source prompt; previews apart, which have two branches. What a step
    learns is held in test_tuning.py."""
    params = run.params
    model = run.model
    words = model.embed([run.request.source_prompt]).vectors
    calls = [call for call in run.of("tuning") if call.learns]
    assert len(calls) == params.tune_steps
    for call in calls:
        assert call.branches == 1
        assert has_text(call, 0, words)
    shown = [call for call in run.of("tuning") if not call.learns]
    every = params.preview_every and params.tune_preview_every
    tuned_at = range(params.tune_steps + 1)
    previews = [step for step in tuned_at if every and step % every == 0]
    assert len(shown) == 8 * len(previews)
    for call in shown:
        assert call.branches == 2
        assert has_text(call, 0, model.embed([run.request.negatives]).vectors)
        assert has_text(call, 1, model.embed([run.request.targets[0]]).vectors)
        near(call.x[call.branch(0)], call.x[call.branch(1)], "x of a preview")
        check_plain(call, "first_previous")


def start(run: Run, clean: Tensor) -> tuple[list[Tensor], Tensor]:
    """The source's latents at every level, and where the edits start."""
    params = run.params
    request = run.request
    calls = run.of("inverting")
    latents = check_inverting(run, calls, "", "fatezero", "first_previous")
    inside = any_in(request.edited_mask, GRIDS[FINEST]) if request.edited else None
    return latents, varied(latents[-1], inside, params, request.seed)


def check_control(run: Run) -> None:
    """Control networks in every call of the inversion and the edit, with the rows' own
    texts."""
    rows = [(call.stage, len(call.x)) for call in run.calls if call.stage != "tuning"]
    controls = [(seen["stage"], len(seen["x"])) for seen in run.controls]
    assert controls == (rows if run.params.control else [])
