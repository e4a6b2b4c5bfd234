"""The page knows methods by their records alone: any that is added finds its place."""

import json
from dataclasses import replace
from typing import Literal

import gradio as gr
import orjson
import pytest
from json_files import write_json
from pydantic import Field

from regrain.editing import Region
from regrain.editing.models.files.facts import facts_at
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.params.base import MethodParams
from regrain.editing.params.registry import CHANGES, METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.request.runnable import check_runnable
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.page import fields
from regrain.ui.session.build_request import build_request, composed
from regrain.ui.session.clips import prepare
from regrain.ui.session.session import Session
from regrain.ui.values import method_choice
from regrain.ui.views.model_views import choice
from regrain.ui.work import catalogue

EXAMPLES = ASSETS / "examples"


class WholeParams(MethodParams):
    style: Literal["oil", "ink"] = Field("oil", description="Of the brush.")
    span: tuple[float, float] = Field((0.2, 0.8), description="Share of the schedule.")
    word: str = Field("", description="Looked at.")
    spot: tuple[int, int] | None = Field(None, description="A place.")
    tries: int = Field(3, ge=1, description="Without an upper end.")


@pytest.fixture
def whole(monkeypatch):
    """Another method, which edits the whole frame; its needs can be changed."""

    def add(*needs):
        known = METHODS["videograin"]
        record = replace(
            known,
            name="whole",
            title="Whole",
            Params=WholeParams,
            needs=frozenset(needs),
        )
        monkeypatch.setitem(METHODS, "whole", record)
        return "whole"

    return add


@pytest.fixture
def session(open_clip):
    regions = (Region("left", 1, "a panda", "a cat", margin=0),)
    boxes = {1: (slice(5, 20), slice(5, 20))}
    return Session(
        open_clip("clip", (3, 64, 64), regions, boxes, source_prompt="a cat runs")
    )


@pytest.mark.parametrize(
    ("needs", "regions", "source_prompt", "seed"),
    [
        (("regions", "inversion"), "needed", True, "never"),
        (("masks", "seed"), "taken", True, "always"),
        (("seed",), "ignored", False, "always"),
        (("source_prompt",), "ignored", True, "never"),
    ],
)
def test_what_a_method_uses_is_read_from_its_needs(
    whole, needs, regions, source_prompt, seed
):
    found = method_choice.uses(whole(*needs))
    assert (found.regions, found.source_prompt, found.seed) == (
        regions,
        source_prompt,
        seed,
    )
    shown = choice("whole")
    orjson.dumps(shown)
    assert [method.name for method in shown.methods] == [*METHODS]
    used = {use.name: use.used for use in shown.methods[-1].uses}
    expected = {"regions": regions != "ignored", "clip description": source_prompt}
    assert used == expected | {"several prompts": False, "seed": seed != "never"}


def test_what_methods_use_is_said():
    for name in ("fatezero", "vid2vid_zero", "sdedit"):
        assert method_choice.uses(name).regions == "taken"
    assert method_choice.uses("videograin").seed == "variation"
    assert "Variation" in method_choice.seed_words("videograin")
    assert method_choice.seed_words("sdedit") == "Each seed gives another result."


def test_a_method_that_ignores_regions_edits_the_whole_frame(session, whole):
    session.method = whole("inversion")
    session.describe({"prompt": "a cat runs at night"})
    assert composed(session)[0].text == "a cat runs at night"
    asked = build_request(session, Edit(method="whole", seed=7))
    assert (asked.regions, asked.labels, asked.prompt, asked.seed) == (
        (),
        None,
        "a cat runs at night",
        7,
    )
    check_runnable(asked)


def test_a_method_that_takes_regions_may_do_without(session, whole):
    session.method = whole("masks")
    assert composed(session)[0].text == "a panda runs"
    assert build_request(session, Edit(method="whole")).edited_mask.sum() == 3 * 15 * 15
    session.describe({"prompt": "an owl flies"})
    assert composed(session)[0].text == "an owl flies, a panda"
    session.commit(session.state.delete(1))
    assert build_request(session, Edit(method="whole")).labels is None


