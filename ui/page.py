"""Layout and wiring of the page."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from editing.errors import EditingError
from editing.events import Event, Preview, Progress, Stage
from editing.methods import METHODS
from editing.request import EditRequest
from ui import methods, settings, views
from ui.clips import ACCEPTED, Opened
from ui.components import header, view
from ui.examples import Example
from ui.masking import Discover, Followed, Masking, Propagate
from ui.media import Media
from ui.runs import BUILT_IN, Edit, Runs, Saved, add_api
from ui.session import Segment, Session
from ui.sessions import Sessions
from ui.worker import in_thread

log = logging.getLogger(__name__)
_FAULT = ("This is a fault of Regrain", "it broke; the log says where")
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


@dataclass(frozen=True)
class Parts:
    """The components that events change."""

    gallery: gr.HTML
    upload: gr.UploadButton
    canvas: gr.HTML
    player: gr.HTML
    live: gr.HTML
    result: gr.HTML
    cards: gr.HTML
    prompt: gr.HTML
    notice: gr.HTML
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    download: gr.HTML
    method: gr.HTML
    model: Component
    seed: gr.Number
    controls: settings.Controls


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
                prompt = view("mountPrompt", _prompt(start) if start else None, elem_id="prompt")
                notice = gr.HTML(html_template=_NOTICE, apply_default_css=False, visible=False)
                with gr.Column(elem_classes="rg-run", min_width=0):
                    with gr.Row():
                        run = gr.Button("Run", elem_id="run", variant="primary", scale=3)
                        stop = gr.Button("Stop", elem_id="stop", scale=1, visible=False, min_width=90)
                    progress = view("mountProgress", elem_id="progress")
                with gr.Accordion("Settings", open=False, elem_id="settings", elem_classes="rg-fold"):
                    choices = {"choices": runs.models, "label": "Model", "elem_id": "model"}
                    model = gr.Dropdown(value=BUILT_IN, **choices) if runs.models[1:] else gr.State(BUILT_IN)
                    controls = settings.make_controls(runs.usual, chosen)
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, **_seed(chosen))
                _add_words(runs.words)
        download = view("mountDownload", elem_id="download")
        parts = Parts(
            *(gallery, upload, canvas, player, live, result, cards, prompt, notice),
            *(run, stop, progress, download, method, model, seed, controls),
        )
        sessions = Sessions(first.opened if first else None, media, finder)
        masking = Masking(sessions, tools.segment, tools.propagate, media, tools.discover)
        _wire_masks(runs, masking, parts)
        _wire_runs(runs, masking, parts)
        add_api(runs)

        def forget(request: gr.Request) -> None:
            sessions.forget(_page(request))

        page.unload(forget)
    return page


def _page(request: gr.Request) -> str:
    return request.session_hash or ""


def _prompt(session: Session) -> views.View:
    return views.prompts(session.composed, session.state.regions.values())


def _seed(method: str) -> dict[str, Any]:
    """How the seed's field looks for a method."""
    return {"info": methods.seed_words(method), "interactive": methods.uses(method).seed != "never"}


def _add_words(words: Sequence[str]) -> None:
    count = f"{len(words)} words" if words else "the words of its own small world"
    note = (
        f"The built-in model is small and draws a picture-book world. It knows only {count}; others are "
        "refused by name. Real footage needs a real checkpoint: see the README. Files of this page are "
        "removed when it is closed, or after an hour without use."
    )
    chips = "".join(f"<span>{html.escape(word)}</span>" for word in sorted(words))
    with gr.Accordion("What the built-in model knows", open=False, elem_id="words", elem_classes="rg-fold"):
        gr.HTML(
            html_template=f"<p class='rg-note'>{html.escape(note)}</p><div class='rg-wordlist'>{chips}</div>",
            apply_default_css=False,
        )


