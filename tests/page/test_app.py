"""The page in a real Chromium; most tests with a made-up editor, the last ones with the built-in model."""

import io
import json
import re

import av
import pytest
from browser import ROOT, overflow, plays, prompt, wait, wait_for_result
from PIL import Image

MODEL = ROOT / "assets" / "storybook"
ANIMALS = ROOT / "assets" / "examples" / "01_two_animals"
built_in = pytest.mark.skipif(
    not ((MODEL / "unet").is_dir() and ANIMALS.is_dir()),
    reason="the built-in model or its example is not here",
)


def set_steps(page, steps: str):
    """Open the settings and type; a slider just mounted may still put its first value in."""
    page.click("#settings button")
    field = page.locator("#settings input[type=number]").first

    def stays() -> bool:
        field.fill(steps)
        page.wait_for_timeout(150)
        return field.input_value() == steps

    wait(stays, 60, "the slider takes the number")
    page.keyboard.press("Tab")


# Without a browser


def test_public_endpoints(server):
    info = json.loads(server.get("/gradio_api/info")[1])
    named = ["edit_video", "edit_example", "track", "segment", "list_methods", "list_models"]
    assert list(info["named_endpoints"]) == [f"/{name}" for name in named]
    assert info["unnamed_endpoints"] == {}


def test_what_is_shared_of_the_page_is_its_own(server):
    page = server.get("/")[1].decode()
    assert "<title>Regrain</title>" in page
    assert re.findall(r'property="og:title" content="([^"]*)"', page) == ["Regrain"]
    (picture,) = re.findall(r'property="og:image" content="([^"]*)"', page)
    assert picture.startswith(server.url)
    status, content = server.get(picture.removeprefix(server.url))
    assert status == 200
    assert len(content) <= 30_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.size == (600, 315)  # the least for a large card
    favicon = server.get("/favicon.ico")[1]
    assert favicon == (ROOT / "ui" / "favicon.svg").read_bytes()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(ROOT / "requirements.txt"), str(ROOT / "ui" / "page.py")]
)
def test_no_file_but_media_is_served(server, path):
    assert server.get(f"/gradio_api/file={path}")[0] == 403


def test_endpoint_edits_an_example(server, tmp_path):
    from gradio_client import Client

    client = Client(server.url, download_files=str(tmp_path), verbose=False)
    video, report = client.predict(
        "01_two_discs",
        json.dumps({"left disc": "a robot"}),
        json.dumps({"steps": 4}),
        api_name="/edit_example",
    )
    with av.open(video["path"] if isinstance(video, dict) else video) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 8
    assert report["prompt_used"] == "a robot and a fox walk on the grass"
    assert report["params"]["steps"] == {"value": 4}
    assert report["request"]["clip"]["file"] == "clip.mp4"  # as `path`, the client would want to download it


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("03_nothing", "{}", "{}"), "example: '03_nothing'"),
        (("01_two_discs", '{"middle": "a fox"}', "{}"), "prompts: Region 'middle'"),
        (("01_two_discs", "[]", "{}"), "prompts: Expected an object"),
        (("01_two_discs", "{", "{}"), "prompts: The text is not JSON"),
        (("01_two_discs", '{"left disc": 3}', "{}"), "regions.left disc.prompt"),
        (("01_two_discs", '{"left disc": "' + "x" * 1100 + '"}', "{}"), "1100 characters"),
        (("01_two_discs", "{}", '{"steps": 0}'), "params.steps"),
        (("01_two_discs", "{}", '{"guidance_scale": NaN}'), "params.guidance_scale"),
        (("01_two_discs", '{"left disc": "a unicorn"}', "{}"), "Did you mean 'robot'?"),
    ],
)
def test_endpoint_refuses_by_name(server, given, said):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server.url, verbose=False)
    with pytest.raises(AppError) as error:
        client.predict(*given, api_name="/edit_example")
    assert said in str(error.value)


# With a browser


@pytest.mark.browser
def test_choose_an_example(server, open_page):
    page = open_page(server)
    assert page.locator(".rg-example").count() == 2
    assert page.eval_on_selector_all(".rg-example img", "all => all.every(i => i.naturalWidth > 100)")
    page.click("[data-name='02_discs_and_lawn']")
    page.wait_for_selector("#rg-prompt-2")
    assert page.get_attribute("[data-name='02_discs_and_lawn']", "aria-pressed") == "true"
    assert prompt(page) == "1 a panda and 2 a fox walk on 3 snow"
    page.click("#tabs >> text=Edit")
    wait(lambda: plays(page, "source"), 60, "the source plays")