def test_each_line_is_an_edit_of_its_own(session):
    session.method = "fatezero"
    assert method_choice.uses("fatezero").several
    session.describe({"prompt": "an owl runs\n\n  a red owl runs "})
    asked = build_request(session, Edit(method="fatezero"))
    assert (asked.prompt, asked.more_prompts) == ("an owl runs", ("a red owl runs",))
    assert tuple(one.text for one in composed(session)) == asked.targets
    # An empty first line stands for what the regions say; without their words it is
    # nothing.
    session.describe({"prompt": "\na red owl runs"})
    asked = build_request(session, Edit(method="fatezero"))
    assert asked.targets == ("a panda runs", "a red owl runs, a panda")
    session.describe(
        {"regions": [{"label": 1, "prompt": ""}], "prompt": "\na red owl runs"}
    )
    assert build_request(session, Edit(method="fatezero")).targets == (
        "a red owl runs",
    )
    # A method of regions makes one edit, of theirs.
    assert build_request(session, Edit()).more_prompts == ()


def test_the_lines_of_a_project_are_shown(session, tmp_path):
    request = replace(
        session.opened.request,
        method="fatezero",
        prompt="an owl",
        more_prompts=("a fox",),
    )
    again = Session(prepare("", "clip", request, tmp_path / "again"))
    assert again.prompt == "an owl\na fox"
    assert build_request(again, Edit(method="fatezero")).more_prompts == ("a fox",)


def values(method, folder, given):
    """The parameters of a run with a model in a folder."""
    model = facts_at(ModelLocation("folder", str(folder)), folder.name)
    return catalogue.values(method, model, given)


def all_fields(usual, shown):
    """The fields as they follow each other on the page."""
    first = [
        fields.make_some(usual, shown, names)
        for names in (fields.AT_HAND, fields.FIRST)
    ]
    return first[0] | first[1] | fields.make_fields(usual, shown)


def test_controls_come_from_the_declaration_and_only_the_chosen_ones_count(
    whole, tmp_path
):
    usual = {
        name: values(name, tmp_path, {}) for name in (whole("inversion"), "videograin")
    }
    of = {
        name: lambda given, name=name: values(name, tmp_path, given) for name in usual
    }
    with gr.Blocks():
        controls = all_fields(usual, "videograin")
    assert dict(controls.columns)["videograin"].visible
    assert not dict(controls.columns)["whole"].visible
    shown = {name: control.value for name, control in controls.named.items()}
    assert controls.given("whole", shown, of["whole"], {}) == {}
    for name, value in {
        "steps": 7.0,
        "style": "ink",
        "span": "[0.1, 0.5]",
        "spot": "[3, 4]",
    }.items():
        shown[f"whole.{name}"] = value
    chosen = {
        "preview_every": 2,
        "steps": 7,
        "style": "ink",
        "span": (0.1, 0.5),
        "spot": (3, 4),
    }
    assert controls.given("whole", shown, of["whole"], {"preview_every": 2}) == chosen
    assert controls.given("videograin", shown, of["videograin"], {}) == {}
    filled = controls.fill("whole", usual["whole"] | {"steps": 9})
    assert filled["whole.steps"]["value"] == 9
    # what was typed before goes
    assert filled["whole.spot"]["value"] == ""


def test_a_run_has_the_parameters_that_are_shown(tmp_path):
    """With a preset, with what a model recommends, and with both: what the controls say
    is what runs."""
    recommended = {"steps": 20, "guidance_scale": 4.0, "levels": "all"}
    write_json(tmp_path / "defaults.json", {"fatezero": recommended})

    def of(given):
        return values("fatezero", tmp_path, given)

    with gr.Blocks():
        controls = all_fields({"fatezero": of({})}, "fatezero")

    def shown_of(given):
        return {name: of(given)[name.partition(".")[2]] for name in controls.named}

    presets = [
        {"preset": "attribute", "steps": 20, "guidance_scale": 4.0},
        {"preset": "paper"},
    ]
    for project in ({}, *presets, {"preset": "style", "emphasis": 1.0}, {"steps": 9}):
        shown = shown_of(project)
        given = controls.given("fatezero", shown, of, project)
        assert of(given) == of(project), project
        shown["fatezero.steps"] = 11
        assert of(controls.given("fatezero", shown, of, project)) == of(project) | {
            "steps": 11
        }
    chosen = shown_of({"preset": "released"})  # as the page shows it once it is chosen
    assert of(controls.given("fatezero", chosen, of, {})) == of({"preset": "released"})
    paper = shown_of({"preset": "paper"})  # and back: not what the model recommends
    assert of(controls.given("fatezero", paper, of, {})) == of({"preset": "paper"})


