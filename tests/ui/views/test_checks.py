"""Checks before work: what is wrong with words and settings, known without a model."""

from dataclasses import replace

import numpy as np
import pytest

from regrain.editing.models.files.reader import Reader
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region
from regrain.editing.request.runnable import check_runnable
from regrain.ui.session.build_request import MAX_TEXT, build_request
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


def test_nothing_is_said_of_what_can_be_run(session):
    assert look(session) == []
    check_runnable(build_request(session, Edit()))


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


def test_every_unknown_word_is_named_at_its_field_with_the_nearest(session):
    describe(session, 1, prompt="a robat and a foxx")
    session.source_prompt = "a dogg and a panda jump"
    first, second = [remark for remark in look(session) if remark.kind == "wrong"]
    assert first.field == "source_prompt"
    assert [(u.word, u.near[0]) for u in first.words] == [("dogg", "dog")]
    assert second.field == "regions.left.prompt"
    assert [(u.word, u.near[0]) for u in second.words] == [
        ("robat", "robot"),
        ("foxx", "fox"),
    ]


def test_of_a_real_clip_an_unknown_word_is_said_once_a_run_is_wanted(session):
    session.opened = replace(session.opened, name="")
    describe(session, 1, prompt="a man")
    (remark,) = look(session)
    assert remark.kind == "missing"
    assert [word for word, _ in remark.words] == ["man"]
    assert checks.view([remark]).remarks == []
    assert checks.view([remark], pressed=1).remarks


def test_words_that_are_only_spelt_a_little_alike_are_not_offered(session):
    describe(session, 1, prompt="a man and a wizard")
    (remark,) = [remark for remark in look(session) if remark.kind == "wrong"]
    assert [*remark.words] == [("man", ()), ("wizard", ())]
    # In their place stand the kinds that the model knows.
    (said,) = checks.view([remark], kinds=["a cat"]).remarks
    assert [word.near for word in said.words] == [["a cat"], ["a cat"]]


def test_words_are_free_on_other_models(session):
    describe(session, 1, prompt="a unicorn")
    assert look(session, ANY) == []


def test_too_many_tokens_are_counted_at_the_field_and_in_the_composed_prompt(session):
    describe(session, 1, prompt="a cat " * 40)
    ((kind, text),) = said(look(session)).values()
    assert kind == "wrong"
    assert "80 tokens" in text
    assert "at most 75" in text
    describe(session, 1, prompt="a cat " * 20)
    session.source_prompt = "a dog and a panda jump on the grass " * 5
    assert look(session)[0].field == "source_prompt"
    assert "tokens" in look(session)[0].text


def test_a_long_pasted_text_is_kept_whole_and_said_to_be_too_long(session):
    words = "a cat " * 400
    entry = {"label": 1, "prompt": words, "name": "left"}
    session.describe(
        {"regions": [entry]} | dict.fromkeys(("source_prompt", "prompt"), words)
    )
    assert (
        session.state.regions[1].prompt
        == session.source_prompt
        == session.prompt
        == words
    )
    kind, text = said(look(session))["regions.left.prompt"]
    assert kind == "wrong"
    assert f"2400 characters are {2400 - MAX_TEXT} too many" in text


def test_words_without_a_mask_are_said_at_the_region(session):
    session.add_region()
    describe(session, 3, prompt="a robot")
    assert said(look(session))["regions.Region 3.mask"][0] == "wrong"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keyframes", "every other"),
        ("cuts", "0"),
        ("steps", 0),
        ("control", "edges=x"),
    ]
    # outside the clip
    + [("keyframes", "0, 9"), ("cuts", "7")],
)
def test_parameters_that_cannot_be_read_or_are_outside_the_clip_are_named(
    session, name, value
):
    assert said(look(session, **{name: value}))[f"params.{name}"][0] == "wrong"


def test_several_wrong_settings_are_all_named_and_the_uppermost_field_comes_first(
    session,
):
    assert all("seed" in said(look(session, seed=seed)) for seed in (-1, 1.5))
    describe(session, 2, prompt="a robat")
    session.source_prompt = "a dogg and a panda jump"
    remarks = look(session, keyframes="x", cuts="x")
    assert {"params.keyframes", "params.cuts"} <= said(remarks).keys()
    assert checks.view(remarks, 1).focus == "source_prompt"


def test_what_is_only_missing_is_said_when_a_run_is_wanted(session):
    describe(session, 1, prompt="")
    remarks = look(session)
    assert said(remarks)["regions.left.prompt"][0] == "missing"
    assert checks.view(remarks).remarks == []
    pressed = checks.view(remarks, 1)
    assert pressed.focus == "regions.left.prompt"
    assert len(pressed.remarks) == 1


def test_words_that_change_nothing_are_hinted_at(session):
    describe(session, 1, source="a Dog", prompt="a dog ")
    hint, missing = sorted(look(session), key=lambda remark: remark.kind)
    assert "nothing changes" in hint.text
    # Nothing else is edited, so there is nothing to run.
    assert (missing.field, missing.kind) == ("regions.left.prompt", "missing")
    assert "nothing to edit" in missing.text
    assert checks.view([missing]).remarks == []  # said once a run is wanted
    session.prompt = "a dog and a panda on the snow"
    assert look(session) == []  # the whole is edited
    session.prompt = ""
    describe(
        session, 1, source="a robat", prompt="a robat"
    )  # what is wrong is said in place of the hint
    assert said(look(session))["regions.left.prompt"][0] == "wrong"


def test_a_hint_does_not_keep_a_run_from_beginning(session):
    describe(session, 2, source="", prompt="a robot")
    (hint,) = look(session)
    assert (hint.field, hint.kind) == ("regions.right.source", "hint")
    assert "only added" in hint.text
    assert hint.offers == ("a panda",)  # whole things
    assert checks.first_wrong([hint]) is None
    session.source_prompt = (
        "on the Right runs a big pink pig, on the left stands the dog in a grey hat"
    )
    hint = next(
        remark for remark in look(session) if remark.field == "regions.right.source"
    )
    assert hint.offers == ("a big pink pig", "the dog", "a grey hat")


def test_a_thing_the_clip_is_not_said_to_show_and_prompts_that_repeat_are_hints(
    session,
):
    describe(session, 2, source="a cat", prompt="a robot")
    assert "does not say this" in look(session)[0].text
    session.method, session.prompt = "fatezero", "a cat\na fox\nA  cat"
    same = "Line 3 repeats line 1, so both edits will be the same."
    assert said(look(session))["prompt"] == ("hint", same)


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
