"""Every field of an edit and of a region reaches a run from programs, and the page
keeps it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.utils import get_upload_folder
from other_values import EDIT, REGION, write_files

from regrain.editing import Region
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import declared
from regrain.ui.api.program_clips import _regions
from regrain.ui.api.program_schema import EditedRegion, EditVideo
from regrain.ui.api.programs import Programs
from regrain.ui.session.build_request import build_request
from regrain.ui.session.session import Session
from regrain.ui.values.history import Choices

EVERYWHERE = {"boxes": {1: (slice(None), slice(None))}}
OFFERED = [name for name, one in declared(Edit).items() if one.programs]
OFFERED_OF_REGIONS = [name for name, one in declared(Region).items() if one.programs]


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The files that the values name, as uploads."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True)
    write_files(folder)
    return folder


def sent(owner, values, field, uploads):
    """A value as a program sends it, and as the request then has it."""
    value = values[field]
    if declared(owner)[field].kind == "file":
        path = str(uploads / value)
        return {"path": path, "meta": {"_type": "gradio.FileData"}}, path
    return list(value) if isinstance(value, tuple) else value, value


def test_all_but_these_are_offered_to_programs():
    assert {*declared(Edit)} - {*OFFERED} == {"more_prompts", "adapter", "size"}
    assert {*declared(Region)} - {*OFFERED_OF_REGIONS} == {"drawn", "clicked"}


@pytest.mark.parametrize("field", OFFERED)
def test_a_field_of_an_edit_comes_from_a_program(open_clip, uploads, field):
    given, expected = sent(Edit, EDIT, field, uploads)
    more = (
        {"picture": sent(Edit, EDIT, "picture", uploads)[0]}
        if "picture" in field
        else {}
    )
    content = {"video": sent(Edit, EDIT, "picture", uploads)[0]} | more | {field: given}
    jobs = SimpleNamespace(
        catalogue=SimpleNamespace(seeing=lambda *_: "pictures/usual")
    )
    asked = EditVideo.model_validate(content)
    session = Session(open_clip(regions=(Region("cat", 1, "a fox"),), **EVERYWHERE))
    request = Programs(jobs, None, None, None)._request(session, asked)
    assert getattr(request, field) == expected
    assert EditVideo.model_json_schema()["properties"][field]["description"]


@pytest.mark.parametrize("field", OFFERED_OF_REGIONS)
def test_a_field_of_a_region_comes_from_a_program(uploads, field):
    given, expected = sent(Region, REGION, field, uploads)
    asked = EditedRegion.model_validate({field: given})
    (region,) = _regions([asked]).values()
    assert getattr(region, field) == expected
    assert EditedRegion.model_json_schema()["properties"][field]["description"]


# What the page takes from elsewhere: its own words, its list of tuned models, its
# masks.
OF_THE_PAGE = {"source_prompt", "prompt", "negative_prompt", "more_prompts", "adapter"}


@pytest.mark.parametrize("field", [name for name in EDIT if name not in OF_THE_PAGE])
def test_the_page_carries_a_field_of_an_edit_to_run_and_history(open_clip, field):
    needed = {"picture": "toy.png"} if field == "picture_adapter" else {}
    session = Session(open_clip(prompt="a fox", **needed, **{field: EDIT[field]}))
    edit = replace(session.opened.request.asked, method=EDIT["method"])
    request = build_request(session, edit)
    assert getattr(request, field) == EDIT[field]
    assert getattr(Choices.of(request, "", "").edit, field) == EDIT[field]
