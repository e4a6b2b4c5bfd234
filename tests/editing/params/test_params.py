"""Parameters: their ranges, those written as a short text, where each value comes from;
methods of others."""

import json
import math
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
from pydantic import TypeAdapter, WithJsonSchema

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.params import registry
from regrain.editing.params.registry import (
    METHODS,
    add_methods,
    check_params,
    resolve_params,
)
from regrain.editing.params.written import (
    Controls,
    ControlSpec as Spec,
    Cuts,
    Emphasis,
    EmphasisWords,
    Levels,
    Words,
    read_keyframes,
    write_keyframes,
)
from regrain.editing.request.project import schema

CASES = [
    (Controls, "canny=a/b@0.7", [{"kind": "canny", "model": "a/b", "weight": 0.7}], (Spec("canny", "a/b", 0.7),)),  # noqa: E501
    (Controls, "pose=my folder@0.5", " pose = my folder @0.5", (Spec("pose", "my folder", 0.5),)),
    (Controls, "canny=a,depth=b", [["canny", "a"], "depth=b"], (Spec("canny", "a"), Spec("depth", "b"))),
    (Controls, "canny=x@2@1", [["canny", "x@2"]], (Spec("canny", "x@2"),)),
    (EmphasisWords, "ink=1.2345678", {"ink": 1.2345678}, (Emphasis("ink", 1.2345678),)),
    (EmphasisWords, "ink=5, A fox", {"ink": 5, "A fox": None}, (Emphasis("ink", 5.0), Emphasis("A fox"))),
    (EmphasisWords, "sketch=0.25", [["sketch", 0.25]], (Emphasis("sketch", 0.25),)),
    (Controls, "canny=a@0.0000001", [["canny", "a", 1e-7]], (Spec("canny", "a", 1e-7),)),
    (Controls, "canny=a@0.7654321", [["canny", "a", 0.7654321]], (Spec("canny", "a", 0.7654321),)),
    (Levels, "999.1234567, 522", [999.1234567, 522], (999.1234567, 522.0)),
    (Cuts, "none", [], ()),
    (Cuts, "8, 24", [24, 8, 8], (8, 24)),
    (Words, "a cat, the grass", ["a cat", "the grass"], ("a cat", "the grass")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "plain", "value"), CASES)
def test_text_and_json_are_the_same_value_and_written_as_text(kind, text, plain, value):
    adapter = TypeAdapter(kind)
    kept = json.loads(json.dumps(value))  # as a project file keeps it
    for given in (text, plain, value, kept):
        assert adapter.validate_python(given) == value
    assert adapter.dump_python(value) == json.loads(adapter.dump_json(value)) == text


@pytest.mark.parametrize("text", ["all", "every 4", "auto 2-9", "0, 8"])
def test_key_frames_are_written_as_they_are_read(text):
    assert write_keyframes(read_keyframes(text)) == text


@pytest.mark.parametrize("kind", [Controls, EmphasisWords, Words])
def test_nothing_is_nothing(kind):
    adapter = TypeAdapter(kind)
    for empty in ("", " ", None, []):
        assert not adapter.validate_python(empty)
        assert adapter.dump_python(adapter.validate_python(empty)) == ""


@pytest.mark.parametrize(
    ("method", "name", "wrong"),
    [
        ("videograin", "control", ["edges=a", "canny=a@3", 7, ["canny"], [["canny", "a", True]], {"a": "a"}]),
        ("fatezero", "emphasis_words", ["a=much", "a=nan", "a=-1", "a=21", [["a", 21]], {"": 1}, 3]),
        ("fatezero", "blend_words", [[1], ["a,b"], {"a": 1}, "x" * 3000]),
        ("videograin", "steps", [0, 1001, 2.5, True, "20"]),
        ("videograin", "guidance_scale", [math.nan, math.inf, -1]),
        ("videograin", "self_strength", [1.01]),
        ("videograin", "cross_strength", [-0.01]),
        ("videograin", "modulate_until", [None]),
        ("videograin", "feather", [3.1]),
        ("videograin", "keyframes", ["every 0", "auto 0-5", "auto 6-5"]),
        ("videograin", "levels", ["fine"]),
        ("flow_regions", "levels", ["1000, 0", "1000, -1"]),
        ("videograin", "preset", ["mine"]),
        ("videograin", "stepz", [1]),
        ("videograin", "window", [1, 2, -1, 1001]),
        ("videograin", "cuts", ["0", "-3", "all", "1;2", "1.5", 7, "9" * 8, None, "1," * 2000]),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_by_name(method, name, wrong):
    for value in wrong:
        with pytest.raises(RequestError) as caught:
            check_params(method, {name: value})
        assert caught.value.field == f"params.{name}", value


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_schema_and_reports_keep_the_texts(method):
    defaults = method.Params()
    kept = defaults.model_dump()
    place = list(METHODS).index(method.name)
    described = schema()["properties"]["params"]["anyOf"][place]["properties"]
    for name, field in method.Params.model_fields.items():
        assert field.title
        assert field.description
        written = any(isinstance(part, WithJsonSchema) for part in field.metadata)
        if written or field.annotation is str:
            assert described[name]["type"] == "string"
            assert described[name]["default"] == field.default == kept[name]
    assert method.Params.model_validate(kept) == defaults


@pytest.mark.parametrize(
    ("given", "blend", "feather"),
    [
        ({}, {"value": False, "source": "model"}, "method"),
        ({"preset": "paper"}, {"value": True, "source": "preset"}, "preset"),
        (
            {"preset": "paper", "blend": False},
            {"value": False, "source": "given"},
            "preset",
        ),
    ],
)
def test_given_outweighs_a_named_preset_that_outweighs_the_model(given, blend, feather):
    given = {"steps": 7, "cuts": [1, 2]} | given
    params, resolved = resolve_params(
        "videograin", given, {"steps": 20, "blend": False}
    )
    assert resolved["cuts"] == {
        "value": "1, 2",
        "source": "given",
    }  # text, of what was given as JSON
    assert (params.steps, params.blend, params.feather) == (7, blend["value"], 2.0)
    assert resolved["steps"] == {"value": 7, "source": "given"}
    assert resolved["blend"] == blend
    assert resolved["feather"] == {"value": 2.0, "source": feather}
    assert set(resolved) == set(type(params).model_fields)


def test_a_bad_recommendation_is_the_models_fault_and_an_unknown_method_lists_the_known_ones():
    with pytest.raises(
        RequestError, match=r"method: 'videograim' .* Did you mean 'videograin'\?"
    ):
        check_params("videograim", {})
    with pytest.raises(ModelError, match=r"defaults.json: params.steps"):
        resolve_params("videograin", {}, {"steps": -1})


TAKEN = METHODS["fresco"]
MINE = replace(METHODS["sdedit"], name="mine", title="Mine")
POINTS = {
    "gone": "nowhere:x",
    "other": "math:pi",
    "twice": f"{__name__}:TAKEN",
    "mine": f"{__name__}:MINE",
}


def test_a_method_of_another_package_is_one_of_the_methods_unless_it_cannot_be_used(
    monkeypatch, caplog
):
    points = [
        EntryPoint(name, value, "regrain.methods") for name, value in POINTS.items()
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [p for p in points if p.group == group]
    )
    methods = dict(METHODS)
    add_methods(methods)
    assert methods == METHODS | {"mine": MINE}
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[1] for line in lines] == ["gone", "other", "twice"]
    problems = ("cannot be imported", "is not a regrain.Method", "is taken")
    for line, problem in zip(lines, problems, strict=True):
        assert problem in line
        assert line.endswith("it is left out")
