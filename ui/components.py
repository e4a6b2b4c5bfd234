"""The page's own components: a value that JSON can hold, drawn by a script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


STYLE = _read("page.css") + _read("canvas.css")
_HEADER = _read("header.html")


def view(
    mount: str,
    value: Any = None,
    template: str = "<div></div>",
    scripts: Sequence[str] = ("page.js",),
    **options: Any,
) -> gr.HTML:
    """Make a component drawn by the function `mount` of one of `scripts` from a value; None shows nothing.

    Its template is constant: what a person wrote never becomes markup. No subclass of gr.HTML: gradio would
    write a stub file beside this one.
    """
    return gr.HTML(
        value,
        html_template=template,
        js_on_load=f"{''.join(map(_read, ('base.js', *scripts)))}\n{mount}(element, props, trigger, watch);",
        apply_default_css=False,
        **options,
    )


def header() -> gr.HTML:
    """Name of the page, and the switch between light and dark."""
    return view("mountHeader", template=_HEADER)


def theme() -> Base:
    """Neutral greys, so that colours are judged right; fonts of the system, so that nothing is fetched."""
    return Base(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
    )
