"""The page's own components: a value that JSON can hold, drawn by a script."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes import Base

from regrain.ui.page.scripts import IDLE, module_url
from regrain.ui.views.shown import sent

_HEADER = Path(__file__).parents[1] / "header.html"
HEADER = _HEADER.read_text(encoding="utf-8")  # the name of the page
# What each component tells the server; `Events` in `ui/js/types.d.ts` says with which
# data.
EVENTS = {
    "adapters": ("choose", "rename", "export"),
    "addons": ("choose",),
    "canvas": ("act", "hover", "scan", "track", "trim", "save", "export"),
    "cards": ("prompts",),
    "checks": ("look",),
    "control": ("look",),
    "fetch": ("fetch", "stop"),
    "gallery": ("pick", "open"),
    "header": ("here", "offer", "back"),
    "history": ("show", "compare", "remove", "use"),
    "hub_model": ("fetch", "stop", "use"),
    "method": ("choose",),
    "quality": ("choose",),
    "queue": ("remove",),
    "recent": ("list", "open", "delete", "path"),
    "result": ("make",),
    "settings": ("preset", "tuned"),
}


def view(
    script: str, value: object = None, template: str = "<div></div>", elem_id: str = ""
) -> gr.HTML:
    """Make a component drawn from a value by the module `ui/js/SCRIPT.js`; None shows
    nothing. On the page it has the name of its script, unless `elem_id` gives another.

    Its template is constant, so that what a person wrote never becomes markup. It is no
    subclass of gr.HTML, for which Gradio would write a stub file beside this one.
    """
    return gr.HTML(
        sent(value),
        html_template=template,
        js_on_load=_mounting(script),
        apply_default_css=False,
        elem_id=elem_id or script,
    )


def _mounting(script: str) -> str:
    """Return the code that imports a component's module and has it draw.

    Gradio offers an event as a method of the component if the code has its name in
    quotes.
    """
    events = " ".join(f'"{event}"' for event in EVENTS.get(script, ()))
    how = "mountWithValue" if script in IDLE else "mount"
    return (
        f"import({module_url('shared/mounting.js')})\n"
        f'  .then(({{ {how} }}) => {how}("{script}.js", element, props, trigger, watch)); // {events}'
    )


def theme() -> Base:
    """Neutral greys, so that colours are judged right; fonts of the system, so that
    nothing is fetched."""
    return Base(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
    )
