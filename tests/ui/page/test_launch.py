"""How the page starts: behind a company's proxy, and in notebooks."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import gradio as gr
import httpx
import pytest
from browser import ROOT, Server, as_program
from clicked_regions import CLICKED
from gradio_client import handle_file
from other_systems import BARE

from regrain.ui.page import launch as page
from regrain.ui.page.gradio_insides import POLL
from regrain.ui.page.layout import Tools

NOWHERE = "http://127.0.0.1:9"  # no proxy answers there
SOCKS = "socks5://127.0.0.1:9"  # what many programs for proxies set
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("NO_PROXY", "no_proxy", "GRADIO_SERVER_NAME"):
        monkeypatch.setenv(name, "")


def test_this_machine_is_asked_past_a_proxy_and_others_by_it(proxies, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intern.example, 10.0.0.1")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "192.168.1.5")
    page.reach_directly()
    page.reach_directly()
    here = "intern.example,10.0.0.1,localhost,127.0.0.1,::1,192.168.1.5"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == here
    with httpx.Client() as client:

        def way(url):
            return client._transport_for_url(httpx.URL(url))

        for host in ("localhost", "127.0.0.1", "[::1]", "192.168.1.5"):
            assert way(f"http://{host}:7860") is client._transport
        assert way("http://example.com") is not client._transport


# After what `BARE` takes away; the script's folder is where it finds its own modules.
PAGE = """
import runpy, types
import regrain.ui.server.worker as worker

worker.sys = types.SimpleNamespace(platform="win32")  # it asks before it gives way
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.full
def test_the_page_edits_where_unix_is_missing_and_no_proxy_answers(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # for this test, not for the page
    lost = dict.fromkeys(
        [*VARIABLES, *(name.lower() for name in VARIABLES)], NOWHERE
    ) | {"NO_PROXY": "", "no_proxy": "", "ALL_PROXY": SOCKS, "all_proxy": SOCKS}
    python = (sys.executable, "-c", BARE + PAGE)
    fake = [ROOT / "tests" / "fake_app.py", tmp_path]
    server = Server(fake, tmp_path, python=python, **lost)
    try:
        clip = handle_file(server.folder / "examples" / "01_two_discs" / "clip.mkv")
        client = as_program(server.url, download_files=str(tmp_path))
        video, _ = client.predict(clip, CLICKED, api_name="/edit_video")
        with av.open(video) as container:
            assert sum(1 for _ in container.decode(video=0)) == 8
    finally:
        server.stop()


def test_what_a_quick_try_takes_is_loaded_once(monkeypatch):
    called = []
    monkeypatch.setattr(page, "start_thread", lambda work, name: work())
    monkeypatch.setattr(page, "_call", lambda *given: called.append(given))
    page.load_ahead.cache_clear()
    for _ in range(2):
        page.load_ahead("storybook")
    page.load_ahead.cache_clear()
    fast = ("storybook/fast",)
    assert called == [("editing", "load_backbone", "storybook", fast)]


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Launches a page that serves nothing; returns what Gradio was told."""
    told = {}
    monkeypatch.setattr(page, "FOLDER", tmp_path / "held")

    def note(self, **how):
        told.update(how, waits_for_events=self._queue.sleep_when_free)

    monkeypatch.setattr(gr.Blocks, "launch", note)
    monkeypatch.setattr(gr.Blocks, "block_thread", lambda self: told.update(waits=True))
    monkeypatch.setattr(page.signal, "signal", lambda *given: None)
    monkeypatch.setattr(os, "_exit", lambda code: told.update(code=code))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "words.json").write_text("[]")
    (tmp_path / "model" / "defaults.json").write_text("{}")

    def launch():
        nothing = lambda *given, **how: None  # noqa: E731
        tools = Tools(nothing, nothing, nothing)
        page.launch(tools, tmp_path / "none", tmp_path / "model")
        return told

    return launch


def test_gradio_decides_whether_a_link_is_shared(launched):
    told = launched()
    assert told["share"] is None
    assert (told["waits"], told["code"]) == (True, 0)


def test_gradio_is_told_how_to_serve(launched, tmp_path):
    told = launched()
    expected = {
        "ssr_mode": False,
        "prevent_thread_lock": True,
        "footer_links": ["api"],
        "max_threads": page.MAX_THREADS,
        "mcp_server": find_spec("mcp") is not None,
    }
    assert {key: told[key] for key in expected} == expected
    assert Path(told["favicon_path"]).is_file()
    assert told["theme"].to_dict() == page.theme().to_dict()
    (served,) = told["allowed_paths"]
    assert Path(served).parent == tmp_path / "held"
    (middleware,) = told["app_kwargs"]["middleware"]
    assert middleware.cls is page.PageHead


@pytest.mark.parametrize(("on_zero", "guarded"), [(True, False), (False, True)])
def test_the_page_is_served_with_the_real_tools(monkeypatch, on_zero, guarded):
    served = []
    spaces = object() if on_zero else None
    monkeypatch.setattr(page, "launch", lambda *given: served.extend(given))
    monkeypatch.setattr(page.zero_gpu, "package", lambda: spaces)
    monkeypatch.setattr(page.zero_gpu, "lent", lambda tools, by: (tools, by))
    monkeypatch.setattr(page.safety, "wanted", lambda: guarded)
    monkeypatch.setattr(page.safety, "guarded", lambda editor: (editor, "guarded"))
    page.main()
    tools, examples = served
    if on_zero:
        tools, by = tools
        assert by is spaces
    assert tools.edit == ((page.edit, "guarded") if guarded else page.edit)
    assert tools.segment is page.segment
    assert tools.propagate is page.propagate
    assert tools.plan_tuning is page.plan_tuning
    assert tools.load_ahead is page.load_ahead
    assert examples == page.ASSETS / "examples"


@pytest.mark.parametrize(("own", "most"), [(True, None), (False, "400mb")])
def test_ones_own_files_may_have_any_size(launched, monkeypatch, tmp_path, own, most):
    monkeypatch.setattr(page, "_PROJECTS", tmp_path / "projects")
    monkeypatch.setattr(page, "is_own_machine", lambda: own)
    assert launched()["max_file_size"] == most


def test_an_idle_page_hardly_wakes(launched):
    assert launched()["waits_for_events"] == POLL


def test_a_notebook_lives_on(launched, monkeypatch):
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    told = launched()
    assert told["waits"]
    assert "code" not in told
