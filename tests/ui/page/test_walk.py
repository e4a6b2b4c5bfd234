"""Visits of the page without a browser, as files beside this test tell them: what is
done, and what each event changes on the page then.

`walk.json` leads from the first example to a project that is opened again, and through
the endpoints; `visits.json` has short ones, each of the example as it comes; `said.json`
what is said of things that are wrong, each with the words and settings of the example
but for what it changes; `laid_out.json` what the page is made of.

`REGRAIN_WRITE=1 pytest tests/ui/page/test_walk.py` writes what was said anew; look at
what has changed there before it is committed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fake_app
import pytest
from fake_app import write_examples
from made_clips import moving, write_clip
from made_pictures import write_picture
from page_events import PageEvents, settled
from records import recorded

from regrain.editing.models.adapters import save_adapter
from regrain.editing.pipeline import beforehand
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.memory import Need
from regrain.ui.page import build as building
from regrain.ui.page.layout import Tools
from regrain.ui.server.media import Media
from regrain.ui.session.examples import load_examples
from regrain.ui.session.projects import Projects
from regrain.ui.session.session_store import SessionStore
from regrain.ui.views import model_views

HERE = Path(__file__).parent
EXAMPLE = "01_two_discs"
CLIP = f"examples/{EXAMPLE}/clip.mkv"
SAYING = "event", "checks", "progress", "canvas", "recent", "failed", "answered"
# Files of visitors, by name.
MADE: dict[str, Callable[[Path], object]] = {
    "clip.mkv": lambda path: shutil.copy(path.parents[1] / CLIP, path),
    "walk.mp4": lambda path: write_clip(path, moving(6, 64, 48)),
    "sent.mp4": lambda path: write_clip(path, moving(4, 64, 48)),
    "wide.mp4": lambda path: write_clip(path, moving(40, 1400, 100)),
    "look.png": write_picture,
    "notes.txt": lambda path: path.write_text("no clip"),
    "tuned.safetensors": lambda path: save_adapter(fake_app.tuned_model(), path),
}


@pytest.fixture
def page(tmp_path) -> Iterator[PageEvents]:
    """A page with the made-up editor, which keeps everything in one folder."""
    laid_out = []
    stores = []

    def lay_out(*given):
        laid_out.append(real(*given))
        return laid_out[0]

    def store(*given, **how):
        stores.append(SessionStore(*given, **how))
        return stores[0]

    real = building.lay_out
    model = tmp_path / "model"
    model.mkdir()
    (model / "words.json").write_text(json.dumps(fake_app.WORDS))
    media = Media(tmp_path / "media")
    examples = load_examples(write_examples(tmp_path / "examples"), media.examples)
    tools = Tools(
        fake_app.edit,
        fake_app.segment,
        fake_app.propagate,
        plan_tuning=fake_app.plan_tuning,
        fetch=fake_app.fetch,
    )
    environment = {
        "REGRAIN_TEST_LOG": str(tmp_path / "steps.log"),
        "REGRAIN_TEST_PAUSE": "0",
        "REGRAIN_MODELS": str(tmp_path / "models"),
        "GRADIO_TEMP_DIR": str(tmp_path / "uploads"),
    }
    with (
        mock.patch.object(building, "lay_out", lay_out),
        mock.patch.object(building, "SessionStore", store),
        # as clips are opened, not from time to time
        mock.patch.object(Projects, "_keep_all"),
        # whatever tests before have loaded
        mock.patch.object(beforehand, "loaded_backbone", return_value=None),
        # what is said of models to get is this machine's
        mock.patch.object(model_views, "_this_machine", return_value="A machine."),
        mock.patch.object(Need, "fits", return_value="does not fit"),
        mock.patch.dict(os.environ, environment),
    ):
        made = building.build(tools, examples, media, model, tmp_path / "projects")
        names = {part._id: name for name, part in vars(laid_out[0]).items()}
        yield PageEvents(made, names, stores[0], tmp_path)


def about(page: PageEvents) -> dict[str, object]:
    """Return what the canvas says of the masks that it shows."""
    canvas = page.values["canvas"]
    return {"id": canvas.get("id"), "have": canvas.get("rev"), "frame": 0}


def act(page: PageEvents, act: str, **data: object) -> None:
    """Send an act on the masks, as the canvas does."""
    page.send("canvas", "act", **about(page) | {"nonce": 1, "act": act} | data)


def describe(page: PageEvents, **words: object) -> None:
    """Type words into the cards, by region, and those of the whole."""
    canvas, cards = page.values["canvas"], page.values["cards"]
    regions = [
        region | words.pop(region["name"], {})  # type: ignore[operator]
        for region in cards["regions"]
    ]
    page.type("cards", id=canvas["id"], have=canvas["rev"], regions=regions, **words)
    page.send("cards", "prompts")


def set_values(page: PageEvents, **given: object) -> None:
    """Type values into fields of the chosen method."""
    settings = page.values["settings"]
    before = settings["given"]
    mine = before.get(settings["method"], {}) | given
    page.type("settings", given=before | {settings["method"]: mine})


def place(root: Path, name: str) -> Path:
    """Return where a file of a visitor lies once it is uploaded."""
    path = root / "uploads" / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        MADE[name](path)
    return path


def keep(page: PageEvents, name: str, path: str) -> None:
    """Keep a file that was downloaded, to upload it later."""
    (page.root / "uploads" / name).write_bytes(Path(path).read_bytes())


WAYS = {"act": act, "describe": describe, "set": set_values, "keep": keep}
FILE_DATA = {"_type": "gradio.FileData"}
OF_PAGE = "load", "type", "choose", "call", "restart"


def filled(page: PageEvents, value: Any) -> Any:
    """Return what is given to a step with what its words stand for: `SHOWN a.0` what is
    there on the page, `FILE a` where that file lies, `SENT a` the file as it is sent."""
    if isinstance(value, dict):
        return {key: filled(page, one) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(page, one) for one in value]
    kind, _, name = str(value).partition(" ")
    if kind == "SHOWN":
        found: Any = page.values | {"answered": page.answered}
        for part in name.split("."):
            found = found[int(part) if isinstance(found, list) else part]
        return found
    if kind not in ("FILE", "SENT"):
        return value
    path = str(place(page.root, name))
    return path if kind == "FILE" else {"path": path, "meta": FILE_DATA}


def do(page: PageEvents, steps: list[list]) -> list[dict[str, object]]:
    """Take steps, each a way and what is given; return what each event changes."""
    page.heard = []
    for way, given in steps:
        given = filled(page, given)
        if way in WAYS:
            WAYS[way](page, **given)
        elif way in OF_PAGE:
            getattr(page, way)(**given)
        else:
            part, event = way.split(".")
            shown = about(page) if part == "canvas" else {}
            page.send(part, event, **shown | given)
    return page.heard


def check(found: dict[str, object], file: Path) -> None:
    """Compare with what a file says, or write it."""
    found, expected = recorded(found, file)
    assert [*found] == [*expected]
    for name, said in found.items():
        assert said == expected[name], name


def visit(page: PageEvents, name: str, before: Callable[[], object], keys=None) -> None:
    """Do what a file tells, each part after what comes `before`; compare what is said,
    of which only some keys may be told."""
    cases = json.loads((HERE / name).read_text())
    for case in cases.values():
        before()
        said = do(page, case["done"])
        chosen = [{k: one[k] for k in keys or one if k in one} for one in said]
        case["said"] = chosen
    check(cases, HERE / name)


def test_a_new_page_shows_what_ships_and_frees_sessions_that_end(tmp_path):
    media = Media(tmp_path)
    examples = load_examples(ASSETS / "examples", media.examples)
    tools = Tools(fake_app.edit, fake_app.segment, fake_app.propagate)
    with mock.patch.object(building, "SessionStore") as visits:
        page = building.build(tools, examples, media, ASSETS / "storybook")
    assert visits.call_args.kwargs["ended"] == page.drop_session
    (shown,) = (
        part
        for part in page.blocks.values()
        if getattr(part, "elem_id", "") == "result"
    )
    assert shown.value["facts"]


def test_the_page_is_laid_out_and_wired(page):
    told = {
        "the page is": page.itself(),
        "the page is laid out": settled(page.parts(), page.root),
        "it hears": settled(page.events(), page.root),
        "programs are told": settled(page.endpoints(), page.root),
    }
    check(told, HERE / "laid_out.json")


def test_each_step_changes_what_it_did(page):
    visit(page, "walk.json", lambda: None)


@pytest.mark.parametrize("name", ["visits.json", "kept.json"])
def test_each_visit_changes_what_it_did(page, name):
    page.load()
    visit(page, name, lambda: page.send("gallery", "pick", name=EXAMPLE))


def test_what_is_wrong_is_said(page):
    """Acts of earlier cases stay."""
    page.load()
    page.send("gallery", "pick", name=EXAMPLE)
    fresh = {name: page.values[name] for name in ("cards", "settings")}
    visit(page, "said.json", lambda: page.values.update(fresh), SAYING)
