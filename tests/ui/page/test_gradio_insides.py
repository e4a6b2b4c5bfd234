"""What `ui/page/gradio_insides.py` says of Gradio still holds, as far as no browser is
needed.

Each test has the name of an entry. One that fails says that a new Gradio works
otherwise: what the entry was for may have become needless, or no longer works.
"""

from pathlib import Path
from types import SimpleNamespace

import anyio
import gradio as gr
import pytest
from gradio import component_meta
from gradio.blocks import Blocks
from gradio.exceptions import ComponentProcessingError
from gradio.mcp import GradioMCPServer
from gradio.routes import App
from gradio.state_holder import SessionState, StateHolder

from regrain.ui.page.components import view
from regrain.ui.page.first_import import no_interfaces
from regrain.ui.page.gradio_insides import Page, poll_calmly
from regrain.ui.views.shown import HeaderView


@pytest.fixture
def page():
    with Blocks() as page:
        number = gr.Number(0, precision=0)
        number.change(lambda value: value, number, number)
    return page


def test_preprocess_data(page):
    async def give(value):
        return await page.preprocess_data(page.fns[0], [value], None)

    assert anyio.run(give, 2) == [2]
    with pytest.raises(ComponentProcessingError):
        anyio.run(give, "no number")


def test_config_file():
    """What is left out of it is nothing that a program is told."""

    def told(example: str, params: str = "{}") -> str:
        return ""

    sizes = {}
    infos = []
    for kind in (Blocks, Page):
        with kind() as page:
            gr.api(told)
        sizes[kind] = len(str(page.config["components"]))
        infos.append(page.get_api_info())
    assert infos[0] == infos[1]
    assert sizes[Page] < 0.75 * sizes[Blocks]


def test_api_defaults():
    """A program that gives its arguments by place may leave out the last ones, as one
    written before they were added."""

    def told(example: str, params: str = "{}", format: str = "mp4") -> str:
        return ""

    for kind in (Blocks, Page):
        with kind() as page:
            gr.api(told)
        (endpoint,) = page.fns.values()

        async def give(*values, page=page, endpoint=endpoint):
            return await page.preprocess_data(endpoint, [*values], None)

        assert [block.value for block in endpoint.inputs] == [None, "{}", "mp4"]
        assert anyio.run(give, "cat", "{}", "gif") == ["cat", "{}", "gif"]
        if kind is Page:
            assert anyio.run(give, "cat", "{}") == ["cat", "{}", "mp4"]
            assert anyio.run(give, "cat") == ["cat", "{}", "mp4"]
        else:
            with pytest.raises(ValueError, match="didn't receive enough input"):
                anyio.run(give, "cat", "{}")


def test_postprocess_data(page):
    """All answers pass through it, and what it makes of a view is JSON."""
    with Page() as shown:
        part = gr.HTML()
        shown.load(lambda: None, None, part)
    state = SessionState(shown)
    answered = shown.postprocess_data(shown.fns[0], HeaderView(known=True), state)

    async def tell():
        return await answered

    assert anyio.run(tell) == [{"known": True}]


def test_process_api(page):
    async def call():
        return await page.process_api(page.fns[0], ["no number"])

    with pytest.raises(ComponentProcessingError):
        anyio.run(call)


def test_state_holder(page):
    app = App.create_app(page)
    assert isinstance(app.state_holder, StateHolder)
    holder = page.state_holder
    holder["session"]
    assert "session" in holder.session_data
    assert "session" in holder.time_last_used
    assert holder.capacity >= 1000


def test_mcp_server_obj():
    pytest.importorskip("mcp")
    with Page() as page:
        gr.api(lambda: {"a": 1}, api_name="tell")
    assert page.mcp_server_obj is None
    text = SimpleNamespace(TextContent=SimpleNamespace)
    server = SimpleNamespace(types=text, get_svg=lambda output: None)
    (told,) = GradioMCPServer.postprocess_output_data(server, [{"a": True}], "")
    assert told.text == str({"a": True})  # JSON has true


def test_sleep_when_free(page):
    page.queue()
    usual = page._queue.sleep_when_free
    poll_calmly(page)
    assert usual < page._queue.sleep_when_free


def test_html_events():
    told = view("canvas")
    assert told.elem_id == "canvas"
    assert "value" not in told.html_template  # never becomes markup
    assert callable(told.track)
    with pytest.raises(AttributeError):
        _ = told.nothing


def test_interfaces(monkeypatch):
    def render(*given):
        raise LookupError

    monkeypatch.setattr(component_meta, "create_pyi", render)
    about = (gr.Number, "Number", [])
    with no_interfaces():
        component_meta.create_or_modify_pyi(*about)
    with pytest.raises(LookupError):
        component_meta.create_or_modify_pyi(*about)


def test_own_tags():
    template = Path(gr.__file__).parent / "templates" / "frontend" / "index.html"
    assert 'property="og:title" content="Gradio"' in template.read_text()
