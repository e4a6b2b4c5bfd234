"""What a refusal tells people to write is written, in every place where it can be: the
refusal is gone. Situations are made of fields, wrong values, methods and models."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from hostile.base import changed, content, write_project
from other_values import REGION, make_request

from regrain.editing import Region, load_project
from regrain.editing.cli.changes import REPLACED
from regrain.editing.cli.commands import parse_settings
from regrain.editing.errors import EditingError
from regrain.editing.params.registry import (
    METHODS,
    OFFERS,
    check_needs,
    check_params,
)
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import override
from regrain.editing.request.fields import declared
from regrain.editing.request.project import Project, ProjectClip

# Of every type, within and beyond what is usual.
WRONG = (
    None,
    True,
    -1,
    1.5,
    10**30,
    float("nan"),
    "",
    "zzz",
    "5-2",
    [],
    [[]],
    {"a": 1},
)
# What a refusal shows of what may be written, beside ranges and listed words.
WORDED = {
    "true or false": [True, False],
    "all, every N, auto, auto LEAST-MOST,": ["all", "every 2", "auto", "auto 2-3"],
    "auto, none, or the frames": ["auto", "none"],
    "even, diffusers, authors, or falling": ["even", "diffusers", "authors"],
    "KIND=MODEL@WEIGHT with a kind": ["canny=m@0.5", "depth=m@1", "pose=m@2"],
    "words separated by commas, or a list": ["cat, dog", ["cat", "dog"]],
    "WORD or WORD=FACTOR": ["cat", "cat=0", "cat=20"],
    "finite numbers": [0, 1],
    "an object of names and values": [{"steps": 2}],
    "an object": [{}],
    "a list": [[]],
    "Expected text": ["words"],
    "or null": [None],
    "#rrggbb": ["#a0b0c0"],
    "boxes WIDTHxHEIGHT+LEFT+TOP": ["auto", "on 0.5", "off", "each", "8x8+0+0"],
    "NAME=FILE@SCALE or FILE@SCALE": ["toy.png", "toy.png@0", "toy.png@1.5"],
    "a name": ["other"],
    "the id of a model": ["storybook"],
    "epsilon, v_prediction or sample": ["epsilon", "v_prediction", "sample"],
    "prompts, none of them empty": [["a", "b"]],
    "at most 8 files": [["ink@0.5"]],
    "NAME@SCALE": ["lcm@0.5"],
    "the path of a picture": [""],
    "a path or a name": ["mine"],
    "frame numbers from 0 on": [[0, 3]],
    "Remove it": [None],
}


def told(said):
    """The values that a refusal tells to write."""
    expected = said.partition(", got")[0]
    for words, values in WORDED.items():
        if words in expected:
            return values
    kind = int if "whole number" in expected else float
    found = [None] if expected.endswith("or null") else []
    for low, high in re.findall(r"from (-?[\d.]+) to (\d[\d.e+]*)", expected):
        found += kind(low), kind(high)
    for end in re.findall(r"(?:at most|at least) (\d[\d.e+-]*)", expected):
        found.append(kind(end))
    if expected.startswith("Expected '"):
        found += re.findall(r"'(\w+)'", expected)
    for listed in re.findall(r"Choose from ([^.]+)\.", expected):
        found += listed.split(", ")
    for frames in re.findall(r"The clip has (\d+) frames", said):
        found.append(int(frames) - 1)
    found += re.findall(r"like (\d[\d, ]*\d)", expected)
    return found or [0] if expected.endswith("a whole number") else found


def refused(attempt, value):
    """The refusal of a value; None if it is taken."""
    try:
        attempt(value)
    except EditingError as error:
        return error
    return None


def follow(attempt, wrong, before=()):
    """Try a wrong value, then all that its refusal tells to write, and so on, until
    nothing is refused: the lines that were followed."""
    error = refused(attempt, wrong)
    if error is None or (before and error.field != before[0].field):
        return set()  # it may not fit to another field, which is then named
    lines = [one.message.partition(", got")[0] for one in (*before, error)]
    assert len({*lines}) == len(lines), (wrong, lines)
    advised = told(error.message)
    assert advised, (wrong, error)
    further = (follow(attempt, value, (*before, error)) for value in advised)
    return {str(error)}.union(*further)


def settings():
    """Parameters of every method, given by a program."""
    for method, record in METHODS.items():
        for name in record.Params.model_fields:
            yield lambda value, m=method, n=name: check_params(m, {n: value})


def options():
    """The same on the command line, as text."""
    for method, record in METHODS.items():
        for name in record.Params.model_fields:

            def attempt(value, method=method, name=name):
                text = value if isinstance(value, str) else json.dumps(value)
                check_params(method, parse_settings([f"{name}={text}"]))

            yield attempt


def arguments():
    """Fields of an edit and of a region, given by a program."""
    for name in declared(Edit):
        yield lambda value, n=name: make_request(**{n: value})
    for name in declared(Region):
        yield lambda value, n=name: Region(**REGION | {n: value})


def changes():
    """What options of the command line change of a project, as text."""
    for key, one in REPLACED.items():
        many = one.option is not None and one.option.many

        def attempt(value, key=key, many=many):
            text = value if isinstance(value, str) else json.dumps(value)
            override(make_request(), **{key: [text] if many else text})

        if one.type is str or many:
            yield attempt


# Of project.json; files are looked for.
PLACES = [
    *(f"clip.{name}" for name in ProjectClip.model_fields if name != "path"),
    *(
        name
        for name in Project.model_fields
        if name not in ("clip", "masks", "regions")
    ),
    *(f"regions.0.{name}" for name in declared(Region)),
]
PLACES = [place for place in PLACES if not place.endswith("picture")]


def places():
    """Places of project.json."""
    project = write_project(Path("project"))
    for place in PLACES:

        def attempt(value, place=place):
            written = json.dumps(changed(content(), place, value))
            (project / "project.json").write_text(written, encoding="utf-8")
            load_project(project)

        yield attempt


# What makes situations, and how many lines are followed at least.
MAKERS = {settings: 2600, options: 2600, arguments: 340, changes: 30, places: 380}


@pytest.mark.parametrize("made", MAKERS)
def test_what_a_refusal_tells_to_write_is_taken(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed = [
        line for attempt in made() for wrong in WRONG for line in follow(attempt, wrong)
    ]
    assert len(followed) >= MAKERS[made], len(followed)


def mistyped(name):
    """A name with two letters in each other's place, and with one too many."""
    return name[1] + name[0] + name[2:], f"{name}s"


