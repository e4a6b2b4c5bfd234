"""Hostile project files, settings, prompts and command lines."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from regrain.editing.params.registry import METHODS
from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import CONTENT, SPECIAL, TEXT, VALUES

CHECK = ["editing", "check", "project"]
# Where text may be anything a person types.
_FREE = {
    "source_prompt",
    "prompt",
    "negative_prompt",
    "regions.0.prompt",
    "regions.0.source",
    "regions.0.negative",
    "regions.0.name",
}
_PLACES = (
    *(
        "version",
        "clip",
        "clip.path",
        "clip.start",
        "clip.stride",
        "clip.frames",
        "clip.size",
        "source_prompt",
        "prompt",
    ),
    *(
        "negative_prompt",
        "more_prompts",
        "regions",
        "regions.0",
        "regions.0.name",
        "regions.0.label",
        "regions.0.source",
    ),
    *("regions.0.prompt", "regions.0.color", "regions.0.strength", "regions.0.negative", "regions.0.margin"),
    *(
        "regions.0.drawn",
        "masks",
        "method",
        "params",
        "params.steps",
        "params.keyframes",
        "params.cuts",
        "params.control",
    ),
    *("params.heat_pixel", "model", "loras", "adapter", "seed"),
)


def changed(place: str, value: Any) -> dict[str, Any]:
    """The sound project with another value at a place."""
    content: Any = base.content()
    at, (*parents, last) = content, place.split(".")
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = value
    return content


def _sound(place: str, name: str, value: Any) -> Expected:
    """What must become of a value at a place."""
    if value == _at(place) and type(value) is type(_at(place)):
        return "either"
    if place == "regions.0.strength" and name in ("a whole float", "tiny"):
        return "either"
    nothing = name in ("null", "a list", "an object", "text: empty", "text: blank", "false", "zero")
    text = name.startswith("text: ")
    # What cannot be seen is dropped: such text counts as empty, which all but a name may be.
    nothing = nothing or (name == "text: zero width" and place in _FREE - {"regions.0.name"})
    hostile = any(word in name for word in ("surrogate", "900,000", "100,000", "null", "zero width"))
    if nothing or (text and place in _FREE and not hostile):
        return "either"
    if place.startswith(("params", "more_prompts", "regions.0.drawn", "loras")) or (
        text and place == "model"
    ):
        return "either" if not hostile and "true" not in name else "refuse"
    if not text and name in ("zero", "true", "10,000 entries", "mixed") and place == "seed":
        return "refuse" if name != "zero" else "either"
    return "refuse"


def _at(place: str) -> Any:
    at: Any = base.content()
    for key in place.split("."):
        try:
            at = at[int(key) if key.isdigit() else key]
        except (KeyError, IndexError, TypeError):
            return None
    return at


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _values()
    yield from _bytes()
    yield from _settings()
    yield from _commands()
    yield from _words()


def _values() -> Iterator[Case]:
    for place in _PLACES:
        for name, value in VALUES.items():

            def prepare(folder: Path, place=place, value=value) -> list[str]:
                base.write_project(folder / "project", changed(place, copy.deepcopy(value)))
                return CHECK

            yield Case("project", f"{place} is {name}", prepare, _sound(place, name, value))


def _bytes() -> Iterator[Case]:
    for name, fault in CONTENT.items():

        def prepare(folder: Path, fault=fault, name=name) -> list[str]:
            base.write_project(folder / "project")
            file = folder / "project" / "project.json"
            file.write_bytes(fault(file.read_bytes(), np.random.default_rng(zlib.crc32(name.encode()))))
            return CHECK

        yield Case("project", f"file, {name}", prepare, "either" if "flipped" in name else "refuse")
    for name, make in SPECIAL.items():

        def prepare_special(folder: Path, make=make) -> list[str]:
            import os

            base.write_project(folder / "project")
            (folder / "project" / "project.json").unlink()
            os.chdir(folder / "project")
            make(folder / "project" / "project.json")
            os.chdir(folder)
            return CHECK

        yield Case("project", f"file is {name}", prepare_special)
    for part in ("clip.mp4", "masks", "masks/00001.png"):
        for name, make in SPECIAL.items():

            def prepare_part(folder: Path, make=make, part=part) -> list[str]:
                import os
                import shutil

                base.write_project(folder / "project")
                target = folder / "project" / part
                shutil.rmtree(target) if target.is_dir() else target.unlink()
                os.chdir(target.parent)
                make(target)
                os.chdir(folder)
                return CHECK

            yield Case("project", f"{part} is {name}", prepare_part)
    texts = {
        "a key twice": '{"version": 1, "version": 1}',
        "95,000 keys, the last twice": "{" + ",".join(f'"k{i}":1' for i in range(95_000)) + ',"k94999":2}',
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
    for name, text in texts.items():

        def prepare_text(folder: Path, text=text) -> list[str]:
            base.write_project(folder / "project")
            (folder / "project" / "project.json").write_text(text, encoding="latin-1")
            return CHECK

        yield Case("project", f"text, {name}", prepare_text)


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
    for method, record in METHODS.items():
        for key in record.Params.model_fields:
            for name, value in _SETTINGS.items():

                def prepare(folder: Path, method=method, key=key, value=value) -> list[str]:
                    content = base.content() | {"params": {}}
                    base.write_project(folder / "project", content)
                    return [*CHECK, "--method", method, f"--set={key}={value}"]

                hopeless = name in ("NaN", "huge", "many digits", "deep", "long") and "emphasis" not in key
                yield Case("setting", f"{method} {key}: {name}", prepare, "refuse" if hopeless else "either")
    for name, text in TEXT.items():

        def prepare_key(folder: Path, text=text) -> list[str]:
            base.write_project(folder / "project")
            return [*CHECK, f"--set={text[:50_000]}=1".replace("\0", "")]

        yield Case("setting", f"a key that is {name}", prepare_key)


_OPTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("editing", "run", "project", "-o", "out"): (
        "--model",
        "--lora",
        "--adapter",
        "--method",
        "--set",
        "--seed",
        "--prompt",
        "--dtype",
    ),
    ("editing", "new", "project/clip.mp4", "-o", "out"): (
        "--masks",
        "--start",
        "--stride",
        "--frames",
        "--size",
        "--region",
        "--region-source",
    ),
    ("masks", "track", "project/clip.mp4", "-o", "out", "--click", "1:0,20,20"): (
        "--click",
        "--start",
        "--stride",
        "--frames",
        "--method",
        "--model",
        "--flow",
        "--masks",
        "--key",
    ),
    ("masks", "convert", "project/masks", "-o", "out"): ("--color", "--fps"),
    ("masks", "clean", "project/masks", "-o", "out"): (
        "--grow",
        "--fill-holes",
        "--drop-specks",
        "--label",
        "--color",
        "--fps",
    ),
    ("editing", "tune", "project", "-o", "out.safetensors", "--set=tune_steps=1"): (
        "--model",
        "--lora",
        "--set",
        "--name",
        "--dtype",
    ),
    ("editing", "clusters", "project", "-o", "out"): ("--count", "--steps", "--seed", "--model"),
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
    "a path upwards": "../../..",
    "a folder": "/",
    "a device": "/dev/zero",
    "a URL": "http://127.0.0.1:1/x",
    "odd digits": "²٣",
    "JSON": '{"a":1}',
    "an equals sign": "=",
    "label only": "1=",
    "colons": ":" * 3000,
    "numbers": "1:0," + "9" * 5000 + ",1",
    "not a number": "1:0,nan,inf",
    "a range": "300=x",
}


def _commands() -> Iterator[Case]:
    for command, options in _OPTIONS.items():
        for option in options:
            for name, value in _ODD.items():

                def prepare(folder: Path, command=command, option=option, value=value) -> list[str]:
                    base.write_project(folder / "project")
                    return [*command, f"{option}={value}"]

                free = option in ("--prompt", "--name") or (
                    option == "--region-source" and name == "label only"
                )
                works = {
                    ("--adapter", "empty"),
                    ("--model", "empty"),
                    ("--method", "blank"),
                    ("--seed", "5000 digits"),
                }
                expected: Expected = (
                    "either"
                    if free
                    or name
                    in (
                        "JSON",
                        "a float",
                        "label only",
                        "a range",
                        "minus",
                        "not UTF-8",
                        "a new line",
                        "an equals sign",
                    )
                    or (option, name) in works
                    else "refuse"
                )
                yield Case("command", f"{' '.join(command[:2])} {option} {name}", prepare, expected)
    for name, value in _ODD.items():
        for command in (("editing", "run"), ("editing", "new"), ("masks", "convert"), ("editing", "check")):

            def prepare_in(folder: Path, command=command, value=value) -> list[str]:
                return [
                    *command,
                    f"./{value}" if value.startswith("-") else value,
                    *([] if "check" in command else ["-o", "out"]),
                ]

            yield Case("command", f"{' '.join(command)} of {name}", prepare_in)
    for out in (
        "project",
        "project/clip.mp4",
        "/dev/null/x",
        "/proc/x",
        "x" * 300,
        "a/" * 3000,
        "\x1b[31m",
        "project/masks",
    ):

        def prepare_out(folder: Path, out=out) -> list[str]:
            base.write_project(folder / "project")
            return ["editing", "new", "project/clip.mp4", "-o", out]

        yield Case(
            "command",
            f"editing new -o {out[:20]!r}",
            prepare_out,
            "either" if out == "\x1b[31m" else "refuse",
        )
    strangers = {
        "attention/notes.txt": b"mine",
        "report.json/mine.txt": b"mine",
        "masks.mp4/mine.txt": b"mine",
    }
    for name, data in strangers.items():

        def prepare_stranger(folder: Path, name=name, data=data) -> list[str]:
            base.write_project(folder / "project")
            (folder / "out" / name).parent.mkdir(parents=True)
            (folder / "out" / name).write_bytes(data)
            return ["editing", "run", "project", "-o", "out"]

        yield Case("command", f"a stranger's {name} in the way", prepare_stranger)

    def other_masks(folder: Path) -> list[str]:
        base.write_project(folder / "project")
        base.write_masks(folder / "out", base.labels(9))
        return ["masks", "clean", "project/masks", "-o", "out", "--grow=1"]

    yield Case("command", "masks of another clip in the way", other_masks)


def _words() -> Iterator[Case]:
    for name, text in TEXT.items():
        for option in ("--prompt", "--region"):

            def prepare(folder: Path, text=text, option=option) -> list[str]:
                base.write_project(folder / "project")
                given = text.replace("\0", "")[:100_000]
                if option == "--prompt":
                    return [*CHECK, f"--prompt={given}"]
                return [
                    "editing",
                    "new",
                    "project/clip.mp4",
                    "-o",
                    "out",
                    "--masks",
                    "project/masks",
                    f"--region=1:{given}=a pig",
                ]

            yield Case("words", f"{option} {name}", prepare, "either")