def test_a_slider_reaches_its_value_by_steps_and_what_it_is_filled_with():
    small = [fields.slider_step(1, value) for value in (0.3, 0.01, 0.37, 0.0, -0.5)]
    assert small == [0.05, 0.001, 0.01, 0.05, 0.05]
    assert [fields.slider_step(*of) for of in ((20, 5.0), (15, 7.5), (15, 4.2))] == [
        0.5,
        0.5,
        0.05,
    ]
    usual = {
        name: METHODS[name].Params().model_dump(mode="json")
        for name in ("vid2vid_zero", "sdedit")
    }
    with gr.Blocks():
        made = all_fields(usual, "sdedit")
    (update,) = made.fill("sdedit", {"steps": 400}).values()
    assert (update["value"], update["maximum"]) == (400, 400)


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_has_one_title_and_one_field(method):
    titles = [field.title for field in METHODS[method].Params.model_fields.values()]
    assert all(titles)
    assert len({*titles}) == len(titles)
    usual = {method: METHODS[method].Params().model_dump()}
    with gr.Blocks() as page:
        made_fields = all_fields(usual, method)
    names = [*made_fields.fields[method]]
    assert len(names) == len(set(names))
    assert method not in ("fresco", "sdedit") or names[0] == "strength"
    hidden = {"preview_every"} | (
        {"preset"} if len(METHODS[method].Params.PRESETS) == 1 else set()
    )
    assert {*names} == {*METHODS[method].Params.model_fields} - hidden
    # A field that was made twice would be seen, and not read.
    made = list(page.blocks.values())
    fields = {id(field) for field in made_fields.all}
    assert {
        id(block) for block in made if isinstance(block, gr.components.FormComponent)
    } == fields


def test_key_frames_and_cuts_are_texts_that_all_methods_share_and_columns_follow_the_method(
    tmp_path,
):
    usual = {
        name: METHODS[name].Params().model_dump(mode="json")
        for name in ("videograin", "fresco")
    }
    with gr.Blocks():
        both = all_fields(usual, "videograin")
    assert [*both.shared] == ["keyframes", "cuts", "picture_colors"]
    for name, hint, value in (
        ("keyframes", "0, 8, 15", "all"),
        ("cuts", "24, 60", "auto"),
    ):
        field = both.shared[name]
        assert isinstance(field, gr.Textbox)
        assert field.value == value
        assert hint in field.placeholder
        assert all(fields[name] is field for fields in both.fields.values())
        assert both.all.count(field) == 1
    assert {"keyframes", "cuts"}.isdisjoint(both.own("fresco"))
    # Neither a preset nor a model changes what is said of the clip.
    filled = both.fill("fresco", {"keyframes": "every 2", "steps": 9})
    assert [update["value"] for update in filled.values()] == [9]
    shown = {name: control.value for name, control in both.named.items()}
    shown |= {"fresco.keyframes": "every 4", "fresco.cuts": "24, 60"}  # of the first
    for method in both.fields:
        given = both.given(
            method,
            shown,
            lambda given, m=method: values(m, tmp_path, given),
            {},
        )
        assert given == {"keyframes": "every 4", "cuts": "24, 60"}
    shown = [column.visible for column in both.show("fresco").values()]
    names = [name for name, _ in both.columns]
    assert names == ["fresco", *["videograin", "fresco"] * 3]
    assert shown == [name == "fresco" for name in names]
    assert "window" in both.own("videograin")
    assert "frames_at_once" in both.own("fresco")


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_leads_to_a_method_and_an_example_of_it(change):
    shown = choice("videograin")
    assert [one.name for one in shown.changes] == [*CHANGES]
    (example,) = (one.example for one in shown.changes if one.name == change)
    project = json.loads((EXAMPLES / example / "project.json").read_text())
    able = [one.name for one in shown.methods if change in one.changes]
    assert project["method"] in able
    assert all(one.changes for one in shown.methods)
    assert (EXAMPLES / example / "result").is_dir()
