"""Hostile project files, settings, prompts and command lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from PIL import Image

from regrain.editing.media.mask_files import write_regions
from regrain.editing.params.registry import METHODS
from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import (
    CONTENT,
    SPECIAL,
    TEXT,
    VALUES,
    damage_file,
    put,
    replace_file,
)

CHECK = ["editing", "check", "project"]
_REGION = [f"regions.0.{key}" for key in ("prompt", "source", "negative", "name")]
# Where text may be anything a person types.
_FREE = {"source_prompt", "prompt", "negative_prompt", *_REGION}
_PLACES = (
    "version",
    "clip",
    "clip.path",
    "clip.start",
    "clip.stride",
    "clip.frames",
    "clip.size",
    "source_prompt",
    "prompt",
    "negative_prompt",
    "more_prompts",
    "regions",
    "regions.0",
    *_REGION,
    "regions.0.label",
    "regions.0.color",
    "regions.0.strength",
    "regions.0.margin",
    "regions.0.drawn",
    "masks",
    "method",
    "params",
    "params.steps",
    "params.keyframes",
    "params.cuts",
    "params.control",
    "model",
    "loras",
    "adapter",
    "seed",
    "focus",
    "regions.0.picture",
    "regions.0.picture_scale",
    "picture_adapter",
    "reader",
)


# Odd values that fit.
_FITTING = {
    "regions.0.picture_scale": ("a whole float", "tiny", "zero", "one and a half"),
    "regions.0.strength": ("a whole float", "tiny"),
}


def _sound(place: str, name: str, value) -> Expected:
    """What must become of a value at a place."""
    same = json.dumps(base.changed(base.content(), place, value)) == json.dumps(
        base.content()
    )
    if same or name in _FITTING.get(place, ()):
        return "either"
    text = name.startswith("text: ")
    nothing = name in (
        "null",
        "a list",
        "an object",
        "text: empty",
        "text: blank",
        "false",
        "zero",
    )
    # What cannot be seen is dropped: such text counts as empty, which all but a name
    # may be.
    nothing = nothing or (
        name == "text: zero width" and place in _FREE - {"regions.0.name"}
    )
    hostile = any(
        word in name
        for word in ("surrogate", "900,000", "100,000", "null", "zero width")
    )
    loose = place.startswith(("params", "more_prompts", "regions.0.drawn", "loras"))
    loose = (
        loose or (text and place in ("model", "picture_adapter", "reader"))
    ) and "true" not in name
    return (
        "either"
        if nothing or (not hostile and (loose or (text and place in _FREE)))
        else "refuse"
    )


def _project(place: str, value, folder: Path) -> Path:
    """Write a project with another value at a place."""
    return base.write_project(
        folder / "project", base.changed(base.content(), place, value)
    )


def cases() -> Iterator[Case]:
    """All of them."""
    for place in _PLACES:
        for name, value in VALUES.items():
            write = partial(_project, place, value)
            yield Case(
                "project",
                f"{place} is {name}",
                CHECK,
                write,
                _sound(place, name, value),
            )
    yield from chain(
        _files(), _sizes(), _settings(), _options(), _places(), _overlaps()
    )
    yield from chain(_words(), _pictures())


def _pictures() -> Iterator[Case]:
    for name in (*CONTENT, *SPECIAL):

        def write(folder: Path, name=name) -> None:
            file = _project("regions.0.picture", "toy.png", folder) / "toy.png"
            Image.fromarray(base.pixels()[0]).save(file)
            (damage_file if name in CONTENT else put)(file, name)

        yield Case("project", f"a picture: {name}", CHECK, write)


_TEXTS = {
    "a key twice": '{"version": 1, "version": 1}',
    "95,000 keys, the last twice": "{"
    + ",".join(f'"k{i}":1' for i in range(95_000))
    + ',"k94999":2}',
    "deep lists": "[" * 200_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "NaN": '{"version": NaN}',
    "Infinity": '{"version": 1, "seed": Infinity}',
    "a number of 50,000 digits": '{"version": 1, "seed": ' + "9" * 50_000 + "}",
    "UTF-16": '{"version": 1}'.encode("utf-16").decode("latin-1"),
    "a list": "[]",
    "a string": '"project"',
    "a comment": '// hello\n{"version": 1}',
    "2 MB": '{"version": 1, "prompt": "' + "x" * 2_000_000 + '"}',
}


def _files() -> Iterator[Case]:
    for name in CONTENT:
        expected = "either" if "flipped" in name else "refuse"
        write = base.with_project(damage_file, name, at="project/project.json")
        yield Case("project", f"file, {name}", CHECK, write, expected)
    for part in ("project.json", "clip.mp4", "masks", "masks/00001.png"):
        for name in SPECIAL:
            title = "file" if part == "project.json" else part
            write = base.with_project(put, name, at=f"project/{part}")
            yield Case("project", f"{title} is {name}", CHECK, write)
    for name, text in _TEXTS.items():
        write = base.with_project(
            replace_file, text.encode("latin-1"), at="project/project.json"
        )
        yield Case("project", f"text, {name}", CHECK, write)


def _sizes() -> Iterator[Case]:
    """Working sizes of a clip of 64 pixels."""
    for size, expected in ((512, "accept"), (513, "refuse"), (4096, "refuse")):
        write = partial(_project, "clip.size", size)
        yield Case("project", f"a working size of {size}", CHECK, write, expected)
        command = ["editing", "new", "project/clip.mp4", "-o", "out", f"--size={size}"]
        yield Case(
            "command",
            f"editing new --size {size}",
            command,
            base.with_project(),
            expected,
        )


_SETTINGS = {
    "nothing": "",
    "a word": "x",
    "true": "true",
    "null": "null",
    "minus": "-1",
    "huge": "1e999",
    "many digits": "9" * 5000,
    "NaN": "NaN",
    "a list": "[1,2,3]",
    "deep": "[" * 5000 + "]" * 5000,
    "an object": '{"a":{"b":[]}}',
    "long": "x" * 100_000,
    "control characters": "\x1b[31m\x07",
    "zero width": "\u200b",
    "digits apart": "1_000",
    "odd digits": "²",
    "spaces": " " * 50_000,
    "commas": "," * 20_000,
    "dashes": "0-" * 20_000,
    "at signs": "a@" * 10_000,
    "colons": "a:" * 10_000,
    "a template": "${x}",
    "beyond the clip": "every 10000",
    "frames": "0, 999999",
    "a range": "auto 9-2",
    "a float": "0.3333333333333333333333",
}


def _settings() -> Iterator[Case]:
    write = partial(_project, "params", {})
    for method, record in METHODS.items():
        for key in record.Params.model_fields:
            for name, value in _SETTINGS.items():
                command = [*CHECK, "--method", method, f"--set={key}={value}"]
                hopeless = (
                    name in ("NaN", "huge", "many digits", "deep", "long")
                    and "emphasis" not in key
                )
                expected: Expected = "refuse" if hopeless else "either"
                yield Case(
                    "setting", f"{method} {key}: {name}", command, write, expected
                )
    huge = '--set=emphasis_words=[["cat", ' + "9" * 400 + "]]"
    yield Case(
        "setting",
        "a factor of 400 digits",
        [*CHECK, "--method=fatezero", huge],
        base.with_project(),
    )
    for name, text in TEXT.items():
        command = [*CHECK, f"--set={text[:50_000]}=1".replace("\0", "")]
        yield Case("setting", f"a key that is {name}", command, base.with_project())


_OPTIONS = {
    "editing run project -o out": "--model --lora --adapter --method --set --seed --prompt --dtype",
    "editing new project/clip.mp4 -o out": "--masks --start --stride --frames --size --region "
    "--region-source",
    "masks track project/clip.mp4 -o out --click 1:0,20,20": "--click --start --stride --frames --finder "
    "--tracker --model --masks --key",
    "masks convert project/masks -o out": "--color --fps",
    "editing tune project -o out.safetensors --set=tune_steps=1": "--model --lora --set --name --dtype",
    "editing clusters project -o out": "--count --steps --seed --model",
}
_ODD = {
    "empty": "",
    "blank": " ",
    "minus": "-1",
    "huge": "9" * 40,
    "5000 digits": "1" * 5000,
    "a float": "0.5",
    "a word": "zzz",
    "control characters": "a\x1b[2Jb",
    "a new line": "a\nb",
    "zero width": "\u200b",
    "long": "x" * 100_000,
    "not UTF-8": "a\udcff",
    "a folder": "/",
    "a device": "/dev/zero",
    "a URL": "http://127.0.0.1:1/x",
    "odd digits": "²٣",
    "JSON": '{"a":1}',
    "a path upwards": "../../..",
    "an equals sign": "=",
    "label only": "1=",
    "colons": ":" * 3000,
    "a label of many digits": "1" * 5000 + "=x",
    "a frame of many digits": "1:" + "9" * 5000 + ",1,1",
    "numbers": "1:0," + "9" * 5000 + ",1",
    "not a number": "1:0,nan,inf",
    "a range": "300=x",
    "300 characters": "x" * 300,
}
# Odd values that some option takes, and those that one option takes.
_TAKEN = (
    "JSON",
    "a float",
    "label only",
    "a range",
    "minus",
    "not UTF-8",
    "a new line",
    "an equals sign",
)
_TAKEN_BY = {
    ("--adapter", "empty"),
    ("--method", "blank"),
    ("--seed", "5000 digits"),
    ("--region-source", "label only"),
}


def _options() -> Iterator[Case]:
    for text, options in _OPTIONS.items():
        command = text.split()
        for option in options.split():
            for name, value in _ODD.items():
                soft = (
                    option in ("--prompt", "--name")
                    or name in _TAKEN
                    or (option, name) in _TAKEN_BY
                )
                title = f"{' '.join(command[:2])} {option} {name}"
                given = [*command, f"{option}={value}"]
                yield Case(
                    "command",
                    title,
                    given,
                    base.with_project(),
                    "either" if soft else "refuse",
                )


_OF_A_PLACE = (
    "editing run",
    "editing new",
    "editing batch",
    "masks convert",
    "editing check",
)


def _places() -> Iterator[Case]:
    for name, value in _ODD.items():
        for command in _OF_A_PLACE:
            given = [*command.split(), f"./{value}" if value.startswith("-") else value]
            given += [] if "check" in command else ["-o", "out"]
            yield Case("command", f"{command} of {name}", given, lambda folder: None)
    odd = ("/dev/null/x", "/proc/x", "x" * 300, "a/" * 3000, "\x1b[31m")
    for out in ("project", "project/clip.mp4", *odd, "project/masks"):
        command = ["editing", "new", "project/clip.mp4", "-o", out]
        expected: Expected = "either" if out == "\x1b[31m" else "refuse"
        yield Case(
            "command",
            f"editing new -o {out[:20]!r}",
            command,
            base.with_project(),
            expected,
        )
    for name in ("attention/notes.txt", "report.json/mine.txt", "masks.mp4/mine.txt"):
        command = ["editing", "run", "project", "-o", "out"]
        write = base.with_project(replace_file, b"mine", at=f"out/{name}")
        yield Case("command", f"a stranger's {name} in the way", command, write)
    command = ["masks", "convert", "project/masks", "-o", "out"]
    write = base.with_project(base.write_masks, base.labels(9), at="out")
    yield Case("command", "masks of another clip in the way", command, write)


# Outputs that are an input, hold one or lie in one; `made` is a project with the clip
# where results go.
_OVERLAPPING = (
    *(
        f"editing clusters project -o {out}"
        for out in ("project", ".", "project/new", "project/masks")
    ),
    *(f"editing run made -o made{out}" for out in ("", "/out", "/masks", "/masks/new")),
    *(f"editing batch project -o {out}" for out in ("project", "project/new", ".")),
    *(
        f"editing new project/clip.mp4 --masks project/masks -o project/masks{out}"
        for out in ("", "/new")
    ),
    *(
        f"editing tune project --set=tune_steps=1 -o {out}"
        for out in ("model.safetensors", "project")
    ),
    *(
        f"masks convert project/masks -o project{out}"
        for out in ("/masks", "/masks/new", "")
    ),
    *(f"masks convert labels/1 -o labels{out}" for out in ("", "/1", "/1/new")),
    "masks track labels/1 --click=1:0,9,20 -o labels",
    "masks track project/clip.mp4 --click=1:0,9,20 --masks labels/1 -o labels",
)


def _overlaps() -> Iterator[Case]:
    for text in _OVERLAPPING:
        yield Case(
            "command", text, text.split(), _overlapping, slow="masks" not in text[:5]
        )
    for text in _OPTIONS:
        command = text.split()
        command[command.index("-o") + 1] = (
            "loop.safetensors" if "tune" in command else "loop"
        )
        name = f"{' '.join(command[:2])} -o a link to itself"
        soft: Expected = (
            "either" if "tune" in command else "refuse"
        )  # a file takes the place of a link
        yield Case(
            "command",
            name,
            command,
            base.with_project(_loop),
            soft,
            slow=soft == "either",
        )


def _loop(folder: Path) -> None:
    for name in ("loop", "loop.safetensors"):
        (folder / name).symlink_to(name)


def _overlapping(folder: Path) -> None:
    base.write_project(folder / "project")
    made = base.write_project(
        folder / "made", base.changed(base.content(), "clip.path", "out/edited.mp4")
    )
    (made / "out").mkdir()
    (made / "clip.mp4").rename(made / "out" / "edited.mp4")
    write_regions({1: base.labels() == 1}, folder / "labels")
    (folder / "model.safetensors").write_bytes(b"weights")


def _words() -> Iterator[Case]:
    new = [
        "editing",
        "new",
        "project/clip.mp4",
        "-o",
        "out",
        "--masks",
        "project/masks",
    ]
    for name, text in TEXT.items():
        given = text.replace("\0", "")[:100_000]
        region = [*new, f"--region=1:{given}=a pig"]
        for option, command in (
            ("--prompt", [*CHECK, f"--prompt={given}"]),
            ("--region", region),
        ):
            yield Case(
                "words", f"{option} {name}", command, base.with_project(), "either"
            )
