"""The page in a process of its own, and a real Chromium that looks at it; fixtures for
conftest.py."""

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tiers import NO_CHROMIUM
from warm import Forked

from benchmarks.served import SHARED

ROOT = Path(__file__).parents[1]
# Without windows it takes half the time. An empty name: as on a machine without any.
KINDS = "chromium-headless-shell", "chromium", "chromium-browser"
CHROMIUM = os.environ.get(
    "REGRAIN_CHROMIUM", next(filter(None, map(shutil.which, KINDS)), "")
)


# How many times longer than on an idle machine a test waits before it gives up.
PATIENCE = float(os.environ.get("PATIENCE", 8))
LONGEST = 15 * PATIENCE  # seconds; nothing takes 15 on an idle machine
USUAL = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}
looks = pytest.mark.parametrize(
    "options", [{"color_scheme": "dark"}, PHONE], ids=["dark", "phone"]
)


def skip_without_chromium(items: list[pytest.Item]):
    """Skip tests that open a browser before any page is started for them, unless one is
    required."""
    if (
        not Path(CHROMIUM).is_file()
        and os.environ.get("REGRAIN_REQUIRE_BROWSER") != "1"
    ):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


class Server:
    """A page in a process of its own.

    With `python`, a command, it is started by that; without, it begins with what takes
    long to import, where a process can fork.
    """

    def __init__(self, command, folder: Path, root=ROOT, python=(), **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.output = folder / "output.txt"
        variables = {
            "GRADIO_SERVER_PORT": str(port),
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            # Where nothing is kept, as on a Space; tests of projects give a folder.
            "HF_HUB_OFFLINE": "1",
            "REGRAIN_PROJECTS": "",
        }
        command = [*map(str, command)]
        if python or sys.platform != "linux":
            command = [*(python or [sys.executable]), *command]
            start = partial(subprocess.Popen, command, stderr=subprocess.STDOUT)
        else:
            start = partial(Forked, command)
        variables = os.environ | variables | environment
        self._start = partial(start, cwd=root, env=variables)
        self.start()

    def start(self):
        """Begin, or begin anew after an end."""
        with self.output.open("a") as output:
            self.process = self._start(stdout=output)
        try:
            wait(
                lambda: self.process.poll() is not None or self.get("/")[0] == 200,
                "the page is up",
            )
        except BaseException:
            self.kill()  # nobody else has it
            raise
        assert self.process.poll() is None, self.output.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=LONGEST) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except OSError:
            return 0, b""

    def steps(self) -> list[str]:
        """What the made-up editor did so far."""
        log = self.folder / "steps.log"
        return log.read_text().splitlines() if log.is_file() else []

    @contextmanager
    def hold(self, place: str, at: int):
        """Keep the made-up editor at a step of "inverting" or "editing", or the tracker
        before a frame."""
        file = self.folder / f"hold_{place}"
        told = self.folder / "hold"
        told.write_text(f"{at} {time.monotonic_ns()}")  # each is another, see `held`
        told.replace(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)  # one within another moves on

    @contextmanager
    def closes(self):
        """Wait until what is done has closed the made-up editor."""
        before = self.steps().count("closed")
        yield
        wait(lambda: self.steps().count("closed") > before, "the editor is closed")

    def media(self) -> list[Path]:
        """The folders of open pages."""
        return list(self.temporary.glob("regrain-*/media/pages/*"))

    def kill(self):
        """End at once, as when the power goes."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LONGEST)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LONGEST)


def as_program(url: str, **how):
    """Return a program's connection to a page, `how` as of Gradio's client, which by
    itself gives up after 5 s in which a busy machine does not answer."""
    from gradio_client import Client

    patient = {"timeout": LONGEST}
    return Client(url, verbose=False, httpx_kwargs=patient, **how)


def wait(ready, what: str):
    """Wait for something."""
    end = time.monotonic() + LONGEST
    while not ready():
        assert time.monotonic() < end, f"not within {LONGEST} s: {what}"
        time.sleep(0.05)


def serving(folder: Path, **environment):
    """A page with a made-up editor, for a fixture."""
    server = Server([ROOT / "tests" / "fake_app.py", folder], folder, **environment)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The page with a made-up editor, shared by all tests; what one session does,
    another does not see."""
    folder = tmp_path_factory.mktemp("fake")
    # Who leaves is noticed by the next heartbeat, not within 15 s.
    yield from serving(folder, REGRAIN_GRACE="5", GRADIO_HEARTBEAT_INTERVAL="1")
    assert list(folder.glob("tmp/regrain-*")) == [], (
        "the media folder outlived the page"
    )


