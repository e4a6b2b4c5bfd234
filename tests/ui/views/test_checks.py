"""Checks before work: what is wrong with words and settings, known without a model."""

from dataclasses import replace

import numpy as np
import pytest

from regrain.editing.models.files.reader import Reader
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region
from regrain.ui.session.build_request import build_request
from regrain.ui.session.session import Session
from regrain.ui.views import checks

WORDS = "a an and cat dog fox panda robot walk on the grass snow jump fairy"
KNOWN = frozenset(WORDS.split())
READER = Reader(KNOWN, None, 77)
ANY = Reader(None, None, 77)


@pytest.fixture
def session(open_clip):
    boxes = {1: (slice(0, 8), slice(None)), 2: (slice(16, 24), slice(None))}
    regions = (Region("left", 1, "a fairy", "a dog"), Region("right", 2, "", "a panda"))
    opened = open_clip(
        regions=regions, boxes=boxes, source_prompt="a dog and a panda jump"
    )
    return Session(replace(opened, name="drawn"))


def describe(session, label, **words):
    session.state = session.state.change_region(label, **words)


def look(session, reader=READER, seed=0, **params):
    return checks.check(
        session, reader, Edit(method=session.method, params=params, seed=seed)
    )


def said(remarks):
    return {remark.field: (remark.kind, remark.text) for remark in remarks}


def test_what_is_guessed_of_a_model_is_a_hint_at_it(session):
    asked = Edit(method=session.method)
    found = checks.check(session, READER, asked, ["One thing.", "Another."])
    assert said(found) == {"model": ("hint", "One thing. Another.")}
    assert checks.first_wrong(found) is None


def test_a_picture_that_the_way_cannot_draw_is_a_hint_at_the_method(session):
    describe(session, 1, picture="fairy.png")
    asked = Edit(method=session.method, loras=("storybook/fast@1",))
    found = said(checks.check(session, READER, asked))
    assert "becomes a pattern" in found["method"][1]
    assert found["method"][0] == "hint"


def test_of_a_real_clip_an_unknown_word_is_said_once_a_run_is_wanted(session):
    session.opened = replace(session.opened, name="")
    describe(session, 1, prompt="a man")
    (remark,) = look(session)
    assert remark.kind == "missing"
    assert [word for word, _ in remark.words] == ["man"]
    assert checks.view([remark]).remarks == []
    assert checks.view([remark], pressed=1).remarks


def test_words_are_free_on_other_models(session):
    describe(session, 1, prompt="a unicorn")
    assert look(session, ANY) == []


def test_the_rest_of_the_frame_is_what_no_other_region_covers(session):
    label = session.add_rest()
    assert session.add_rest() == label
    describe(session, label, prompt="on the grass", source="jump")
    assert look(session) == []
    asked = build_request(session, Edit())
    labels = np.asarray(asked.labels[0:2])
    assert (labels[:, 8:16] == label).all()
    assert (labels[:, :8] == 1).all()
    assert (labels == 0).sum() == 0
    session.undo()
    assert session.state.rest is None


def test_whole_words_of_the_source_prompt_are_offered(session):
    session.source_prompt = "a hot-dog, the girl’s big cat/dog and a small fox"
    describe(session, 1, prompt="a fairy", source="a dragon")
    describe(session, 2, source="a hot-dog")
    (remark,) = look(session, ANY)
    assert remark.offers == ("the girl’s", "a small fox")
    describe(session, 1, source=remark.offers[1])
    assert look(session, ANY) == []
