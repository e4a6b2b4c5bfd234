"""Every field of an edit and of a region, declared once, is where it is offered."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from json_files import read_json
from other_values import EDIT, REGION, make_request, with_region, write_files

from regrain.editing import (
    RequestError,
    __main__ as command,
    load_project,
    save_project,
)
from regrain.editing.cli.changes import REPLACED
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import declared, to_json
from regrain.editing.request.project import FILE, Project, describe
from regrain.editing.request.region import MAX_PROMPT, TEXTS, Region


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch, own_models):
    """The files that the values name are here, and models in their folder."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_every_field_has_another_value():
    assert list(EDIT) == list(declared(Edit))
    assert list(REGION) == list(declared(Region))
    for owner, values in ((Edit, EDIT), (Region, REGION)):
        assert all(values[name] != one.default for name, one in declared(owner).items())


CASES = [*((Edit, field) for field in EDIT), *((Region, field) for field in REGION)]


@pytest.mark.parametrize(("owner", "field"), CASES)
def test_a_field_is_kept_in_the_project_and_written_to_the_report(
    tmp_path, owner, field
):
    is_edit = owner is Edit
    value = EDIT[field] if is_edit else REGION[field]
    request = (
        make_request(**{field: value}) if is_edit else with_region(**{field: value})
    )
    assert getattr(request.asked if is_edit else request.regions[0], field) == value
    save_project(request, tmp_path / "p")
    again = load_project(tmp_path / "p")
    kept = getattr(again if is_edit else again.regions[0], field)
    in_file = read_json(tmp_path / "p" / FILE)
    reported = json.loads(json.dumps(describe(request)))
    if not is_edit:
        in_file, reported = in_file["regions"][0], reported["regions"][0]
    elif field == "size":
        in_file, reported = in_file["clip"], reported["clip"]
    if declared(owner)[field].kind == "file":  # copied into the folder
        original = "mine.safetensors" if field == "adapter" else "toy.png"
        assert Path(kept).read_bytes() == (tmp_path / original).read_bytes()
        assert reported[field] == value
        return
    assert kept == value
    assert in_file[field] == reported[field] == json.loads(json.dumps(value))


def test_a_note_is_no_prompt_and_not_too_long():
    request = with_region(prompt="a fox", note="not the\u200b red one")
    assert request.regions[0].note == "not the red one"
    texts = {request.negatives, *request.targets, *dict(request.texts()).values()}
    assert "not the red one" not in texts
    for key in ("note", *TEXTS):
        said = rf"^regions.left.{key}: \d+ characters are too many."
        with pytest.raises(RequestError, match=said):
            with_region(**{key: "x" * (MAX_PROMPT + 1)})


@pytest.mark.parametrize("name", ["source_prompt", "prompt", "negative_prompt"])
def test_texts_of_an_edit_lose_what_nobody_sees(name):
    asked = replace(with_region(prompt="a fox"), **{name: "no\u200b fox"})
    assert getattr(asked, name) == "no fox"


def test_project_files_have_every_key():
    keys = {*EDIT, "version", "clip", "regions", "masks"} - {"size"}
    assert set(Project.model_fields) == keys
    region = Project.model_json_schema()["$defs"]["ProjectRegion"]
    assert set(region["properties"]) == set(REGION)


CHANGES = read_json(Path(__file__).with_name("replaced.json"))
"""Of what can be replaced, options of the command line, and what the request then has."""


def test_everything_that_can_be_replaced_is_tried():
    assert list(CHANGES) == list(REPLACED)


@pytest.mark.parametrize("key", CHANGES)
def test_an_option_of_the_command_line_replaces_a_value(tmp_path, monkeypatch, key):
    asked = []
    monkeypatch.setattr(
        command, "check_runnable", lambda one: asked.append(one) or 1 / 0
    )
    save_project(make_request(prompt="a cat"), tmp_path / "p")
    options, expected = CHANGES[key]
    with pytest.raises(ZeroDivisionError):
        command.main(["run", "p", "-o", "out", *shlex.split(options)])
    found = {name: getattr(asked[0], name) for name in expected}
    assert json.loads(json.dumps(found)) == expected


def test_fields_that_are_left_out_where_they_are_empty_are_not_null():
    left_out = {name for name, one in declared(Edit).items() if one.omit_empty}
    assert "picture_scale" in left_out
    assert not left_out & to_json(Edit(), Edit).keys()
