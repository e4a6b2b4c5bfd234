"""The page's own components: a value that JSON can hold, drawn by a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base

_HERE = Path(__file__).parents[1]
_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


STYLE = _read("page.css") + _read("canvas.css") + _read("results.css")
HEADER = _read("header.html")  # name of the page, and the switch between light and dark


def modules(entry: Path) -> list[Path]:
    """A script and all it imports, each once and after what it imports itself."""
    found: list[Path] = []
    for name in _IMPORT.findall(entry.read_text(encoding="utf-8")):
        found += [path for path in modules((entry.parent / name).resolve()) if path not in found]
    return [*found, entry]


def bundle(script: str) -> str:
    """A script of the folder `js` and all it imports as one piece of code, which a component can carry.

    Names at the top of the modules share one scope, so no two modules of a bundle may have the same.
    """
    texts = (path.read_text(encoding="utf-8") for path in modules(_HERE / "js" / f"{script}.js"))
    return "\n".join(
        re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE) for text in texts
    )


def view(script: str, value: Any = None, template: str = "<div></div>", **options: Any) -> gr.HTML:
    """Make a component drawn by the function `mount` of a script from a value; None shows nothing.

    Its template is constant: what a person wrote never becomes markup. No subclass of gr.HTML: gradio would
    write a stub file beside this one.
    """
    return gr.HTML(
        value,
        html_template=template,
        js_on_load=f"{bundle(script)}\nmount(element, props, trigger, watch);",
        apply_default_css=False,
        **options,
    )


def theme() -> Base:
    """Neutral greys, so that colours are judged right; fonts of the system, so that nothing is fetched."""
    return Base(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
    )
