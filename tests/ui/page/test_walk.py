"""A visit from the first example to a project that is opened again, without a browser:
what each event changes on the page is as `walk.json` says, of shorter visits as
`visits.json` says; and what is said of things that are wrong, as `said.json` says.

`REGRAIN_WRITE=1 pytest tests/ui/page/test_walk.py` writes what these files say anew;
look at what has changed there before it is committed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from unittest import mock

import fake_app
from fake_app import write_examples
from made_clips import moving, write_clip
from made_pictures import write_picture
from page_events import PAGE, PageEvents, settled, uploaded
from records import recorded

from regrain.editing.models.adapters import save_adapter
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.page import build as building
from regrain.ui.page.layout import Tools
from regrain.ui.server.media import Media
from regrain.ui.session.examples import load_examples
from regrain.ui.session.projects import Projects

EXPECTED = Path(__file__).with_name("walk.json")
SAID = Path(__file__).with_name("said.json")
VISITS = Path(__file__).with_name("visits.json")
SAYING = "event", "checks", "progress", "canvas", "recent", "failed", "answered"


@contextmanager
def opened(root: Path) -> Iterator[PageEvents]:
    """Open a page with the made-up editor, which keeps everything in `root`."""
    laid_out = []

    def lay_out(*given):
        laid_out.append(real(*given))
        return laid_out[0]

    real = building.lay_out
    (root / "model").mkdir()
    (root / "model" / "words.json").write_text(json.dumps(fake_app.WORDS))
    media = Media(root / "media")
    examples = load_examples(write_examples(root / "examples"), media.examples)
    tools = Tools(
        fake_app.edit,
        fake_app.segment,
        fake_app.propagate,
        plan_tuning=fake_app.plan_tuning,
        fetch=fake_app.fetch,
    )
    environment = {
        "REGRAIN_TEST_LOG": str(root / "steps.log"),
        "REGRAIN_TEST_PAUSE": "0",
        "REGRAIN_MODELS": str(root / "models"),
        "GRADIO_TEMP_DIR": str(root / "uploads"),
    }
    with (
        mock.patch.object(building, "lay_out", lay_out),
        # as clips are opened, not from time to time
        mock.patch.object(Projects, "_keep_all"),
        mock.patch.dict(os.environ, environment),
    ):
        page = building.build(tools, examples, media, root / "model", root / "projects")
        (parts,) = laid_out
        names = {part._id: name for name, part in vars(parts).items()}
        yield PageEvents(page, names, root)


def about(page: PageEvents) -> dict[str, object]:
    """Return what the canvas says of the masks that it shows."""
    canvas = page.values["canvas"]
    return {"id": canvas["id"], "have": canvas["rev"], "frame": 0}


def act(page: PageEvents, act: str, **data: object) -> None:
    """Send an act on the masks, as the canvas does."""
    page.send("canvas", "act", **about(page) | {"nonce": 1, "act": act} | data)


def track(page: PageEvents) -> None:
    """Follow what is to be followed."""
    page.send("canvas", "track", **about(page))


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


def walk(page: PageEvents, root: Path) -> Iterator[str]:
    """Visit the page; yield what was done."""
    page.load()
    page.send("head", "here")
    yield "the page was opened"
    page.send("gallery", "pick", name="02_discs_and_lawn")
    yield "an example was picked"
    describe(page, **{"left disc": {"prompt": "a robot"}})
    yield "words were typed"
    page.send("checks", "look")
    yield "words and settings were looked at"
    page.send("method", "choose", name="videograin")
    set_values(page, cuts="3", steps=9)
    page.send("settings", "preset", preset="released")
    page.send("settings", "preset", preset="none")
    yield "a method and a preset were chosen"
    page.send("quality", "choose", name="draft")
    set_values(page, keyframes="0, 4")
    page.send("checks", "look")
    yield "settings were changed"
    page.send("method", "choose", name="infedit")
    page.type("settings", variants=2)
    page.send("run", "click")
    yield "two variants were run"
    older, newer = [one["key"] for one in page.values["history"]["runs"]]
    page.send("history", "show", key=newer)
    yield "the first was shown"
    page.send("history", "compare", a=older, b=newer)
    yield "both were compared"
    page.send("result", "make", key=older, name="masks.zip")
    yield "its masks were packed"
    page.send("result", "make", key=older, name="edited.mov")
    yield "its frames were written for a cutting program"
    page.send("result", "make", key=newer, name="nothing.zip")
    yield "a file of no known kind was asked for"
    page.send("history", "remove", key=older)
    yield "one was removed"
    set_values(page, steps=5)
    page.send("history", "use", key=newer)
    yield "the settings of the other were used again"
    page.send("addons", "choose", added=[{"name": "storybook/fast", "weight": 0.5}])
    yield "a LoRA was weighed"
    page.send("control", "look", kind="canny", frame=1)
    yield "what a control network sees was looked at"
    save_adapter(fake_app.tuned_model(), root / "tuned.safetensors")
    file = uploaded(root / "uploads" / "0", root / "tuned.safetensors")
    page.choose("adapter_file", {"path": file, "meta": {"_type": "gradio.FileData"}})
    page.send("adapter_file", "upload")
    tuned = page.values["adapters"]["chosen"]
    page.send("adapters", "rename", key=tuned, name="mine")
    yield "a tuned model was added and named"
    page.send("adapters", "export", key=tuned)
    page.send("adapters", "choose", key="")
    yield "and saved, and left again"
    page.send("method", "choose", name="fatezero")
    page.type("settings", variants=1)
    describe(page, prompt="a robot\n\n a fox")
    page.send("run", "click")
    describe(page, prompt="")
    yield "two edits by words were run"
    page.send("method", "choose", name="tune_a_video")
    page.type("cards", attempt="quick", attempt_frame=1)
    page.send("checks", "look")
    page.send("run", "click")
    page.type("cards", attempt="")
    yield "a model was tuned, and tried"
    page.send("run", "click")
    yield "and run"
    describe(page, **{"left disc": {"prompt": "a unicorn, a unicorn"}})
    page.send("checks", "look")
    page.send("run", "click")
    yield "a word that the model does not know was run"
    describe(page, **{"left disc": {"prompt": "a crash"}})
    page.send("run", "click")
    yield "a run failed"
    page.send("method", "choose", name="infedit")
    page.choose("model", "owner/other")
    page.send("model", "change")
    yield "a model that is not here was asked for"
    page.send("hub", "fetch", id="owner/other")
    yield "it could not be fetched"
    page.send("hub", "use", id="owner/other")
    yield "it was to be used"
    page.choose("model", "storybook")
    page.send("model", "change")
    yield "the built-in model was taken again"
    set_values(page, steps=5000)
    page.send("run", "click")
    yield "what is wrong was run"
    set_values(page, steps=4)
    named = {"label": 1, "name": "${x}", "color": "#010203", "prompt": 3}
    regions = [{"label": 2, "name": " ", "color": "red"}, named, {"label": 7}, "none"]
    page.type("cards", regions=regions)
    page.send("cards", "prompts")
    yield "regions were named, and put in another order"
    page.send("canvas", "save")
    saved = Path(page.values["download"]["path"])
    project = uploaded(root / "uploads" / "5", saved)
    yield "the project was saved"
    clip = uploaded(
        root / "uploads" / "1", write_clip(root / "walk.mp4", moving(6, 64, 48))
    )
    page.send("gallery", "open", path=clip, name="walk.mp4")
    yield "a clip of one's own was opened"
    act(page, "preview", label=0, at=[20, 20], inside=True)
    yield "a thing was pointed at"
    act(page, "point", label=0, at=[20, 20], inside=True)
    yield "it was clicked"
    act(page, "stroke", label=1, path=[[5, 5], [9, 9]], radius=3, erase=False)
    act(page, "rest")
    act(page, "undo")
    yield "it was painted over, and a region of the rest was taken back"
    act(page, "unpoint", label=1, at=[20, 20])
    act(page, "redo")
    act(page, "undo")
    yield "its point was taken back, and brought again"
    act(page, "box", label=1, how="erase", **{"from": [12, 12], "to": [2, 2]})
    act(page, "feather", label=1, pixels=3)
    act(page, "tracker", by="cuts", wanted=[0, 1])
    yield "a part was erased, its edge made soft, and a tracker chosen"
    act(page, "reshape", label=1, kind="grow", pixels=2, all=True)
    act(page, "reshape", label=1, kind="melt", pixels=2)
    act(page, "focus", how="on")
    yield "it grew, and the clip was to be edited at its focus"
    drawn = uploaded(root / "uploads" / "3", write_picture(root / "look.png"))
    act(page, "picture", label=1, path=drawn, name="look.png")
    act(page, "picture", label=1, how="open")
    yield "it was given a picture"
    act(page, "picture", label=1, how="cut", points=[[0.5, 0.5, 1]])
    yield "of which a thing was cut out"
    act(page, "picture", label=1, how="cut", points=[[2, 0.5, 1]])
    act(page, "picture", label=1, how="same", other=1)
    act(page, "picture", label=1, how="remove")
    act(page, "focus", how="off")
    yield "and it left again"
    act(page, "add")
    act(page, "box", label=2, **{"from": [12, 12], "to": [30, 30]})
    act(page, "find", label=2, by="cuts")
    act(page, "delete", label=2)
    yield "another region was made by a box, and deleted"
    describe(page, source_prompt="a cat", **{"Region 1": {"prompt": "a fox"}})
    track(page)
    yield "it was tracked"
    page.send("canvas", "scan", **about(page))
    yield "cuts were looked for"
    page.type("cards", attempt="quick", attempt_frame=2)
    page.send("run", "click")
    yield "a frame was tried"
    page.type("cards", attempt="")
    page.send("canvas", "trim", start=1, stride=1, frames=4)
    yield "other frames were taken"
    page.type("cards", attempt="quick", attempt_frame=9)
    page.send("run", "click")
    page.type("cards", attempt="")
    yield "a frame that is not there was tried"
    page.send("canvas", "export", **about(page), form="png")
    yield "its masks were saved"
    masks = uploaded(root / "uploads" / "2", Path(page.values["download"]["path"]))
    act(page, "rest")
    page.choose("mask_file", [{"path": masks, "meta": {"_type": "gradio.FileData"}}])
    page.send("mask_file", "upload")
    yield "and loaded"
    page.send("head", "offer", page=PAGE)
    page.send("head", "back", gone=False, typed=None)
    yield "the page was loaded again"
    page.send("recent", "list")
    keys = [one["key"] for one in page.values["recent"]["items"]]
    yield "projects were listed"
    page.send("recent", "open", key=keys[-1])
    yield "one was opened"
    page.send("recent", "delete", key=keys[-1])
    yield "and deleted"
    page.send("gallery", "open", path=project, name="walk.zip")
    yield "the project that was saved was opened"
    wide = write_clip(root / "wide.mp4", moving(40, 1400, 100))
    wide = uploaded(root / "uploads" / "4", wide)
    page.send("gallery", "open", path=wide, name="wide.mp4", start=1, stride=2)
    yield "a wide clip of many frames was opened"
    act(page, "point", label=0, at=[20, 20], inside=True)
    describe(page, source_prompt="a cat", **{"Region 1": {"prompt": "a fox"}})
    page.send("run", "click")
    yield "it was run, and tracked before"
    page.send("recent", "path", place=str(root / "walk.mp4"))
    yield "a file was opened by its path"
    page.send("recent", "path", place="/nothing.mp4")
    yield "one that is not there was"
    page.send("stop", "click")
    page.send("queue", "remove", key="none")
    yield "nothing was stopped"
    page.send("canvas", "hover", act="look", id="gone", have=0, nonce=9, frame=0)
    yield "a page that is gone was looked at"


def sent(root: Path, file: Path) -> dict[str, object]:
    """Return a file as a program sends it."""
    place = uploaded(root / "uploads" / f"of {file.name}", file)
    return {"path": place, "meta": {"_type": "gradio.FileData"}}


def programs(page: PageEvents, root: Path) -> Iterator[str]:
    """Call the endpoints; yield what was done."""
    thing = {"x": 20, "y": 20}
    clip = sent(root, write_clip(root / "sent.mp4", moving(4, 64, 48)))
    page.call("segment", image=clip, clicks=[thing], frame=2, finder="cuts")
    page.call("segment", image=clip, box=[12, 12, 30, 30])
    page.call("segment", image=clip, box=[30, 12, 12, 30])
    page.call("segment", image=clip, clicks=[{**thing, "x": 64}])
    page.call("segment", image=clip)
    yield "programs had masks of frames"
    regions = [{"name": "cat", "clicks": [thing | {"frame": 1}]}]
    page.call("track", video=clip, regions=regions, tracker="cuts", start=1)
    masks = sent(root, Path(page.answered[0]["path"]))
    page.call("track", video=clip, regions=[{"clicks": [thing | {"frame": 4}]}])
    page.call("track", video=sent(root, EXPECTED), regions=regions)
    yield "and masks that follow a thing"
    few = {"steps": 3}
    words = [{"name": "cat", "source": "a cat", "prompt": "a fox"}]
    given = {"source_prompt": "a cat", "seed": 3, "method": "infedit"}
    page.call("edit_video", regions=words, video=clip, masks=masks, start=1, **given)
    clicked = [words[0] | regions[0]]
    given |= {"video": clip}
    page.call("edit_video", regions=clicked, format="matte", params=few, **given)
    other = [words[0] | {"label": 2}]
    page.call("edit_video", regions=other, masks=masks, start=1, **given)
    page.call("edit_video", regions=words, **given | {"method": "none"})
    page.call("edit_video", regions=words * 2, **given)
    page.call("edit_video", regions=words, params={"stops": 1}, **given)
    page.call("list_methods")
    yield "and edits"


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


def record(root: Path) -> dict[str, object]:
    """Return what each event of a step changes, by component."""
    steps: dict[str, object] = {}
    with opened(root) as page:
        steps["the page is laid out"] = settled(page.parts(), root)
        steps["it hears"] = settled(page.events(), root)
        steps["programs are told"] = settled(page.endpoints(), root)
        for step in chain(walk(page, root), programs(page, root)):
            steps[step] = page.heard
            page.heard = []
    return steps


def check(found: dict[str, object], file: Path) -> None:
    """Compare with what a file says, or write it."""
    found, expected = recorded(found, file)
    assert [*found] == [*expected]
    for name, said in found.items():
        assert said == expected[name], name


def test_each_step_changes_what_it_did(tmp_path):
    check(record(tmp_path), EXPECTED)


def do(page: PageEvents, steps: list[list]) -> list[dict[str, object]]:
    """Take steps, each a way and what is given; return what each event changes."""
    ways = {"describe": describe, "set": set_values, "act": act}
    ways |= {"track": track, "type": PageEvents.type, "call": PageEvents.call}
    page.heard = []
    for way, given in steps:
        if way in ways:
            ways[way](page, **given)
        else:
            page.send(*way.split("."), **given)
    return [*page.heard]


def read_cases(file: Path, root: Path) -> list[dict[str, dict[str, list]]]:
    """Return what a file says, as it is and with a clip of one's own where it names
    one."""
    text = file.read_text()
    clip = sent(root, root / "examples" / "01_two_discs" / "clip.mkv")
    filled = text.replace('"CLIP"', json.dumps(clip))
    return [json.loads(text), json.loads(filled.replace("PATH", str(clip["path"])))]


def test_what_is_wrong_is_said(tmp_path):
    """The words and settings of each case are those of the example but for what it
    changes; acts of earlier cases stay."""
    with opened(tmp_path) as page:
        cases, asked = read_cases(SAID, tmp_path)
        page.load()
        page.send("gallery", "pick", name="01_two_discs")
        fresh = {name: page.values[name] for name in ("cards", "settings")}
        for name, case in cases.items():
            page.values |= fresh
            case["said"] = [
                {name: heard[name] for name in SAYING if name in heard}
                for heard in do(page, asked[name]["done"])
            ]
    check(cases, SAID)


def test_each_visit_changes_what_it_did(tmp_path):
    """Short ones, each of the example as it comes."""
    with opened(tmp_path) as page:
        cases, asked = read_cases(VISITS, tmp_path)
        page.load()
        for name, case in cases.items():
            page.send("gallery", "pick", name="01_two_discs")
            case["said"] = do(page, asked[name]["done"])
    check(cases, VISITS)
