"""The page's own components: a value that JSON can hold, drawn by page.js."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_LOGO = """
<svg viewBox="0 0 30 30" aria-hidden="true">
  <g fill="currentColor" opacity=".28"><rect x="1" y="1" width="8" height="8" rx="2"/><rect x="21" y="1" width="8" height="8" rx="2"/>
  <rect x="1" y="11" width="8" height="8" rx="2"/><rect x="11" y="21" width="8" height="8" rx="2"/><rect x="1" y="21" width="8" height="8" rx="2"/></g>
  <rect x="11" y="1" width="8" height="8" rx="2" fill="#e8a317"/><rect x="11" y="11" width="8" height="8" rx="2" fill="#d9531e"/>
  <rect x="21" y="11" width="8" height="8" rx="2" fill="#d9531e"/><rect x="21" y="21" width="8" height="8" rx="2" fill="#2f7fb5"/>
</svg>"""
_HEADER = f"""
<header class="rg-head">{_LOGO}<div><h1>Regrain</h1><p>Edit each thing in a clip with its own words.</p></div>
<button type="button" class="rg-tool">Dark</button></header>"""

from gradio.events import Dependency

class View(gr.HTML):
    """A component drawn by the function `mount` of page.js from a value; None shows nothing.

    Its template is constant: what a person wrote never becomes markup.
    """

    def __init__(self, mount: str, value: Any = None, template: str = "<div></div>", **options: Any) -> None:
        super().__init__(
            value,
            html_template=template,
            js_on_load=f"{_SCRIPT}\n{mount}(element, props, trigger, watch);",
            apply_default_css=False,
            **options,
        )

    def api_info(self) -> dict[str, Any]:
        """Any JSON value."""
        return {"type": "object"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


def header() -> View:
    """Name of the page, and the switch between light and dark."""
    return View("mountHeader", template=_HEADER)


def theme() -> gr.themes.Base:
    """Neutral greys, so that colours are judged right; fonts of the system, so that nothing is fetched."""
    return gr.themes.Base(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
    )