_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def _wire_masks(runs: Runs, masking: Masking, parts: Parts) -> None:
    """Connect examples, upload, canvas and cards; all private, the endpoint for programs is another."""
    sessions, p = masking.sessions, parts

    def opened(session: Session, note: str, model: object, name: str | None = None) -> dict[Any, Any]:
        return {
            p.gallery: views.gallery(runs.examples, name),
            p.canvas: views.canvas(session, -1, note),
            p.cards: views.cards(session),
            p.prompt: _prompt(session),
            p.player: None if session.opened.own else views.player(session.opened),
            p.seed: gr.Number(value=session.opened.request.seed, **_seed(session.method)),
            **switched(session.method),
            **p.controls.fill(session.method, runs.usual[session.method] | session.opened.request.params),
            p.notice: gr.HTML(visible=not session.opened.drawn and model == BUILT_IN),
            **dict.fromkeys((p.live, p.result, p.progress)),
        }

    def switched(method: str) -> dict[Any, Any]:
        return {p.method: methods.choice(method), **p.controls.show(method)}

    def switch(event: gr.EventData, request: gr.Request) -> Any:
        try:
            method = runs.method(getattr(event, "name", None))
            session = sessions.get(_page(request))
        except EditingError:
            return {p.method: gr.skip()}
        with session.lock:
            session.method = method
        return {p.prompt: _prompt(session), p.seed: gr.Number(**_seed(method)), **switched(method)}

    def choose(event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        name = getattr(event, "name", None)
        example = runs.example(name)
        session = masking.begin(_page(request), example.opened)
        return opened(session, "", model, str(name))

    def load(request: gr.Request, file: str, model: object) -> dict[Any, Any]:
        return attempt(lambda: masking.upload(_page(request), Path(file)), model)

    def trim(event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        return attempt(lambda: masking.trim(_page(request), event._data or {}), model)

    def attempt(load: Callable[[], tuple[Session, str]], model: object) -> dict[Any, Any]:
        try:
            session, note = load()
        except EditingError as error:
            return {p.canvas: views.lost(f"{error.field}: {error.message}")}
        except Exception:
            log.exception("a clip could not be opened")
            return {p.canvas: views.lost(": ".join(_FAULT))}
        return opened(session, note, model)

    def act(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        shown, session = masking.act(_page(request), event._data or {})
        if session is None:
            return {p.canvas: shown}
        return {p.canvas: shown, p.cards: views.cards(session), p.prompt: _prompt(session)}

    def track(event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        for shown in masking.track(_page(request), event._data or {}):
            yield shown or gr.skip()

    def discover(request: gr.Request, value: object, model: object) -> Iterator[Any]:
        try:
            session = _described(masking, _page(request), value)
            chosen = runs.model(model)
        except EditingError as error:
            yield {p.canvas: views.lost(f"{error.field}: {error.message}")}
            return
        for shown in masking.discover(session, value["have"], chosen):  # type: ignore[index]
            yield {p.canvas: shown} if shown else {p.canvas: gr.skip()}
        yield {p.cards: views.cards(session), p.prompt: _prompt(session)}

    def describe(request: gr.Request, value: object) -> Any:
        try:
            return _prompt(_described(masking, _page(request), value))
        except EditingError:
            return gr.skip()  # said when it is run; while typing it would only disturb

    def save(request: gr.Request, value: object) -> dict[Any, Any]:
        try:
            session = _described(masking, _page(request), value)
            base, method = session.opened.request, session.method
            params = base.params if method == base.method else {}
            asked = session.request(params, method, BUILT_IN, base.seed)
            return {p.download: {"path": str(masking.save(session, asked, _page(request)))}}
        except EditingError as error:
            return {p.progress: views.failed(error.field, error.message)}

    def warn(request: gr.Request, model: object) -> Any:
        try:
            return gr.HTML(visible=not sessions.get(_page(request)).opened.drawn and model == BUILT_IN)
        except EditingError:
            return gr.skip()

    many: dict[str, Any] = {**_QUIET, "trigger_mode": "multiple", "concurrency_limit": None}
    settled = [p.method, p.prompt, p.seed, *p.controls.groups.values()]
    new = [p.gallery, p.canvas, p.cards, p.player, p.notice, p.live, p.result, p.progress]
    new += [*settled, *p.controls.all]
    p.gallery.pick(choose, p.model, new, **many)
    p.upload.upload(load, [p.upload, p.model], new, **_QUIET, concurrency_limit=2)
    p.canvas.trim(trim, p.model, new, **_QUIET, concurrency_limit=2)
    p.canvas.act(act, None, [p.canvas, p.cards, p.prompt], **many)
    p.canvas.track(track, None, p.canvas, **many)
    p.cards.discover(discover, [p.cards, p.model], [p.canvas, p.cards, p.prompt], **many)
    p.cards.prompts(describe, p.cards, p.prompt, **many)
    p.method.choose(switch, None, settled, **_QUIET)
    p.canvas.save(save, p.cards, [p.download, p.progress], **_QUIET)
    p.model.change(warn, p.model, p.notice, **_QUIET)  # type: ignore[attr-defined]


def _described(masking: Masking, page: str, value: object) -> Session:
    """The session of a page, with what its cards say."""
    words = value if isinstance(value, dict) else {}
    session = masking.sessions.get(page)
    with session.lock:
        session.check(words.get("id"), words.get("have"))
        session.describe(words.get("source_prompt"), words.get("regions"), words.get("prompt"))
    return session


def _wire_runs(runs: Runs, masking: Masking, parts: Parts) -> None:
    """Connect what runs, shows and stops an edit."""
    p = parts

    def begin() -> dict[Any, Any]:
        return {
            p.run: gr.Button(interactive=False),
            p.stop: gr.Button(visible=True),
            p.progress: views.waiting(),
            p.live: None,
            p.result: None,
        }

    def work(
        request: gr.Request, value: object, model: object, seed: object, *values: object
    ) -> Iterator[Any]:
        try:
            session = _described(masking, _page(request), value)
            chosen, opened, method = runs.model(model), session.opened, session.method
            if methods.uses(method).regions != "ignored":
                yield from complete(session, value["have"])  # type: ignore[index]
            base = opened.request.params if method == opened.request.method else {}
            usual = runs.usual[method] if chosen == BUILT_IN else {}
            params = p.controls.given(method, values, usual, base)
            with session.lock:
                asked = session.request(params, method, chosen, seed)
            started = False
            with closing(in_thread(lambda: runs.run(asked, _page(request), opened))) as items:
                for item in items:
                    if item is not None and not started:
                        started = True
                        yield {p.player: views.player(opened)}
                    yield show(item, asked, opened)
        except EditingError as error:
            yield {p.progress: views.failed(error.field, error.message), p.live: None}
        except Exception:
            log.exception("a run failed")
            yield {p.progress: views.failed(*_FAULT), p.live: None}

    def complete(session: Session, since: int) -> Iterator[Any]:
        """Track the regions that were drawn and never followed."""
        with session.lock:
            labels, identity = session.to_track(only_untracked=True), session.id
        if not labels:
            return
        with closing(masking.follow(session, labels)) as steps:
            for step in steps:
                with session.lock:
                    if session.id != identity or not isinstance(step, Followed):
                        yield {p.progress: gr.skip()}
                        continue
                    shown = views.canvas(session, since)
                yield {p.canvas: shown, p.progress: views.tracking(*step)}
        yield {p.canvas: views.canvas(session, since)}

    def show(item: Event | Saved | None, asked: EditRequest, opened: Opened) -> Any:
        match item:
            case Stage() | Progress():
                return {p.progress: views.progress(item)}
            case Preview():
                return {p.live: views.live(item, asked.regions)}
            case Saved(finished, files):
                return {
                    p.player: views.player(
                        opened, views.edits(asked, files), files.get("reconstruction.mp4")
                    ),
                    p.result: views.result(finished.result, finished.report, asked, files),
                    p.progress: views.done(finished.report),
                    p.live: None,
                }
        return {p.progress: gr.skip()}

    def ready() -> dict[Any, Any]:
        return {p.run: gr.Button(interactive=True), p.stop: gr.Button(visible=False)}

    began = p.run.click(begin, None, [p.run, p.stop, p.progress, p.live, p.result], queue=False, **_QUIET)
    running = began.then(
        work,
        [p.cards, p.model, p.seed, *p.controls.all],
        [p.canvas, p.player, p.live, p.result, p.progress],
        concurrency_id="edit",
        concurrency_limit=1,
        **_QUIET,
    )
    running.then(ready, None, [p.run, p.stop], queue=False, **_QUIET)
    p.stop.click(views.stopped, p.progress, p.progress, cancels=[running], queue=False, **_QUIET)
