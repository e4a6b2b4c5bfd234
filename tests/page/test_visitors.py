"""Many visitors at once, and one whose connection fails: nobody waits for another,
nothing is lost."""

import json
import shutil
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from browser import (
    LONGEST,
    fill_number,
    open_example,
    press_run,
    refine,
    serving,
    wait,
    wait_for_result,
    write,
)
from canvas import LEFT, click
from clicked_regions import CLICKED
from proxy import Proxy

pytestmark = [pytest.mark.full, pytest.mark.browser]
TOKEN = "sessionStorage.getItem('regrain-page')"
GRACE = 60
WAITING = "#queue li strong"
# What is written into the preview over the picture within half a second.
WRITTEN = """() => new Promise((done) => { let count = 0;
  const look = new MutationObserver((found) => (count += found.length));
  const all = { subtree: true, childList: true, characterData: true, attributes: true };
  look.observe(document.querySelector('.rg-coming'), all);
  setTimeout(() => (look.disconnect(), done(count)), 500); })"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page that keeps what a visitor left long enough for a reload on a busy
    machine."""
    yield from serving(tmp_path_factory.mktemp("fake"), REGRAIN_GRACE=str(GRACE))


@pytest.fixture
def network(server):
    """What lies between a browser and the page."""
    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


def begin(server, name: str, *data: object) -> str:
    """Call without a session; the event that tells its outcome."""
    url = f"{server.url}/gradio_api/call/{name}"
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"data": data}).encode(), kind)
    with urllib.request.urlopen(request, timeout=LONGEST) as answer:
        return json.load(answer)["event_id"]


def outcome(server, name: str, event: str) -> str:
    """What a call without a session ended with."""
    with urllib.request.urlopen(
        f"{server.url}/gradio_api/call/{name}/{event}", timeout=LONGEST
    ) as answer:
        return answer.read().decode()


def running(page):
    page.wait_for_selector("text=/step 6 of 12, about/")


def test_twenty_anonymous_posts_leave_the_page_usable(server, page):
    with (server.folder / "examples" / "01_two_discs" / "clip.mkv").open("rb") as clip:
        upload = f"{server.url}/gradio_api/upload"
        (path,) = httpx.post(upload, files={"files": clip}).json()
    video = {"path": path, "meta": {"_type": "gradio.FileData"}}
    with ThreadPoolExecutor(20) as pool, server.hold("editing", 6):
        events = [begin(server, "edit_video", video, CLICKED) for _ in range(20)]
        outcomes = [
            pool.submit(outcome, server, "edit_video", event) for event in events
        ]
        wait(lambda: server.steps()[-1:] == ["editing 6"], "one of them runs")
        # Which three is left to chance: they begin at one time, in threads of their
        # own.
        wait(
            lambda: sum(one.done() for one in outcomes) == 17,
            "all but three end at once",
        )
        kept = [one for one in outcomes if not one.done()]
        refused = [one.result() for one in outcomes if one.done()]
        assert all(
            "You already have 3 runs in progress or waiting" in text for text in refused
        )
        revision = "document.querySelector('.rg-editor').editor.rev"
        before = page.evaluate(revision)
        click(page, LEFT)
        page.wait_for_function(f"{revision} > {before}")
        press_run(page)
        page.wait_for_selector("text=Waiting in the queue")
        page.wait_for_selector(
            "text=/1 run before yours, about/"
        )  # not those that came before it and wait
        page.click("#stop")
        page.wait_for_selector("text=Removed from the queue.")
        page.wait_for_selector("#run:text-is('Run')")
        press_run(page)
        page.wait_for_selector("text=/1 run before yours/")
    wait_for_result(page)
    assert len(kept) == 3
    assert all("error" not in one.result().splitlines()[0] for one in kept)


def test_a_reload_and_back_bring_everything_back(server, open_page):
    page = open_page(server)
    open_example(page, "02_discs_and_lawn")
    page.wait_for_selector("#rg-prompt-2", state="attached")
    page.click("#tabs >> text=Masks")
    click(page, LEFT)
    page.wait_for_selector(".rg-track.rg-due")
    with server.hold("tracking", 4):
        page.click(".rg-track")
        for act in (page.reload, lambda: page.click(".rg-track >> text=Cancel")):
            page.wait_for_selector(".rg-chip:has-text('Tracking frame 4 of 8')")
            page.wait_for_selector(".rg-time-row >> text='4 / 8'")
            act()
        page.wait_for_selector("[data-tracking=false]")
    write(page, "#rg-prompt-0", "a robot")
    page.select_option(".rg-method select", "fresco")
    strength = page.locator("#rg-set-strength")
    fill_number(page, strength, "0.35")
    with server.hold("editing", 6):
        press_run(page)
        running(page)
        page.wait_for_selector(".rg-coming-said:text-is('Preview')")
        # or the page would be laid out sixty times a second, not eight as the clip plays
        assert page.evaluate(WRITTEN) < 10
        for number, prompt in enumerate(("a fox", "a dog", "a cat")):
            write(page, "#rg-prompt-0", prompt)
            page.click("#run >> text='Add to queue'")
            page.wait_for_selector(f"#queue li >> nth={number}")
        write(page, "#rg-prompt-0", "a robot")
        page.click("[aria-label^='Remove from the queue: a cat']")
        page.wait_for_function(f"document.querySelectorAll('{WAITING}').length == 2")
        page.goto("about:blank")
        page.go_back()
        running(page)
        assert [
            text.split()[1] for text in page.locator(WAITING).all_inner_texts()
        ] == [
            "fox",
            "dog",
        ]
    page.wait_for_selector(".rg-run-picture >> nth=2")
    page.wait_for_selector("#run:text-is('Run')")
    wait_for_result(page)
    page.reload()
    wait_for_result(page)
    words = [text.split()[1] for text in page.locator(".rg-run-text").all_inner_texts()]
    assert words == ["dog", "fox", "robot"]
    assert page.input_value("#rg-prompt-0") == "a robot"
    assert (
        page.get_attribute("[data-name='02_discs_and_lawn']", "aria-pressed") == "true"
    )
    assert page.input_value(".rg-method select") == "fresco"
    assert strength.input_value() == "0.35"
    page.wait_for_selector("#run:text-is('Run')")


