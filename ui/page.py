"""Layout and wiring of the page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from editing.registry import METHODS
from ui import methods, settings, views
from ui.clips import ACCEPTED
from ui.components import header, view
from ui.examples import Example
from ui.handlers import MaskHandlers, Parts, RunHandlers, composed, page_of, seed_field
from ui.masking import Discover, Masking, Propagate
from ui.media import Media
from ui.runs import BUILT_IN, Edit, Runs, add_api
from ui.session import Segment, Session
from ui.sessions import Sessions

_NOTICE = (
    "<p class='rg-notice'><strong>The built-in model cannot edit this clip.</strong> It has only ever seen "
    "its own picture-book world; whatever it draws here means nothing. Regions and tracking work as they "
    "should. For a real edit, put a Stable Diffusion checkpoint into the folder that $REGRAIN_MODELS names "
    "and choose it under Settings, or save the project and run it elsewhere with --model.</p>"
)


@dataclass(frozen=True)
class Tools:
    """The heavy work behind the page.

    Attributes:
        edit: Runs a request.
        segment: As `masks.segment`; fast when called again for the same frame.
        propagate: See `Masking`.
        discover: See `Masking`; None where nothing can be found without masks.
        remark: What a user should know about how clicks are answered; None where SAM answers them.
    """

    edit: Edit
    segment: Segment
    propagate: Propagate
    discover: Discover | None = None
    remark: str | None = None


def build(tools: Tools, examples: Mapping[str, Example], media: Media, model_folder: Path) -> gr.Blocks:
    """Make the page.

    Args:
        tools: What edits, segments and tracks; called in threads.
        examples: By name, in the order shown; may be empty.
        media: The one folder that may be served.
        model_folder: The built-in model's.
    """
    runs = Runs(tools.edit, examples, media, model_folder)
    first = next(iter(examples.values()), None)
    finder = "grabcut" if tools.remark else "sam"
    start = Session(first.opened, finder) if first else None
    shown = views.canvas(start) if start else None
    chosen = start.method if start else next(iter(METHODS))
    usual = {name: runs.values(name, BUILT_IN, {}) for name in METHODS}
    with gr.Blocks(title="Regrain", analytics_enabled=False, fill_width=True) as page:
        header()
        gallery = view(
            "mountGallery", views.gallery(examples, next(iter(examples), None)), elem_id="examples"
        )
        upload = gr.UploadButton("Open", file_types=ACCEPTED, elem_id="upload", visible="hidden")
        with gr.Row(elem_classes="rg-columns"):
            with gr.Column(scale=8, min_width=340):
                view("mountTabs", elem_id="tabs")
                canvas = view(
                    "mountCanvas", shown, scripts=("paint.js", "timeline.js", "canvas.js"), elem_id="canvas"
                )
                if tools.remark:
                    gr.HTML(f"<p class='rg-remark'>{html.escape(tools.remark)}</p>", apply_default_css=False)
                player = view("mountPlayer", views.player(start.opened) if start else None, elem_id="player")
                live = view("mountLive", elem_id="live")
                result = view("mountResult", elem_id="result")
            with gr.Column(scale=5, min_width=320):
                cards = view(
                    "mountCards",
                    views.cards(start) if start else None,
                    scripts=("cards.js",),
                    elem_id="cards",
                )
                method = view("mountMethod", methods.choice(chosen), elem_id="method")
                prompt = view("mountPrompt", composed(start) if start else None, elem_id="prompt")
                notice = gr.HTML(html_template=_NOTICE, apply_default_css=False, visible=False)
                with gr.Column(elem_classes="rg-run", min_width=0):
                    with gr.Row():
                        run = gr.Button("Run", elem_id="run", variant="primary", scale=3)
                        stop = gr.Button("Stop", elem_id="stop", scale=1, visible=False, min_width=90)
                    progress = view("mountProgress", elem_id="progress")
                with gr.Accordion("Settings", open=False, elem_id="settings", elem_classes="rg-fold"):
                    choices = {"choices": runs.models, "label": "Model", "elem_id": "model"}
                    model = gr.Dropdown(value=BUILT_IN, **choices) if runs.models[1:] else gr.State(BUILT_IN)
                    loras = _choose_loras(runs.loras)
                    controls = settings.make_controls(usual, chosen)
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, **seed_field(chosen))
                _add_words(runs.words)
        download = view("mountDownload", elem_id="download")
        parts = Parts(
            *(gallery, upload, canvas, player, live, result, cards, prompt, notice),
            *(run, stop, progress, download, method, model, loras, seed, controls),
        )
        sessions = Sessions(first.opened if first else None, media, finder)
        masking = Masking(sessions, tools.segment, tools.propagate, media, tools.discover)
        _wire(MaskHandlers(runs, masking, parts), RunHandlers(runs, masking, parts))
        add_api(runs)

        def forget(request: gr.Request) -> None:
            sessions.leave(page_of(request))

        page.unload(forget)
    return page


def _choose_loras(known: Sequence[str]) -> Component:
    """Files added to the model, NAME@WEIGHT; where there is none, nothing to choose."""
    if not known:
        return gr.State([])
    info = "Added to the model's weights. How much: type NAME@WEIGHT, such as 0.7."
    return gr.Dropdown(
        list(known), multiselect=True, allow_custom_value=True, label="LoRA", info=info, elem_id="loras"
    )


def _add_words(words: Sequence[str]) -> None:
    count = f"{len(words)} words" if words else "the words of its own small world"
    note = (
        f"The built-in model is small and draws a picture-book world. It knows only {count}; others are "
        "refused by name. Real footage needs a real checkpoint: see the README. Files of this page are "
        "removed half a minute after it is closed, or after an hour without use; what an inversion computed "
        "stays in the cache of whoever serves the page."
    )
    chips = "".join(f"<span>{html.escape(word)}</span>" for word in sorted(words))
    with gr.Accordion("What the built-in model knows", open=False, elem_id="words", elem_classes="rg-fold"):
        gr.HTML(
            html_template=f"<p class='rg-note'>{html.escape(note)}</p><div class='rg-wordlist'>{chips}</div>",
            apply_default_css=False,
        )


_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def _wire(masks: MaskHandlers, runs: RunHandlers) -> None:
    """Connect events and what answers them; all private, the endpoint for programs is another."""
    p = masks.parts
    many: dict[str, Any] = {**_QUIET, "trigger_mode": "multiple", "concurrency_limit": None}
    settled = [p.method, p.prompt, p.seed, *p.controls.groups.values()]
    new = [p.gallery, p.canvas, p.cards, p.player, p.notice, p.live, p.result, p.progress]
    new += [*settled, *p.controls.all]
    p.gallery.pick(masks.choose, p.model, new, **many)
    p.upload.upload(masks.load, [p.upload, p.model], new, **_QUIET, concurrency_limit=2)
    p.canvas.trim(masks.trim, p.model, new, **_QUIET, concurrency_limit=2)
    p.canvas.act(masks.act, None, [p.canvas, p.cards, p.prompt], **many)
    p.canvas.track(masks.track, None, p.canvas, **many)
    p.cards.discover(masks.discover, [p.cards, p.model], [p.canvas, p.cards, p.prompt], **many)
    p.cards.prompts(masks.describe, p.cards, p.prompt, **many)
    p.method.choose(masks.switch, None, settled, **_QUIET)
    asked = [p.cards, p.model, p.loras, p.seed, *p.controls.all]
    p.canvas.save(masks.save, asked, [p.download, p.progress], **_QUIET)
    p.model.change(masks.choose_model, p.model, [p.notice, *p.controls.all], **_QUIET)  # type: ignore[attr-defined]
    for method, fields in p.controls.fields.items():
        if preset := fields.get("preset"):
            shown = [*fields.values(), p.progress]
            preset.input(masks.choose_preset(method), [preset, p.model], shown, **_QUIET)  # type: ignore[attr-defined]

    began = p.run.click(
        runs.begin, None, [p.run, p.stop, p.progress, p.live, p.result], queue=False, **_QUIET
    )
    running = began.then(
        runs.work,
        asked,
        [p.canvas, p.player, p.live, p.result, p.progress],
        concurrency_id="edit",
        concurrency_limit=1,
        **_QUIET,
    )
    running.then(runs.ready, p.cards, [p.run, p.stop, p.canvas], queue=False, **_QUIET)
    p.stop.click(views.stopped, p.progress, p.progress, cancels=[running], queue=False, **_QUIET)