@pytest.mark.browser
def test_typed_words_are_composed_and_kept(server, open_page):
    page = open_page(server)
    # Two fields within the time that a change waits before it is sent.
    page.fill("#rg-prompt-0", "a green robot")
    page.fill("#rg-prompt-1", "")
    composed = "1 a green robot and 2 a dog walk on the grass"
    wait(lambda: prompt(page) == composed, 60, "both words are composed")
    assert page.input_value("#rg-prompt-0") == "a green robot"
    words = page.eval_on_selector_all(
        ".rg-words", "all => all.map(w => w.style.getPropertyValue('--region'))"
    )
    assert words == ["#ffe11a", "#0b2a8c"]


@pytest.mark.browser
def test_run_shows_what_happens_and_then_the_result(server, open_page):
    page = open_page(server)
    page.fill("#rg-prompt-0", "a robot")
    with server.hold("editing", 6):
        page.keyboard.press("Control+Enter")
        # Expected frames, and a heat map per region.
        page.wait_for_function("document.querySelectorAll('.rg-strip').length == 3")
        assert page.locator(".rg-strip").first.locator("img").count() == 8
        assert "Attention on “a robot”" in page.inner_text(".rg-live")
        page.wait_for_selector("text=/step 6 of 12, about 2 s left/")
        page.wait_for_selector(".rg-coming:not([hidden])")
    wait_for_result(page)
    assert page.locator(".rg-live").count() == 0
    drift = "() => { const [a, b] ="
    drift += " ['source', 'edited'].map(n => document.querySelector('video.' + n).currentTime);"
    drift += " return Math.min(Math.abs(a - b), Math.abs(1 - Math.abs(a - b))); }"
    page.wait_for_function(f"({drift})() < 0.06")
    assert "Unchanged outside" in page.inner_text(".rg-facts")
    assert page.locator(".rg-inspector-names button").count() == 2
    links = page.eval_on_selector_all(".rg-files a", "all => all.map(a => [a.dataset.file, a.href])")
    assert [name for name, _ in links] == ["edited.mp4", "report.json", "reconstruction.mp4", "project.zip"]
    for _, url in links:
        status, content = server.get(url.removeprefix(server.url))
        assert status == 200
        assert len(content) > 100
    page.click(".rg-bar >> text=Reconstruction")
    wait(lambda: plays(page, "reconstruction"), 60, "the reconstruction plays")
    wait(lambda: plays(page, "source"), 60, "the source plays")
    page.click("text=Wipe")
    wipe = page.locator(".rg-stage").bounding_box()
    page.mouse.click(wipe["x"] + 0.8 * wipe["width"], wipe["y"] + 20)
    page.wait_for_function(
        "parseFloat(document.querySelector('.rg-stage').style.getPropertyValue('--cut')) > 70"
    )
    page.click("text=Flip")
    page.locator(".rg-stage").scroll_into_view_if_needed()
    wipe = page.locator(".rg-stage").bounding_box()
    page.mouse.move(wipe["x"] + 50, wipe["y"] + 50)
    page.mouse.down()
    page.wait_for_selector(".rg-edited", state="hidden")
    page.mouse.up()
    page.wait_for_selector(".rg-edited", state="visible")


