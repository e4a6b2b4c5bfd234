"""The page's scripts and its style sheet: ES modules below `ui/js`, which browsers import
from one address.

The address holds a version made of what all of them say, so that a browser never mixes
those of two versions and may keep each for good.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "js"
FIRST = "head/first.js"  # runs before Gradio's own
# Components that do nothing until they have a value, which they have not at first.
IDLE = {"history", "live", "losses", "notice", "queue", "takes"}
# Components inside folds, which Gradio makes when a fold is opened.
_IN_FOLDS = {"adapters", "addons", "control", "variants", "vocabulary"}
# comments that only tools read
_TYPES = re.compile(r"^ */\*\*.*?\*/\n", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r'^import [^;]*? from "(\.[^"]+)";', re.MULTILINE)


def _read_modules() -> dict[str, str]:
    """Return the text of each module by its path below the folder, without types, on
    the same lines."""
    texts: dict[str, str] = {}
    for path in sorted(FOLDER.rglob("*.js")):
        name = path.relative_to(FOLDER).as_posix()
        text = path.read_text(encoding="utf-8")
        texts[name] = _TYPES.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    return texts


def version_of(texts: dict[str, str]) -> str:
    """Return a name of what modules say, another for every other text."""
    said = json.dumps(texts).encode()
    return hashlib.sha256(said).hexdigest()[:12]


MODULES = _read_modules()
STYLE = "page.css"  # all sheets in one, which the first script takes
_SHEETS = (FOLDER.parent / f"{name}.css" for name in ("page", "canvas", "results"))
FILES = {
    **MODULES,
    STYLE: "".join(sheet.read_text(encoding="utf-8") for sheet in _SHEETS),
}
"""All that is served, by its path."""
COMPONENTS = sorted(name.removesuffix(".js") for name in MODULES if "/" not in name)
ADDRESS = f"/regrain/js/{version_of(FILES)}/"  # below the app's own


def module_url(name: str) -> str:
    """Return an expression of JavaScript for the address of a module, which Gradio's
    configuration begins."""
    return f'window.gradio_config.root + "{ADDRESS}{name}"'


def calling(name: str, function: str) -> str:
    """Return a function of JavaScript that calls one that a module exports, by the path of
    the module below `ui/js`."""
    return (
        f"async (...given) => (await import({module_url(name)})).{function}(...given)"
    )


@cache  # a page is opened often
def with_imports(name: str) -> tuple[str, ...]:
    """Return a module after all that it imports, itself or through others, each
    once."""
    found: list[str] = []
    folder = (FOLDER / name).parent
    for relative in _IMPORT.findall(MODULES[name]):
        imported = (
            (folder / relative).resolve().relative_to(FOLDER.resolve()).as_posix()
        )
        found += [one for one in with_imports(imported) if one not in found]
    return *found, name


def first_modules() -> list[str]:
    """Return the modules that the page needs as it opens."""
    components = [f"{name}.js" for name in COMPONENTS if name not in IDLE | _IN_FOLDS]
    entries = [FIRST, "shared/mounting.js", "shared/calls.js", *components]
    needed = dict.fromkeys(one for entry in entries for one in with_imports(entry))
    return [*needed]
