"""What a message tells people to do can be done: options, settings, variables and
commands that it names are there, and a model that it proposes is taken."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from regrain.editing.__main__ import app as editing
from regrain.editing.errors import EditingError, RequestError
from regrain.editing.models.files.location import find
from regrain.editing.models.files.lora_file import find_lora
from regrain.editing.models.weights.motion import MotionFile
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import declared
from regrain.editing.verdict.crop_reader import CropReader
from regrain.masks.__main__ import app as masks
from regrain.masks.models.finders import find_finder

ROOT = Path(__file__).parents[1]
VERBS = (
    "Use Set Choose Give Add Try Run Install Put Lower Raise Download Leave Write Say Keep "
    "Remove Convert Name Send Tune Free Close Correct Draw Shorten Cut List Rename"
)
ADVICE = re.compile(rf"\b({VERBS.replace(' ', '|')})\b")
# Files of the product, as text.
CODE = {
    path: path.read_text(encoding="utf-8")
    for room in ("editing", "masks", "ui")
    for path in sorted((ROOT / room).rglob("*.py"))
}


def written(node):
    """The text of a constant, or of a formatted one with {} in places."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    values = [getattr(part, "value", None) for part in parts]
    return "".join(value if isinstance(value, str) else "{}" for value in values)


def texts_of(tree):
    """Texts of a module but for its documentation."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in skipped:
            yield written(node)


MESSAGES = [
    text
    for code in CODE.values()
    for text in texts_of(ast.parse(code))
    if " " in text and ADVICE.search(text)
]


def said(pattern):
    """What messages name in some form."""
    return {found for text in MESSAGES for found in re.findall(pattern, text)}


def options(app):
    """Options of all commands of a program."""
    commands = get_command(app).commands.values()
    return {name for one in commands for part in one.params for name in part.opts}


def test_messages_are_found():
    assert len(MESSAGES) > 380


def test_options_are_there():
    named = said(r"(?<![\w-])--[a-z][\w-]*") - {"--upgrade"}  # of pip
    assert len(named) > 6
    assert named <= options(editing) | options(masks)


def test_commands_are_there():
    known = {*get_command(editing).commands, *get_command(masks).commands}
    ours = said(r"`(?:\{\}|masks|edit) (\w+)")
    assert len(ours) > 1
    assert ours <= known


def test_variables_are_read():
    named = said(r"\b(?:REGRAIN|HF|PYTORCH)_[A-Z_]+")
    read = "\n".join(CODE.values())
    assert len(named) > 2
    for name in named:
        of_others = not name.startswith("REGRAIN")
        assert of_others or f'"{name}"' in read, name


def refused(method, name, value):
    """The error with which a method refuses a setting; None if it takes it."""
    try:
        check_params(method, {name: value})
    except RequestError as error:
        return error
    return None


def test_settings_take_the_values_that_are_proposed():
    named = said(r"\b([a-z_]+)=([a-z_]+)\b")
    assert len(named) > 4
    for name, value in named:
        given = {"true": True, "false": False}.get(value, value)
        having = [key for key in METHODS if name in METHODS[key].Params.model_fields]
        assert any(refused(method, name, given) is None for method in having), name


def test_settings_that_are_named_are_there():
    known = {name for one in METHODS.values() for name in one.Params.model_fields}
    known |= {*declared(Edit)}
    named = said(r"\b(?:[Ss]et|Raise|Lower) (?:params\.)?([a-z]+_?[a-z]+) (?:to|lower)")
    assert len(named) > 2
    assert named - known <= {"its", "it"}


def proposed(error):
    """The values that a refusal lists: choices, and the ends of a range."""
    listed, _, _ = error.message.rpartition(", got")
    kind = int if "whole number" in listed else float
    ends = re.findall(r"from (\S+) to ([\d.]+)", listed)
    return [
        *re.findall(r"'(\w+)'", listed),
        *(kind(end) for pair in ends for end in pair),
    ]


def test_every_value_that_a_refusal_lists_is_taken():
    """Of every setting of every method that is no free text."""
    tried = 0
    for method, one in METHODS.items():
        for name in one.Params.model_fields:
            error = refused(method, name, "a wrong value")
            for value in proposed(error) if error else ():
                again = refused(method, name, value)
                # It may not fit to another, which is then named.
                assert again is None or again.field != error.field, again
                tried += 1
    assert tried > 240


# What a wrong name is given to.
TAKES = {
    "model": find,
    "reader": lambda id: CropReader(id).check(),
    "loras": find_lora,
    "motion": MotionFile,
    "finder": find_finder,
}
WRONG = ["ViT-B-32", "a.pt"]


@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_name_that_is_proposed_is_taken(kind, wrong):
    with pytest.raises(EditingError) as caught:
        TAKES[kind](wrong)
    proposed = re.search(r"(?:Use|Choose from) ([\w/]+)", caught.value.message)[1]
    TAKES[kind](proposed)