@pytest.fixture(scope="session")
def real_server(tmp_path_factory):
    """The page as it is, with the built-in model."""
    server = Server([ROOT / "app.py"], tmp_path_factory.mktemp("real"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium_there():
    """Skips a test on a machine without Chromium; fails it where one is required."""
    if not CHROMIUM:
        assert os.environ.get("REGRAIN_REQUIRE_BROWSER") != "1", (
            f"none of {KINDS} is on the PATH"
        )
        pytest.skip(NO_CHROMIUM)


@pytest.fixture(scope="session")
def _chromium(chromium_there):
    """A Chromium, and the loop of who controls it, which only seems to run while tests
    have a browser: other tests run loops of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        how = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=how)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture(scope="module")
def browser(_chromium):
    browser, loop = _chromium
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


class Contexts:
    """The contexts of a browser, each of one visitor at a time. A page opens in three
    quarters of the time where another has fetched its scripts before."""

    def __init__(self, browser):
        self._browser = browser
        self._known: dict[str, list] = {}  # by their options

    def free(self, **options):
        """One without pages."""
        known = self._known.setdefault(json.dumps(options, sort_keys=True), [])
        for context in known:
            if not context.pages:
                return context
        context = self._browser.new_context(**options)
        context.add_init_script(SHARED)
        context.on("close", lambda gone: known.remove(gone))  # noqa: PLW0108
        known.append(context)
        return context


@pytest.fixture(scope="session")
def _contexts(_chromium):
    browser, _ = _chromium
    return Contexts(browser)


def _forget(page, server: Server):
    """Have a browser forget what pages of a server kept in it."""
    kinds = {"origin": server.url, "storageTypes": "cookies,local_storage"}
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", kinds)
    session.detach()


def _answer(dialog, faults):
    """Leaving is allowed; nothing else may ask."""
    if dialog.type == "beforeunload":
        dialog.accept()
    else:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()


PREVIEW = ".rg-coming:not([hidden]) img[src]"  # of a run that goes on
# An empty page keeps nothing.
OPENED = "location.protocol === 'about:' || localStorage.setItem('regrain-how', 'true')"


@contextmanager
def _opening(contexts: Contexts):
    """Open pages; at the end nothing may have gone wrong in them, nor may they have
    asked another host."""
    used = []
    faults = []

    def open_page(server: Server, settings=True, script="", **options):
        """A page; with `settings` as of a visitor who has opened them before; a script
        runs before its own."""
        context = contexts.free(**USUAL | options)
        used.append(context)
        page = context.new_page()
        _forget(page, server)
        for before in (OPENED if settings else "", script):
            page.add_init_script(before)
        page.set_default_timeout(1000 * LONGEST)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda line: "js_on_load" in line.text and faults.append(line.text),
        )
        page.on("dialog", lambda dialog: _answer(dialog, faults))
        own = (server.url, "data:", "blob:")
        page.on(
            "request",
            lambda request: request.url.startswith(own) or faults.append(request.url),
        )
        page.goto(server.url)
        page.wait_for_selector(".rg-card")
        # until then, what a page had is put back
        page.wait_for_function("window.regrain.restored")
        return page

    yield open_page
    for page in [page for context in used for page in context.pages]:
        page.close()
    assert not faults, faults


@pytest.fixture
def open_page(browser, _contexts):
    """Open a page of one's own."""
    with _opening(_contexts) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def shared_page(browser, _contexts, server):
    """A page that the tests of a module share."""
    with _opening(_contexts) as open_page:
        yield open_page(server)


@pytest.fixture
def page(shared_page):
    """The shared page with the first example as it comes; results of earlier tests stay
    in its list."""
    before = shared_page.evaluate("window.regrain.editor.id")
    open_example(shared_page, "01_two_discs")
    opened = (
        "id => (e => e.id !== id && e.loaded === e.clip.count)(window.regrain.editor)"
    )
    shared_page.wait_for_function(opened, arg=before)
    shared_page.click("#tabs >> text=Masks")
    shared_page.evaluate(THIS_FRAME)
    shared_page.keyboard.press("Escape")  # the tool that points
    shared_page.keyboard.press("1")
    shared_page.evaluate("window.regrain.editor.parts.bubble.close()")
    shared_page.evaluate("window.regrain.editor.hide = false; scrollTo(0, 0)")
    yield shared_page
    shared_page.evaluate(PAUSED)  # they take a fifth of a core beside other tests


# What may be pressed or written into in the window; the picture itself, whether clicked
# or wiped, is none of it.
CONTROLS = """() => { const kinds = 'button, a[href], input, select, textarea, summary, [role=slider]';
  const seen = (node) => { const box = node.getBoundingClientRect();
    return box.width && box.height && box.bottom > 0 && box.top < innerHeight && box.right > 0 &&
      box.left < innerWidth && node.checkVisibility({ visibilityProperty: true }); };
  return [...document.querySelectorAll(kinds)].filter((node) => seen(node) && !node.matches('.rg-wipe'))
    .map((node) => node.ariaLabel || node.innerText || node.id); }"""
PAUSED = "document.querySelectorAll('video').forEach((one) => one.pause())"
THIS_FRAME = """[...document.querySelectorAll('.rg-mask-tools button')]
  .find((one) => one.textContent === 'This frame').click()"""
OPEN_CARD = """(field) => { const words = document.querySelector(field).closest('.rg-card-words');
  const card = words && document.querySelector(`.rg-card[data-label='${words.dataset.label}']`);
  if (card?.querySelector('.rg-card-body').hidden && card.contains(words))
    card.querySelector('.rg-card-line').click(); }"""


def open_example(page, name: str):
    """Choose an example from the menu of clips."""
    if not page.is_visible(f"[data-name='{name}']"):
        page.click(".rg-opener")
    page.click(f"[data-name='{name}']")


def open_card(page, label: int):
    """Open the card of a region, unless it is open."""
    card = f".rg-card[data-label='{label}']"
    page.wait_for_selector(card)
    if page.is_hidden(f"{card} .rg-card-body"):
        page.click(f"{card} .rg-card-line")


def write(page, field: str, text: str):
    """Write into a field of a region, which stands at its mask or in its card."""
    page.wait_for_selector(field, state="attached")
    page.evaluate(OPEN_CARD, field)
    page.fill(field, text)


def refine(page, *selectors: str):
    """Press things of the Refine menu, and close it."""
    open_refine(page)
    for selector in selectors:
        page.click(f".rg-mask-tools {selector}")
    page.click(".rg-refine")


def open_refine(page):
    """Open the Refine menu, unless it is open."""
    if page.is_hidden(".rg-mask-tools"):
        page.click(".rg-refine")


def choose_in_menu(page, text: str):
    """Choose from the menu of the clip: Frames, Save, Keys."""
    page.click(".rg-clip-menu")
    page.click(f".rg-clip-tools >> text={text}")


def press_run(page):
    """Press Run; where the model draws nonsense, ask for it all the same."""
    page.click(".rg-anyway" if page.is_visible(".rg-anyway") else "#run")


def unfold(page, *folds: str):
    """Open a fold, and others within it, unless they are open."""
    for fold in folds:
        head = ".rg-how[aria-expanded=false]"
        if fold != "#settings":
            head = f"{fold}:not([open]) > summary"
        page.wait_for_selector(fold, state="attached")
        heads = page.locator(head)
        heads.evaluate_all("heads => heads.forEach(head => head.click())")


def plays(page, name: str) -> bool:
    ready = "v.readyState >= 2 && v.videoWidth > 0 && !v.paused && v.muted && v.loop && v.playsInline"
    return page.evaluate(
        f"(v => Boolean(v && {ready}))(document.querySelector('video.{name}'))"
    )


def overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def prompt(page) -> str:
    return " ".join(page.inner_text(".rg-prompt").split())


def pixel_of(canvas, x: float, y: float) -> list[int]:
    """Colour at shares of the sides."""
    read = f"c => [...c.getContext('2d').getImageData({x} * c.width, {y} * c.height, 1, 1).data]"
    return canvas.evaluate(read)


def report(page) -> dict:
    """The report of the result that is shown."""
    return page.eval_on_selector(
        "[data-file='report.json']", "link => fetch(link.href).then(r => r.json())"
    )


def saved(page, act, folder: Path) -> Path:
    """The file that is downloaded when something is pressed."""
    with page.expect_download() as download:
        act()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def project_of(page, folder: Path) -> dict:
    """project.json, as Save writes it."""
    file = saved(page, lambda: choose_in_menu(page, "Save"), folder)
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("project.json"))


def choose_model(page, name: str):
    page.click("#model input")
    page.get_by_role("option", name=name).click()


def fill_number(page, field, text: str):
    """Type into the number of a slider; one just mounted may still put its first value
    in."""

    def stays() -> bool:
        field.fill(text)
        page.wait_for_timeout(300)
        return field.input_value() == text

    wait(stays, "the slider takes the number")
    page.keyboard.press("Tab")


def fill_until(page, field, text: str, taken):
    """Type until the page has taken it: what is typed while it settles can be lost."""

    def typed() -> bool:
        for given in ("", text):
            field.fill(given)
        end = time.monotonic() + 5
        while not taken() and time.monotonic() < end:
            page.wait_for_timeout(50)
        return taken()

    wait(typed, f"{text} is taken")


def run(page):
    """Press Run, and wait for the result."""
    press_run(page)
    wait_for_result(page)


def run_own(server: Server, open_page):
    """A page that shows a result, and the folder of its files."""
    others = set(server.media())
    page = open_page(server)
    run(page)
    (own,) = set(server.media()) - others
    return page, own


def press(page, *keys: str):
    for key in keys:
        page.keyboard.press(key)


def drop(page, *files: Path, kind: str = "drop"):
    """Drop files on the page, or do something else with them that is dragged."""
    script = """([files, kind]) => { const dataTransfer = new DataTransfer();
      for (const [name, text] of files)
        dataTransfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
      document.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true })); }"""
    given = [
        [file.name, base64.b64encode(file.read_bytes()).decode()] for file in files
    ]
    page.evaluate(script, [given, kind])


def drag(page, *places, steps: int = 6):
    """Press the mouse at the first place, and take it over the others."""
    page.mouse.move(*places[0])
    page.mouse.down()
    for at in places[1:]:
        page.mouse.move(*at, steps=steps)
    page.mouse.up()


# The server has answered the last press of Run, and the run is over: an older result
# stays in sight meanwhile.
ENDED = """() => !document.querySelector('#run.rg-asked') &&
  document.querySelector('.rg-progress[data-state=done]:not([hidden]), [role=alert]')"""


def wait_for_result(page):
    page.wait_for_function(ENDED)
    assert page.query_selector("[role=alert]") is None, page.inner_text("[role=alert]")
    wait(lambda: plays(page, "edited") and plays(page, "source"), "both videos play")
