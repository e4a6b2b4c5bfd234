"""Every parameter of every method reaches what it is for.

A row of a table gives a parameter another value than its base. Both runs must follow
the method's formulas, call by call, and show a difference; a parameter without a row is
refused. Models are random and tiny.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from cases import BASES, CASES
from fatezero_formulas import AREAS, THRESHOLD
from made_models import (
    load_double,
    smallest_model,
    write_control_net,
    write_small_model,
    write_wan,
)
from wiring import (
    REFINED,
    Call,
    Row,
    Run,
    calls_of,
    check,
    check_formulas,
    drive,
    latents_of,
    near,
    requested,
)

from regrain.editing.errors import ModelError
from regrain.editing.methods import fatezero
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.registry import METHODS

# held in test_assembly.py
LATER = {
    "keyframes",
    "cuts",
    "window",
    "frames_at_once",
    "steady",
    # Held in methods/test_pictures.py.
    "picture_colors",
}
# Tried on both families of UNets, since it names layers of a model or changes its text;
# the rest on one.
OF_FAMILY = {
    "preset",
    "control",
    "levels",
    "keys_levels",
    "tune_steps",
}
# Methods whose models are in double precision.
DOUBLE = {"infedit"}


def families(method: str) -> list[str]:
    """The kinds of models that a method is tried on; all its parameters on the
    first."""
    if "flow" in METHODS[method].needs:
        return [smallest_model(method)]
    if method in DOUBLE:
        return ["double sd", "double sdxl"]
    if "source" in METHODS[method].needs:
        return ["seeing sd", "seeing sdxl"]
    return ["sd", "sdxl"]


TRIED = [
    pytest.param(family, method, name, marks=[pytest.mark.full] if place else [])
    for method in CASES
    for place, family in enumerate(families(method))
    for name in CASES[method].rows
    if place == 0 or name in OF_FAMILY
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """For each family a folder of models, and what was made of it: the model, and its
    runs."""
    made: dict[str, tuple[Path, Any, dict[str, tuple[Run, Path]]]] = {}

    def folder_of(family: str) -> tuple[Path, Any, dict[str, tuple[Run, Path]]]:
        if family not in made:
            folder = tmp_path_factory.mktemp("models")
            if family in ("wan", "vace"):
                model = load_backbone(
                    str(write_wan(folder / "wan", family == "vace", experts=True))
                )
            else:
                beside = "source" if family.startswith("seeing") else ""
                place = write_small_model(
                    folder / "small", family.endswith("sdxl"), beside
                )
                precise = family.startswith("double")
                model = load_double(place) if precise else load_backbone(str(place))
                write_control_net(folder / "net", model.unet, 0.05, (8, 8))
            made[family] = (folder, model, {})
        return made[family]

    return folder_of


@pytest.fixture
def family(request):
    """The kind of model: "sd", unless a test is parametrized with it."""
    return getattr(request, "param", "sd")


@pytest.fixture
def model(folders, family, monkeypatch):
    """The model; the folder it is in also holds a control network made of it."""
    folder, model, _ = folders(family)
    monkeypatch.setenv("REGRAIN_MODELS", str(folder))
    monkeypatch.setattr(fatezero, "_THRESHOLD", THRESHOLD)
    return model


@pytest.fixture
def run_of(model, folders, family, tmp_path_factory):
    """Runs that have been checked: bases, made once, and runs `beside` them that use
    the same cache."""
    *_, made = folders(family)

    def run_of(method: str, row: Row, given: Mapping[str, object]) -> Run:
        base = BASES[method] | {"steps": 3} | row.beside
        key = repr((method, sorted(base.items()), row.prompt, row.masks, row.frames))
        if given == {} and key in made:
            return made[key][0]
        # What a set-up learns shows in its events alone, so it is learned anew.
        # Compared calls must be made.
        shares = given and not METHODS[method].setup and row.shown is not calls_of
        before, cache = (
            made[key] if shares else (None, tmp_path_factory.mktemp("cache"))
        )
        asked = requested(method, row.prompt, row.masks, row.frames)
        run = drive(model, asked, cache, **(base | given))
        run.calls[:0] = calls_cached(run, before) if before else []
        check(run)
        made.setdefault(key, (run, cache))
        return run

    return run_of


def calls_cached(run: Run, before: Run) -> list[Call]:
    """Calls of the inversion that this run did not make, having found what the run
    before made of them.

    If this run should not have used them, they are not what its formulas say.
    """
    own = run.of("inverting")
    kept = before.of("inverting")
    if own and own[0].step.noise_next > own[0].step.noise:
        return []
    return (
        [call for call in kept if call.step.noise_next > call.step.noise]
        if own
        else kept
    )


@pytest.mark.parametrize(("family", "method", "name"), TRIED, indirect=["family"])
def test_a_parameter_reaches_what_it_is_for(run_of, method, name):
    row = CASES[method].row(name)
    one, other = (run_of(method, row, given) for given in ({}, {name: row.other}))
    assert row.shown(one) != row.shown(other), f"{name} = {row.other!r} changes nothing"


@pytest.mark.parametrize(
    ("family", "method"),
    [(families(method)[0], method) for method in CASES],
    indirect=["family"],
)
def test_formulas_hold_for_a_longer_clip(run_of, method):
    """With three frames, "all but the ends" and "the middle" are the same frame."""
    run_of(method, Row(None, frames=5), {})


@pytest.mark.parametrize("method", METHODS)
def test_no_parameter_is_without_a_row(method):
    fields = METHODS[method].Params.model_fields
    single = {
        name for name, field in fields.items() if len(get_args(field.annotation)) == 1
    }
    known = {*CASES[method].rows, *CASES[method].elsewhere}
    assert known - single == set(fields) - single - LATER


def test_the_flow_is_found_as_told(model, tmp_path):
    base = BASES["videograin"]
    request = requested("videograin")
    with pytest.raises(ModelError, match="^flow: The weights of RAFT are missing"):
        drive(model, request, tmp_path, flow="raft", **base)
    # Without weights "auto" is "dis", so that the inversion made for one serves the
    # other.
    first, other = (
        drive(model, request, tmp_path, flow=flow, **base) for flow in ("auto", "dis")
    )
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


SEVERAL = [name for name in METHODS if METHODS[name].several]


@pytest.mark.parametrize(
    ("family", "method"),
    [(families(method)[0], method) for method in SEVERAL],
    indirect=["family"],
)
def test_several_prompts_without_masks_follow_the_formulas(model, tmp_path, method):
    """The words alone edit the whole frame; fresh noise is in all of it. Maps are those
    of the first."""
    alone = requested(method, masks=False)
    beside = AREAS if method == "fatezero" else {}
    beside = (
        beside | {"variation": 0.4}
        if "variation" in METHODS[method].Params.model_fields
        else {}
    )
    runs = (replace(alone, more_prompts=(REFINED,)), alone)
    several, one = (
        drive(model, request, tmp_path, **(BASES[method] | beside)) for request in runs
    )
    check(several)
    for name, maps in one.result.attention.items():
        near(
            torch.from_numpy(several.result.attention[name].after),
            torch.from_numpy(maps.after),
            name,
        )