def test_a_lost_connection_loses_nothing(server, network, open_page):
    page = open_page(network)
    token = page.evaluate(TOKEN)
    with server.hold("editing", 6):
        press_run(page)
        running(page)
        network.cut()
        page.wait_for_selector("text=Connection to the server was lost")
        write(page, "#rg-prompt-0", "a robot, typed meanwhile")
        network.join()
        page.wait_for_selector(
            "text=as you left them", state="attached"
        )  # hidden where the run is shown
        running(page)
        assert page.input_value("#rg-prompt-0") == "a robot, typed meanwhile"
        assert page.evaluate(TOKEN) == token
    wait_for_result(page)


FAULT = "[role=alert] >> text=Something went wrong inside Regrain"


def test_a_fault_is_said_once_also_where_the_page_was_closed_meanwhile(server, page):
    write(page, "#rg-prompt-0", "a crash")
    press_run(page)
    page.wait_for_selector(FAULT)
    page.wait_for_selector("#run:text-is('Run')")
    assert "Traceback" not in page.inner_text("body")
    before = server.steps().count("crashed")
    with server.hold("crash", 1):
        press_run(page)
        page.wait_for_selector("text=Loading the model")
        page.goto("about:blank")
    wait(lambda: server.steps().count("crashed") > before, "it fails")
    page.go_back()
    page.wait_for_selector(FAULT)
    page.reload()
    page.wait_for_function("window.regrain?.restored")
    assert page.input_value("#rg-prompt-0") == "a crash"
    page.wait_for_selector("#run:text-is('Run')")
    page.wait_for_timeout(1000)  # in which it would be said again
    assert page.locator("[role=alert]:visible").count() == 0
    press_run(page)
    page.wait_for_selector(FAULT)


def test_a_duplicated_tab_is_another_visitor(page):
    with page.context.expect_page() as opened:
        page.evaluate("window.open(location.href)")  # with a copy of the storage
    other = opened.value
    other.wait_for_selector(".rg-card")
    other.wait_for_function(f"{TOKEN} != {json.dumps(page.evaluate(TOKEN))}")
    other.close()


def upload(server, page):
    """A clip of one's own."""
    clip = server.folder / "examples" / "01_two_discs" / "clip.mkv"
    page.set_input_files("#upload", shutil.copy(clip, server.folder / "mine.mkv"))


# Whether this page is known as open, and another that is not there.
OPEN_PAGES = """async () => {
  const { href } = document.querySelector("link[rel=modulepreload][href$='/shared/hub.js']");
  const names = await import(href.replace('shared/hub.js', 'head/page_name.js'));
  return [await names.isOpen(names.keptName()), await names.isOpen('nobody')]; }"""


def test_leaving_asks_and_an_own_clip_is_offered_again(server, open_page):
    page = open_page(server)
    page.click("#tabs >> text=Masks")  # a page that nobody touched does not ask
    page.goto(server.url + "?an-example-alone-does-not-ask")
    page.wait_for_function("window.regrain?.restored")
    upload(server, page)
    page.wait_for_function("window.regrain.clip.own")
    assert page.evaluate(OPEN_PAGES) == [True, False], "its clip is offered elsewhere"
    refine(page, "#rg-rest")
    page.fill("#rg-source", "a cat")
    page.wait_for_selector(".rg-prompt >> text=a cat")  # the server knows
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    again = page.context.new_page()
    again.goto(server.url)
    again.wait_for_selector("text=Go on with mine.mkv?")
    again.click(".rg-upload >> text='Go on'")
    again.wait_for_function("window.regrain?.clip?.title === 'mine.mkv'")
    again.wait_for_function("document.querySelector('#rg-source')?.value === 'a cat'")


def test_a_killed_server_leaves_nothing_and_its_visitors_are_told(server, open_page):
    page = open_page(server)
    upload(server, page)
    (left,) = server.temporary.glob("regrain-*")
    wait(lambda: [*left.rglob("mine.mkv")], "it is uploaded")
    server.kill()
    assert left.exists()
    server.start()
    assert not left.exists()
    page.wait_for_selector(
        "#progress [role=alert] >> text=The server was restarted"
    )  # it reloads by itself
    server.stop()
    assert server.process.returncode == 0
