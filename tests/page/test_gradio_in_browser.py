"""What `ui/page/gradio_insides.py` says of Gradio still holds in a real Chromium, each
under its name."""

import json
import urllib.request

import pytest
from browser import unfold

from regrain.ui.page import scripts

pytestmark = [pytest.mark.full, pytest.mark.browser]
COUNTING = """const next = window.requestAnimationFrame.bind(window); window.asked = [];
  window.requestAnimationFrame = (callback) => { asked.push(String(callback)); return next(callback); };"""
FOLLOWED = """async () => {
  const { follow } = await import(document.querySelector("link[href$='/shared/hub.js']").href);
  let told;
  follow({ value: "" }, () => {}, (value) => { told = value; });
  return JSON.stringify(told); }"""

# Selectors of Gradio's elements, by what they are to the page.
ELEMENTS = {
    "the page": ".gradio-container .contain",
    "a component of the page's own": ".html-container",
    "a column": ".rg-columns > .column",
    "a group of fields": ".rg-choices .form",
    "a list": "#model .container .wrap .wrap-inner input[role=combobox]",
    "a list's name": "#model [data-testid=block-info]",
    "the file of an upload button": "input[type=file] ~ #mask-file, :has(> input[type=file]) > #mask-file",
    "the foot": "footer button",
}


# The spinner is let be.
OLD, NEW = "const SPINS = /", "const SPINS = /no such script|^$/; const NOT = /"


@pytest.fixture(scope="module")
def counted(server, browser):
    """A page that counts how often it is asked for a frame."""
    module = "head/gradio_insides.js"
    text = scripts.MODULES[module]
    assert text.count(OLD) == 1
    text = text.replace(OLD, NEW)
    headers = {"content-type": "text/javascript"}
    page = browser.new_page()
    page.route(f"**/{module}", lambda route: route.fulfill(body=text, headers=headers))
    page.add_init_script(COUNTING)
    page.goto(server.url)
    page.wait_for_selector(".rg-card")
    yield page
    page.close()


@pytest.fixture(scope="module")
def opened(shared_page):
    """A page that is only looked at, with its settings open."""
    unfold(shared_page, "#settings")
    return shared_page


def test_client_fetch(opened):
    names = []

    def named(request) -> bool:
        if "/gradio_api/queue/join" in request.url:
            names.append(request.headers.get("x-regrain-page"))
        return names[-1:] != [None] and len(names) > 1

    with opened.expect_request(named):
        for index in (1, 0):
            opened.select_option(".rg-method select", index=index)
    assert len({*names} - {None}) == 1


def test_spinner(counted):
    counted.wait_for_timeout(2000)
    spins = "() => asked.filter((call) => call.includes('performance.now()')).length"
    before = counted.evaluate(spins)
    counted.wait_for_function(f"before => ({spins})() > before + 10", arg=before)


def test_window_config(opened):
    config = opened.evaluate("window.gradio_config")
    assert config["root"].startswith("http")
    assert config["api_prefix"] == "/gradio_api"
    assert opened.evaluate(
        "fetch(gradio_config.root + gradio_config.api_prefix + '/app_id').then(r => r.json())"
    ) == {"app_id": config["app_id"]}


def test_html_empty(opened):
    config = opened.evaluate("window.gradio_config.components")
    live = next(one for one in config if one["props"].get("elem_id") == "live")
    assert live["props"].get("value") is None
    assert opened.evaluate(FOLLOWED) == "null"


def test_api_panel(opened):
    opened.evaluate("document.querySelector('footer button').click()")
    beside = opened.wait_for_selector(".api-docs .backdrop")
    opened.keyboard.press("Escape")
    assert beside.is_visible()
    beside.dispatch_event("click")
    opened.wait_for_selector(".api-docs", state="detached")


@pytest.mark.parametrize("element", ELEMENTS)
def test_elements(opened, element):
    opened.wait_for_selector(ELEMENTS[element], state="attached", timeout=60_000)


def test_head_request(server):
    request = urllib.request.Request(f"{server.url}/", method="HEAD")
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (200, b"")


def test_unknown_session(server):
    before = server.output.read_text().count("Traceback")
    with urllib.request.urlopen(
        f"{server.url}/gradio_api/queue/data?session_hash=nobody"
    ) as answer:
        assert b'"session_not_found":true' in answer.read()
    # which Gradio would end with
    assert server.output.read_text().count("Traceback") == before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("v2/segment", "`data` is not"),
        ("v2/no", "endpoint: '/no'."),
        ("no", "API name: no."),
    ],
)
def test_wrong_calls(server, call, said):
    """A program that calls by hand is told in one line what is wrong."""
    before = server.output.read_text().count("Traceback")
    url = f"{server.url}/gradio_api/call/{call}"
    kind = {"Content-Type": "application/json"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, b'{"data": []}', kind))
    assert said in json.loads(refused.value.read())["error"]
    assert server.output.read_text().count("Traceback") == before
