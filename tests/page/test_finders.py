"""Published SAMs on the page, in a real Chromium: fetched from a hub on this machine,
then used."""

import shutil

import pytest
from browser import (
    PHONE,
    open_example,
    open_refine,
    overflow,
    serving,
)
from canvas import noise, press_at_picture, write_film
from fake_hub import serve_hub
from published_sam import write_sam2

pytestmark = [pytest.mark.full, pytest.mark.browser]


@pytest.fixture(scope="module")
def fetching(tmp_path_factory):
    """A page whose folder of models, beside its projects, is empty, and the hub it can
    reach."""
    root = tmp_path_factory.mktemp("fetching")
    published = write_sam2(root / "published")
    with (
        serve_hub(published) as (hub, address),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.delenv("REGRAIN_MODELS", raising=False)
        there = {
            "REGRAIN_PROJECTS": str(root),
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": address,
        }
        for server in serving(root, **there):
            yield server, hub


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", noise(8))


def bring(page, film):
    page.set_input_files("#upload", film)
    page.wait_for_selector("#useless >> text=would make nonsense")


def fetched(server):
    models = server.folder / "models"
    return [path.name for path in models.iterdir()] if models.is_dir() else []


def test_a_published_sam_is_fetched_and_becomes_the_usual_one(
    fetching, open_page, film
):
    server, hub = fetching
    page = open_page(server)
    # the built-in one is for drawn clips
    assert not page.locator(".rg-fetch").is_visible()
    assert page.locator("[data-finder]").count() == 2
    bring(page, film)
    get = page.locator("text=Get SAM 2.1 tiny (156 MB)")
    get.wait_for()
    # without a published one
    page.wait_for_selector("[data-finder=cuts][aria-pressed=true]", state="attached")
    # Without the hub it is said, and it can be tried again.
    hub.status = 500
    get.click()
    page.wait_for_selector(".rg-fetch-said.rg-alarm:has-text('cannot be downloaded')")
    hub.status = 200
    # Stopped half way, nothing stays.
    hub.hold.clear()
    get.click()
    page.wait_for_selector("text=/SAM 2.1 tiny: 0 of . MB/")
    page.click(".rg-fetch >> text=Stop")
    get.wait_for()
    # the thread that waits for the hub hears of it at its next look
    page.wait_for_timeout(1000)
    hub.hold.set()
    assert "sam2.1-hiera-tiny" not in fetched(server)
    # Fetched, it answers clicks on this clip; what it costs is said first.
    get.click()
    page.wait_for_selector(".rg-fetch-said:has-text('SAM 2.1 tiny is here')")
    assert "sam2.1-hiera-tiny" in fetched(server)
    page.wait_for_selector(
        "[data-finder='sam2.1-hiera-tiny'][aria-pressed=true]", state="attached"
    )
    page.wait_for_selector(".rg-cost:has-text('for the first click on a frame')")
    box = page.locator(".rg-canvas-stage canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    open_refine(page)
    page.wait_for_selector("text=Found: SAM 2.1 tiny")
    # Another, put there while the page runs, is used from the next click on.
    write_sam2(server.folder / "models" / "sam2.1-hiera-small")
    page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.wait_for_selector("[data-finder='sam2.1-hiera-small']", state="attached")
    shutil.rmtree(server.folder / "models" / "sam2.1-hiera-small")
    assert not page.locator(".rg-cost").is_visible()
    # Drawn clips keep the built-in one.
    open_example(page, "01_two_discs")
    page.wait_for_selector("[data-finder=sam][aria-pressed=true]", state="attached")
    assert not page.locator(".rg-cost").is_visible()


def test_who_finds_and_who_follows_is_chosen(fetching, open_page, film):
    server, _ = fetching
    if "sam2.1-hiera-tiny" not in fetched(server):
        write_sam2(server.folder / "models" / "sam2.1-hiera-tiny")
    page = open_page(server, **PHONE)
    bring(page, film)
    open_refine(page)
    page.wait_for_selector("[data-finder='sam2.1-hiera-tiny'][aria-pressed=true]")
    assert not page.locator(".rg-fetch").is_visible()  # it is here
    page.click("[data-finder=cuts]")
    page.wait_for_selector("[data-finder=cuts][aria-pressed=true]")
    page.wait_for_selector(".rg-cost", state="hidden")
    press_at_picture(page, "c")
    page.wait_for_selector("[data-finder='sam2.1-hiera-tiny'][aria-pressed=true]")
    trackers = page.locator(".rg-trackers select")
    assert trackers.evaluate("s => [...s.options].map(o => o.text)") == [
        "By colour",
        "SAM 2.1 tiny",
    ]
    assert trackers.input_value() == "cuts"
    trackers.select_option("sam2.1-hiera-tiny")
    page.wait_for_selector(".rg-say:has-text('to follow a frame')")
    assert overflow(page) <= 0