@pytest.mark.browser
def test_several_edits_of_the_whole_frame_side_by_side(server, open_page):
    page = open_page(server)
    page.select_option(".rg-method select", "fatezero")
    page.wait_for_selector("#rg-whole", state="visible")
    assert page.locator(".rg-uses .rg-unused").count() == 0
    assert "seed (with Variation)" in page.inner_text(".rg-uses")
    lines = ["a panda in the snow", "a fox <img src=x onerror=alert(1)>", "a robot"]
    page.get_by_label("It should show").fill("\n".join(lines))
    page.wait_for_function("document.querySelectorAll('.rg-prompt').length == 3")
    page.click("#run")
    wait_for_result(page)
    captions = ".rg-pane:not([hidden]) figcaption"
    asked = [line if "panda" in line else line + ", a panda" for line in lines]
    asked = [line + ", a fox" if "fox" not in line else line for line in asked]
    assert page.locator(captions).all_inner_texts() == ["Source", *asked]
    assert page.locator(".rg-pane img").count() == 0
    times = "[...document.querySelectorAll('video')].map(v => v.currentTime)"
    apart = "(t => Math.max(...t.map(a => Math.abs(a - t[0])).map(d => Math.min(d, Math.abs(1 - d)))))"
    page.wait_for_function(f"{times}.length == 4 && {apart}({times}) < 0.06")
    names = page.eval_on_selector_all(".rg-files a", "all => all.map(a => a.dataset.file)")
    assert names[:3] == ["edited.mp4", "edited_2.mp4", "edited_3.mp4"]
    # Two of them at a time.
    page.click(".rg-bar >> text=Wipe")
    assert page.locator(captions).all_inner_texts() == ["Source", asked[0]]
    page.get_by_label("Edit 3: a robot").click()
    assert page.locator(captions).all_inner_texts() == ["Source", asked[2]]
    page.click(".rg-bar >> text=Reconstruction")
    assert page.locator(captions).all_inner_texts() == ["Reconstruction", asked[2]]
    page.click(".rg-bar >> text=Side by side")
    assert page.locator(captions).all_inner_texts() == ["Source", "Reconstruction", *asked]
    # Words of source and edit, and the area at the steps, follow the player.
    words = page.get_by_role("list", name="Source").locator("li")
    assert words.all_inner_texts() == ["a", "cat", "and", "dog", "walk", "on", "the", "grass"]
    assert page.get_by_role("list", name="Edit").locator("li").first.inner_text() == "a"
    assert page.get_by_text("step 12").count() == 1
    page.locator(".rg-seek").fill("1")  # while it plays it may show the last frame's picture by chance
    before = words.first.locator("img").get_attribute("src")
    page.locator(".rg-seek").fill("8")
    page.wait_for_function("src => document.querySelector('.rg-words-row img').src != src", arg=before)


@pytest.mark.browser
def test_stop_ends_the_worker(server, open_page):
    page = open_page(server)
    before = server.steps().count("closed")
    with server.hold("editing", 6):
        page.click("#run")
        # The inversion has a step 6 of 12 too.
        page.wait_for_function(
            "/Editing\\s+step 6 of 12/.test(document.querySelector('#progress').innerText)"
        )
        page.click("#stop")
        wait(lambda: server.steps().count("closed") > before, 60, "the editor is closed")
    page.wait_for_selector("text=Stopped at step 6 of 12. Nothing was saved.")
    assert server.steps()[-2:] == ["editing 6", "closed"]
    page.wait_for_selector("#run:not([disabled])")
    assert page.locator(".rg-files a").count() == 0
    page.click("#run")
    wait_for_result(page)


@pytest.mark.browser
def test_closing_the_tab_ends_the_worker_and_removes_the_files(server, open_page):
    others = set(server.media())
    page = open_page(server)
    page.click("#run")
    wait_for_result(page)
    (own,) = set(server.media()) - others
    before = server.steps().count("closed")
    with server.hold("editing", 6):
        page.click("#run")
        page.wait_for_selector(".rg-strip img")
        page.close()
        wait(lambda: server.steps().count("closed") > before, 60, "the editor is closed")
    wait(lambda: not own.exists(), 60, "the files are gone")


@pytest.mark.browser
def test_two_pages_wait_for_each_other_and_do_not_mix(server, open_page):
    first, second = open_page(server), open_page(server)
    second.fill("#rg-prompt-1", "")
    with server.hold("inverting", 3):
        first.click("#run")
        first.wait_for_selector("text=/step 3 of 12/")
        second.click("#run")
        second.wait_for_selector("text=Waiting in the queue")
    wait_for_result(first)
    wait_for_result(second)
    regions = [page.locator(".rg-inspector-names button").count() for page in (first, second)]
    assert regions == [2, 1]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a robat", "a fox"), "does not know “robat”"),
        (("", ""), "No region has a prompt"),
        (("a crash", ""), "went wrong inside Regrain"),
    ],
)
def test_what_went_wrong_is_said_on_the_page(server, open_page, words, said):
    page = open_page(server)
    for index, text in enumerate(words):
        page.fill(f"#rg-prompt-{index}", text)
    page.click("#run")
    page.wait_for_selector("[role=alert]")
    assert said in page.inner_text("[role=alert]").replace("\n", " ").replace("None", "none")
    assert "Traceback" not in page.inner_text("body")
    page.wait_for_selector("#run:not([disabled])")


