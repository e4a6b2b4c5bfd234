"""The page knows methods by their records alone: any that is added finds its place."""

import json
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Literal

import orjson
import pytest
from json_files import write_json
from pydantic import Field

from regrain.editing import Region
from regrain.editing.models.files.facts import facts_at
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.params.base import MethodParams, ModulatedParams
from regrain.editing.params.registry import CHANGES, METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.request.runnable import check_runnable
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.session.build_request import build_request, composed
from regrain.ui.session.clips import prepare
from regrain.ui.session.session import Session
from regrain.ui.values import method_choice
from regrain.ui.values.fields import Fields
from regrain.ui.views import settings
from regrain.ui.views.model_views import choice
from regrain.ui.work.catalogue import Catalogue

EXAMPLES = ASSETS / "examples"


class WholeParams(MethodParams):
    style: Literal["oil", "ink"] = Field("oil", description="Of the brush.")
    word: str = Field("", description="Looked at.")
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
    inputs = {
        "regions": regions != "ignored",
        "clip description": source_prompt,
        "seed": seed != "never",
    }
    assert shown.methods[-1].uses == [name for name, used in inputs.items() if used]


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


class OneModel(Catalogue):
    """A catalogue of one model, in a folder, to which nothing is added."""

    def __init__(self, folder):
        self._only = facts_at(ModelLocation("folder", str(folder)), folder.name)

    def _facts(self, model):
        return self._only

    def model(self, name):
        return str(name)

    def loras_of(self, added):
        return []

    def is_silent(self, model):
        return False


def given(folder, method, said, project=MappingProxyType({})):
    """What a page gives whose fields of a method say this."""
    fields = Fields(given={method: said})
    return settings.given(OneModel(folder), method, fields, project)


def test_fields_come_from_the_declaration_and_what_is_usual_is_not_given(
    whole, tmp_path
):
    method = whole("inversion")
    assert {*settings.parameters(method)} >= {"steps", "style", "word", "tries"}
    said = {"steps": 7.0, "style": "ink", "tries": 3, "word": "", "other": 1}
    assert given(tmp_path, method, said) == {"steps": 7, "style": "ink"}
    # what has no field is as the project has it
    kept = given(tmp_path, method, said, {"preview_every": 2, "steps": 9})
    assert kept == {"preview_every": 2, "steps": 7, "style": "ink"}
    # what cannot be read is left to the checks
    assert given(tmp_path, method, {"tries": "many"}) == {"tries": "many"}
    assert given(tmp_path, method, {"tries": "4"}) == {"tries": 4}
    assert given(tmp_path, method, {"tries": 2.5}) == {"tries": 2.5}
    assert Fields.of("m", None, {"given": {method: 3, "other": {}}}).given == {
        "other": {}
    }


def test_a_run_has_the_parameters_that_are_shown(tmp_path):
    """With a preset, with what a model recommends, and with both."""
    recommended = {"steps": 20, "guidance_scale": 4.0, "levels": "all"}
    write_json(tmp_path / "defaults.json", {"fatezero": recommended})
    models = OneModel(tmp_path)

    def of(given):
        return models.values("fatezero", "", given)

    presets = [
        {"preset": "attribute", "steps": 20, "guidance_scale": 4.0},
        {"preset": "paper"},
    ]
    for project in ({}, *presets, {"preset": "style", "emphasis": 1.0}, {"steps": 9}):
        asked = Edit(method="fatezero", params=project)
        fields = settings.fields_of(models, asked, "", [])
        shown = settings.view(models, "fatezero", fields)
        seen = shown.usual | shown.given["fatezero"]
        assert seen == {name: of(project)[name] for name in seen}
        found = settings.given(models, "fatezero", fields, project)
        assert of(found) == of(project), project
        more = fields.giving("fatezero", {**fields.given["fatezero"], "steps": 11})
        found = settings.given(models, "fatezero", more, project)
        assert of(found) == of(project) | {"steps": 11}
    for preset in ("released", "paper"):  # paper is not what the model recommends
        found = given(tmp_path, "fatezero", {"preset": preset})
        assert of(found) == of({"preset": preset})


@pytest.mark.parametrize("method", METHODS)
def test_each_change_is_given_with_each_preset_and_what_a_model_recommends(
    method, tmp_path
):
    plain, recommending = tmp_path / "plain", tmp_path / "recommending"
    for folder in (plain, recommending):
        folder.mkdir()
    write_json(recommending / "defaults.json", {method: {"steps": 21}})
    presets = METHODS[method].Params.PRESETS
    for models, preset in product(map(OneModel, (plain, recommending)), presets):
        project = {"preset": preset}
        asked = Edit(method=method, params=project)
        fields = settings.fields_of(models, asked, "", [])
        usual = orjson.loads(orjson.dumps(settings.view(models, method, fields).usual))
        assert settings.given(models, method, fields, project) == project
        for name, one in settings.parameters(method).items():
            if name == "preset":
                continue
            others = {"boolean": not usual[name], "string": "another"}
            other = others[one.type] if one.type in others else usual[name] + 1
            changed = fields.giving(method, {**project, name: other})
            given = settings.given(models, method, changed, project)
            assert given == {**project, name: other}


def test_what_binds_regions_stands_below_one_heading():
    shown = settings.parameters("videograin")
    found = {shown[name].group for name in ModulatedParams.__annotations__}
    assert found == {"Regions"}


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_has_one_title_and_one_field(method):
    params = METHODS[method].Params
    titles = [field.title for field in params.model_fields.values()]
    assert all(titles)
    assert len({*titles}) == len(titles)
    hidden = {"preview_every"} | ({"preset"} if len(params.PRESETS) == 1 else set())
    shown = settings.parameters(method)
    assert {*shown} == {*params.model_fields} - hidden
    assert all(one.group for one in shown.values())


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
