"""Every parameter of every method reaches what it is for.

A row of a table gives a parameter another value than its base. Both runs must follow the method's formulas,
call by call, and show a difference; a parameter without a row is refused. Models are random and tiny.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_models import write_control_net, write_small_model, write_wan
from wiring import BASES, FRAMES, Call, Run, check, check_formulas, drive, near, requested

from regrain.editing.errors import ModelError
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import METHODS


def latents_of(run: Run) -> list[Any]:
    return [x.tolist() for x in run.decoded]


def frames_of(run: Run) -> list[Any]:
    return np.asarray(run.result.frames).tolist()


def heat_of(run: Run) -> list[Any]:
    return [maps.after.tolist() for maps in run.result.attention.values()]


def steps_shown(run: Run) -> list[int]:
    return list(run.previews)


def calls_of(run: Run) -> list[Any]:
    return [(call.stage, call.recompute, len(call.layers)) for call in run.calls]


@dataclass
class Row:
    """Another value of a parameter, what is set beside it in both runs, and where the two must differ."""

    other: object
    beside: Mapping[str, object] = field(default_factory=dict)
    shown: Callable[[Run], Any] = latents_of
    prompt: str = ""
    frames: int = FRAMES  # of the clip; with more than three, weights between key frames differ


AREAS = {"use_masks": False, "blend_latents": "always", "blend_self": True, "blend_threshold": 0.8}
FULL = {"cross_until": 1.0, "self_until": 1.0}
NULL = {"inversion": "null_text", "learned_share": 1.0}
TUNED = {"learning_rate": 1e-3, "tune_steps": 3}
SMOOTH = {"blend": False, "smooth_from": 0.5, "smooth_until": 1.0}
REFINED = "a red fox on the grass"
COMMON = {
    "steps": Row(3),
    "guidance_scale": Row(2.0),
    "feather": Row(0.0, shown=frames_of),
    "preview_every": Row(2, shown=steps_shown),
}
BLENDED = COMMON | {"blend": Row(False)}
CONTROLLED = BLENDED | {"control": Row("canny=net@0.5")}
MODULATED = CONTROLLED | {
    "preset": Row("released"),
    "self_strength": Row(0.3),
    "cross_strength": Row(0.4),
    "modulate_until": Row(0.5),
    "schedule_power": Row(5.0),
}
ROWS: dict[str, dict[str, Row]] = {
    "videograin": MODULATED
    | {
        "size_term": Row(False, {"attention_span": "own_frame"}),
        "guidance_half": Row("uncond"),
        "levels": Row("coarse"),
        "uncovered": Row("repelled", {"guidance_half": "both"}),
        "size_over_frames": Row(True),
        "attention_span": Row("sparse_causal"),
        "track_levels": Row(2),
        "joint_norm": Row(False),
        "freeu": Row("full"),
        "inject_until": Row(0.5),
        "inversion": Row("released", {"inject_until": 1.0}),
        "variation": Row(0.4),
        "redraw": Row(0.5),
        "blend_with": Row("noise"),
        "heat_from": Row(0.5, shown=heat_of),
        "heat_until": Row(0.5, shown=heat_of),
        "heat_grids": Row("4", shown=heat_of),
        "heat_pixel": Row("1,10,6", shown=heat_of),
    },
    "fatezero": COMMON
    | {
        "preset": Row("released"),
        "cross_until": Row(1.0),
        "self_until": Row(1.0),
        "cross_control": Row("refine", FULL),
        "emphasis": Row(3.0, FULL),
        "emphasis_words": Row("red=3, grass=2", FULL, prompt=REFINED),
        "blend_self": Row(True),
        "blend_latents": Row("never"),
        "blend_from": Row(0.0),
        "blend_until": Row(1.0),
        "use_masks": Row(False, {"blend_latents": "always", "blend_self": True}),
        "blend_threshold": Row(0.95, AREAS),
        "blend_words": Row("grass", AREAS),
        "edit_words": Row("grass", AREAS),
        "keys": Row("first_previous"),
        "keys_levels": Row("coarse"),
        "levels": Row("all", AREAS | FULL),
        "guidance_half": Row("both"),
        "inversion_latents": Row("released", AREAS | FULL),
        "alignment": Row("original", FULL, prompt=REFINED),
        "joint_norm": Row(True),
        "reconstruct": Row(True),
        "variation": Row(0.4),
    },
    "vid2vid_zero": BLENDED
    | {
        "preset": Row("released"),
        "guidance_scale": Row(2.0, NULL),
        "inversion": Row("plain"),
        "inner_steps": Row(1, NULL),
        "learning_rate": Row(0.002, NULL),
        "learned_share": Row(0.4, NULL),
        "pivot": Row("source", NULL),
        "learn_with": Row("sampling", NULL),
        "recompute": Row(False, NULL, shown=calls_of),
        "cross_control": Row("refine"),
        "replace_until": Row(0.3),
        "refine_until": Row(1.0, prompt=REFINED),
        "self_until": Row(0.5),
        "dense_layers": Row("up_blocks.1"),
        "keys": Row("own"),
        "alignment": Row("original", prompt=REFINED),
        "joint_norm": Row(True),
        "reconstruct": Row(False, {"replace_until": 0.3}),
        "variation": Row(0.4),
    },
    "sdedit": BLENDED | {"strength": Row(0.5)},
    "tune_a_video": CONTROLLED
    | {
        "preset": Row("fatezero"),
        "tune_steps": Row(2),
        "learning_rate": Row(1e-3),
        "tune_seed": Row(1),
        "joint_norm": Row(False),
        "positions": Row(True, TUNED),
        "temporal_rank": Row(2, TUNED),
        "keep_every": Row(1, {"tune_steps": 2}, shown=lambda run: run.versions),
        "tune_preview_every": Row(1, shown=calls_of),
        "start": Row("noise"),
        "variation": Row(0.4),
    },
    "fresco": MODULATED
    | {
        "size_term": Row(False),
        "strength": Row(0.5),
        "first_noise": Row("own"),
        "step_noise": Row("shared"),
        "optimise_until": Row(0.5),
        "optimise_rounds": Row(1),
        "learning_rate": Row(0.1),
        "flow_weight": Row(0.0),
        "similarity_weight": Row(0.0),
        "flow_loss": Row("circular"),
        "similarity_loss": Row("absolute"),
        "restore_statistics": Row(False),
        "details": Row("released"),
        "cross_frame": Row("first"),
        "spatial_steps": Row(1),
        "temporal_until": Row(0.0),
        "spatial_sharpness": Row(1.0),
        "temporal_sharpness": Row(0.2),
        "smooth_background": Row(False, SMOOTH),
        "smooth_from": Row(0.75, SMOOTH),
        "smooth_until": Row(0.75, SMOOTH),
    },
    "flow_regions": BLENDED
    | {
        "preset": Row("flowanchor"),
        "strength": Row(0.5),
        "source_guidance": Row(2.0),
        "shift": Row(1.0),
        "averages": Row(2),
        "self_strength": Row(0.3),
        "cross_strength": Row(0.4),
        "modulate_until": Row(0.5),
        "schedule_power": Row(5.0),
        "size_term": Row(True),
        "columns": Row(0.5),
        "modulated": Row("target"),
        "phrases": Row("alone"),
        "padding": Row("pushed"),
        "amplify": Row(True),
    },
}
LATER = {"keyframes", "cuts", "window", "frames_at_once", "steady"}  # held in test_assembly.py
# Held in methods/test_pictures.py.
LATER |= {"picture_from", "picture_until", "picture_blocks", "picture_colors"}
# Tested by hand below, being refused before any work, or of one value.
ELSEWHERE = {
    "videograin": {"flow"},
    "sdedit": {"preset"},
    "fresco": {"flow"},
    "flow_regions": {"span"},
}
# What names places or words of a model is tried on both families of UNets, the rest on one.
OF_FAMILY = {
    "preset",
    "levels",
    "keys_levels",
    "track_levels",
    "heat_grids",
    "dense_layers",
    "control",
}
OF_FAMILY |= {
    "freeu",
    "inject_until",
    "joint_norm",
    "guidance_half",
    "self_strength",
    "cross_strength",
}
OF_FAMILY |= {"cross_until", "emphasis_words", "alignment", "pivot", "learn_with", "optimise_until"}
OF_FAMILY |= {"cross_frame", "tune_steps"}
CASES = [
    (family, method, name)
    for method in ROWS
    for family in (["wan"] if "flow" in METHODS[method].needs else ["sd", "sdxl"])
    for name in ROWS[method]
    if family != "sdxl" or name in OF_FAMILY
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """For each family a folder of models, and what was made of it: the model, and its runs."""
    made: dict[str, tuple[Path, Any, dict[str, tuple[Run, Path]]]] = {}

    def folder_of(family: str) -> tuple[Path, Any, dict[str, tuple[Run, Path]]]:
        if family not in made:
            folder = tmp_path_factory.mktemp("models")
            if family == "wan":
                model = load_backbone(str(write_wan(folder / "wan")))
            else:
                model = load_backbone(
                    str(write_small_model(folder / "small", sdxl=family == "sdxl"))
                )
                write_control_net(folder / "net", model.unet, 0.05, (8, 8))
            made[family] = (folder, model, {})
        return made[family]

    return folder_of


@pytest.fixture(params=["sd", "sdxl"])
def family(request):
    return request.param


@pytest.fixture
def model(folders, family, monkeypatch):
    """The model; the folder it is in also holds a control network made of it."""
    folder, model, _ = folders(family)
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))
    return model


@pytest.fixture
def run_of(model, folders, family, tmp_path_factory):
    """Runs that have been checked: bases, made once, and runs `beside` them that use the same cache."""
    *_, made = folders(family)

    def run_of(method: str, row: Row, given: Mapping[str, object]) -> Run:
        base = BASES[method] | row.beside
        key = repr((method, sorted(base.items()), row.prompt, row.frames))
        if given == {} and key in made:
            return made[key][0]
        # What a set-up learns shows in its events alone, so it is learned anew. Compared calls must be made.
        shares = given and not METHODS[method].setup and row.shown is not calls_of
        before, cache = made[key] if shares else (None, tmp_path_factory.mktemp("cache"))
        asked = requested(method, row.prompt, frames=row.frames)
        run = drive(model, asked, cache, **(base | given))
        run.calls[:0] = calls_cached(run, before) if before else []
        check(run)
        made.setdefault(key, (run, cache))
        return run

    return run_of


def calls_cached(run: Run, before: Run) -> list[Call]:
    """Calls of the inversion that this run did not make, having found what the run before made of them.

    If this run should not have used them, they are not what its formulas say.
    """
    own, kept = run.of("inverting"), before.of("inverting")
    if own and own[0].step.noise_next > own[0].step.noise:
        return []
    return [call for call in kept if call.step.noise_next > call.step.noise] if own else kept


@pytest.mark.parametrize(("family", "method", "name"), CASES, indirect=["family"])
def test_a_parameter_reaches_what_it_is_for(run_of, method, name):
    row = ROWS[method][name]
    one, other = (run_of(method, row, given) for given in ({}, {name: row.other}))
    assert row.shown(one) != row.shown(other), f"{name} = {row.other!r} changes nothing"


@pytest.mark.parametrize(
    ("family", "method"),
    [("wan" if "flow" in METHODS[method].needs else "sd", method) for method in ROWS],
    indirect=["family"],
)
def test_formulas_hold_for_a_longer_clip(run_of, method):
    """With three frames, "all but the ends" and "the middle" are the same frame."""
    run_of(method, Row(None, frames=5), {})


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_is_without_a_row(method):
    assert method in ROWS, f"add a row for each parameter of {method} to ROWS"
    known = set(ROWS[method]) | ELSEWHERE.get(method, set())
    assert known == set(METHODS[method].Params.model_fields) - LATER


def test_the_flow_is_found_as_told(model, tmp_path):
    base, request = BASES["videograin"], requested("videograin")
    with pytest.raises(ModelError, match="^flow: The weights of RAFT are missing"):
        drive(model, request, tmp_path, flow="raft", **base)
    # Without weights "auto" is "dis", so that the inversion made for one serves the other.
    first, other = (drive(model, request, tmp_path, flow=flow, **base) for flow in ("auto", "dis"))
    check_formulas(first)
    assert first.of("inverting")
    assert not other.of("inverting")
    assert latents_of(first) == latents_of(other)


@pytest.mark.parametrize("method", ["sdedit", "fresco"])
def test_none_of_the_schedule_keeps_the_clip(model, tmp_path, method):
    asked = replace(requested(method), labels=None, regions=())
    run = drive(model, asked, tmp_path, **(BASES[method] | {"strength": 0.0}))
    kept = model.decode(model.encode(asked.clip.read(0, len(run.result.frames))))
    assert np.array_equal(run.result.frames, kept)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].several])
def test_several_prompts_without_masks_follow_the_formulas(model, tmp_path, method):
    """The words alone edit the whole frame; fresh noise is in all of it. Maps are those of the first."""
    alone = requested(method, masks=False)
    beside = AREAS if method == "fatezero" else {}
    beside = (
        beside | {"variation": 0.4} if "variation" in METHODS[method].Params.model_fields else {}
    )
    runs = (replace(alone, more_prompts=(REFINED,)), alone)
    several, one = (drive(model, request, tmp_path, **(BASES[method] | beside)) for request in runs)
    check(several)
    for name, maps in one.result.attention.items():
        near(
            torch.from_numpy(several.result.attention[name].after),
            torch.from_numpy(maps.after),
            name,
        )