@pytest.mark.browser
def test_words_never_become_code(server, open_page):
    page = open_page(server)
    evil = "${alert(1)} {{value}} <img src=x onerror=alert(2)> `unicorn`"
    page.fill("#rg-prompt-0", evil)
    page.wait_for_function("document.querySelector('.rg-prompt').innerText.includes('unicorn')")
    assert evil in page.inner_text(".rg-prompt")
    page.click("#run")
    page.wait_for_selector("[role=alert]")
    assert page.locator(".rg-prompt img, [role=alert] img").count() == 0


@pytest.mark.browser
def test_a_preset_shows_what_it_sets(server, open_page):
    page = open_page(server)
    page.click("#settings button")
    for topic in ("Regions", "More"):
        page.locator("#settings .rg-more button:visible", has_text=topic).first.click()

    def layers(value):
        return page.locator("#settings fieldset:visible", has_text="Layers").get_by_label(value, exact=True)

    layers("all").wait_for()
    assert layers("all").is_checked()
    page.locator("#settings fieldset:visible", has_text="Preset").get_by_label("released").check()
    wait(lambda: layers("coarse").is_checked(), 10, "the preset's layers")


@pytest.mark.browser
def test_settings_are_used(server, open_page):
    page = open_page(server)
    set_steps(page, "7")
    page.click("#run")
    wait_for_result(page)
    report = page.evaluate("fetch(document.querySelectorAll('.rg-files a')[1].href).then(r => r.json())")
    assert report["params"] == {"steps": {"value": 7}}


@pytest.mark.browser
@pytest.mark.parametrize(
    "options",
    [
        {"color_scheme": "dark"},
        {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
    ],
    ids=["dark", "phone"],
)
def test_dark_and_small(server, open_page, options):
    page = open_page(server, **options)
    page.click("#words button")
    page.wait_for_selector(".rg-wordlist >> nth=0", state="visible")
    assert page.locator(".rg-wordlist button").count() == 18
    with server.hold("editing", 6):
        page.click("#run")
        page.wait_for_selector(".rg-strip img")
        assert overflow(page) <= 0
    wait_for_result(page)
    assert overflow(page) <= 0
    if "viewport" in options:
        small = "all => all.filter(b => b.offsetParent && b.offsetHeight < 44).map(b => b.innerText)"
        assert page.eval_on_selector_all("button.rg-tool, #run, .rg-files a", small) == []
    else:
        assert page.evaluate("document.body.classList.contains('dark')")


# With the built-in model


@built_in
@pytest.mark.browser
def test_two_animals_on_the_built_in_model(real_server, open_page):
    page = open_page(real_server)
    page.wait_for_selector("[data-name='01_two_animals'][aria-pressed=true]")
    set_steps(page, "30")  # long enough for a preview to be seen on a fast machine
    page.click("#run")
    page.wait_for_selector(".rg-files a", state="detached")  # those of the shipped result
    seen = "document.querySelector('.rg-strip img') && document.querySelectorAll('.rg-strip').length >= 2"
    # In the page: it may be gone before a question gets there.
    page.wait_for_function(seen, timeout=1_800_000)
    wait_for_result(page, 180)
    report = page.evaluate("fetch(document.querySelectorAll('.rg-files a')[1].href).then(r => r.json())")
    assert report["params"]["steps"] == {"value": 30, "source": "given"}
    assert {entry["source"] for name, entry in report["params"].items() if name != "steps"} <= {
        "method",
        "model",
    }
    assert report["metrics"]["outside_psnr"] >= 40


@built_in
@pytest.mark.browser
def test_an_unknown_word_names_the_nearest(real_server, open_page):
    page = open_page(real_server)
    page.fill("#rg-prompt-0", "a pandda")
    page.click("#run")
    page.wait_for_selector("[role=alert]", timeout=1_800_000)
    said = page.inner_text("[role=alert]")
    assert "pandda" in said
    assert "panda" in said.replace("pandda", "")