def named(check, *given):
    """Whether names are known, whatever the values are."""
    try:
        check(*given)
    except EditingError as error:
        if "Did you mean" in error.message:
            raise


def names():
    """What takes a name, and the names that there are."""
    for method, record in METHODS.items():
        known = [*record.Params.model_fields]
        yield lambda name, m=method: named(check_params, m, {name: None}), known
    yield lambda name: check_params(name, {}), [*METHODS]
    for at, model in {"": Project, "clip.": ProjectClip, "regions.0.": Region}.items():

        def attempt(name, at=at):
            written = changed(content(), f"{at}{name}", None)
            Path("project/project.json").write_text(json.dumps(written))
            named(load_project, "project")

        known = declared(Region) if model is Region else model.model_fields
        yield attempt, [*known]


def test_a_name_that_is_meant_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(Path("project"))
    tried = 0
    for attempt, known in names():
        for name in known:
            for wrong in mistyped(name):
                error = refused(attempt, wrong)
                meant = error and re.search(r"Did you mean '(\w+)'", error.message)
                if meant is None:
                    assert wrong in known, error
                    continue
                assert refused(attempt, meant[1]) is None
                tried += 1
    assert tried > 500


def test_a_method_that_is_told_for_a_model_can_be_used_with_it():
    """Of models with every two and three of what a model may offer, and all but one."""
    tried = 0
    several = [
        one for n in (1, 2, 3, len(OFFERS) - 1) for one in combinations(OFFERS, n)
    ]
    for offers in several:
        for method in METHODS:
            error = refused(lambda one, o=offers: check_needs(one, {}, o, "m"), method)
            if error is None:
                continue
            listed = re.search(r"Use (.+), or another model\.", error.message)
            told_methods = re.split(", | or ", listed[1]) if listed else []
            for better in told_methods:
                check_needs(better, {}, offers, "m")
                tried += 1
    assert tried > 700
