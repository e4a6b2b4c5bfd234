"""What a run says of its regions once somebody has looked at them."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from damaged_models import damage
from json_files import read_json, write_json
from made_clips import black, noise
from made_pictures import write_reader
from PIL import Image
from running import finish

from regrain.editing import ArrayClip, EditRequest, ModelError, Region, edit
from regrain.editing.media.clip import resize
from regrain.editing.models.files import location
from regrain.editing.recipe.events import EditResult, OtherEdit, Stage
from regrain.editing.verdict import crop_reader, looked
from regrain.editing.verdict.answers import fewest, lines, rank, say, seen, tally
from regrain.editing.verdict.crop_reader import CropReader, Rule
from regrain.editing.verdict.wishes import whole_phrase, wishes

FRAMES = 12
# What each phrase looks like.
LOOKS = {
    "a fox": (255, 0, 0),
    "a robot": (0, 0, 255),
    "grass": (0, 255, 0),
    "a cat": (255, 255, 0),
    "a dog": (0, 255, 255),
    "a pig": (255, 0, 255),
    "a fox and a robot": (128, 0, 128),
    "a cat and a dog": (128, 255, 128),
    "in ink": (0, 0, 1),
}


class ByColour:
    """A reader whose cosines are those of mean colours, by `LOOKS`."""

    rule = Rule()
    kinds: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    asked: list[tuple[str, ...]] = []
    scores: dict[str, float] = {}

    def __init__(self, id):
        assert id == "mine"

    def cosines(self, crops, phrases, device):
        self.asked.append(tuple(phrases))
        assert all(crop.shape[0] == crop.shape[1] for crop in crops)
        seen = np.array([crop.mean((0, 1)) for crop in crops], np.float32)
        said = np.array([LOOKS[phrase] for phrase in phrases], np.float32)
        lengths = np.outer(np.linalg.norm(seen, axis=1), np.linalg.norm(said, axis=1))
        return seen @ said.T / lengths

    def clear(self, crops, device):
        """The mean score of crops by what they show, if some were given."""
        if not self.scores:
            return None
        shown = self.cosines(crops, [*LOOKS], device).argmax(1)
        return float(np.mean([self.scores[[*LOOKS][at]] for at in shown]))


@pytest.fixture(autouse=True)
def by_colour(monkeypatch):
    monkeypatch.setattr(looked, "CropReader", ByColour)
    monkeypatch.setattr(ByColour, "asked", [])
    return ByColour


LEFT = Region("left", 1, prompt="a fox", source="a cat")
RIGHT = Region("right", 2, prompt="a robot", source="a dog")


def squares() -> np.ndarray:
    """Masks of two squares, the right one from frame 4 on."""
    labels = np.zeros((FRAMES, 48, 64), np.uint8)
    labels[:, 8:24, 8:24] = 1
    labels[4:, 24:40, 40:56] = 2
    return labels


def asked(*regions, labels=None, **changes) -> EditRequest:
    labels = squares() if labels is None else labels
    clip = ArrayClip(np.zeros((*labels.shape, 3), np.uint8), fps=Fraction(8))
    given = {"source_prompt": "a cat and a dog", "reader": "mine"} | changes
    return EditRequest(clip, labels, regions or (LEFT, RIGHT), **given)


def drawn(left: str = "a fox", wrong=()) -> np.ndarray:
    """Frames that show these, in boxes larger than the regions, and grass in some."""
    frames = np.full((FRAMES, 48, 64, 3), 40, np.uint8)
    frames[:, 6:26, 6:26] = LOOKS[left]
    frames[:, 22:42, 38:58] = LOOKS["a robot"]
    for number in wrong:
        frames[number, 22:42, 38:58] = LOOKS["grass"]
    return frames


def looking(request, frames, *others):
    result = EditResult(frames, frames, frames, frames[..., 0] > 0, {})
    more = tuple(OtherEdit("", other, other) for other in others)
    model = SimpleNamespace(id="some", device=torch.device("cpu"))
    seen, *beside = finish(looked.look_at(request, replace(result, others=more), model))
    report = {"looked_at": seen, "others": [{"looked_at": one} for one in beside]}
    return json.loads(json.dumps(report))


def test_a_region_that_is_there_and_one_that_is_not():
    meadow = Region("meadow", 3, source="grass")  # kept: it may be mistaken for others
    labels = squares()
    labels[:, 44:] = 3
    request = asked(LEFT, RIGHT, meadow, labels=labels)
    report = looking(request, drawn(wrong=(4, 5, 6, 7, 8, 9)))
    right, left = report["looked_at"]["regions"]  # the worst first
    assert left["frames"] == [0, 2, 3, 5, 6, 8, 9, 11]
    assert left["nearest"] == ["a fox"] * 8
    assert (left["there"], left["share"]) == (True, 1)
    # red, against a cat's yellow
    assert left["margins"] == pytest.approx([1 - 0.5**0.5] * 8, abs=1e-4)
    assert left["margin"] == left["margins"][0]
    # It is looked at where it is.
    assert right["frames"] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert right["nearest"] == ["grass"] * 6 + ["a robot"] * 2
    assert (right["there"], right["share"], right["instead"]) == (False, 0.25, "grass")
    assert report["looked_at"]["accuracy"] == (1 + 0.25) / 2
    assert lines(report) == [
        "right: the robot is not there (looks like grass on 6 of 8 frames): try another "
        "seed, a larger margin, more steps",
        "left: looks like a fox on 8 of 8 frames",
    ]
    assert (seen(report), tally(report)) == ([False, True], "1 of 2 there")


def test_what_a_region_looks_like_on_most_frames_is_named():
    frames = drawn()
    frames[4:6, 22:42, 38:58] = LOOKS["a dog"]
    frames[6:, 22:42, 38:58] = LOOKS["a cat"]
    right, _ = looking(asked(), frames)["looked_at"]["regions"]
    assert (right["region"], right["instead"]) == ("right", "a cat")


def test_half_of_the_frames_are_too_few_unless_the_rule_of_the_reader_says_so(
    by_colour, monkeypatch
):
    half = drawn(wrong=(4, 5, 6, 7))
    green = replace(LEFT, source="grass")
    request = asked(green, RIGHT)

    def is_there():
        (right,) = (
            one
            for one in looking(request, half)["looked_at"]["regions"]
            if one["region"] == "right"
        )
        return right["there"]

    monkeypatch.setattr(by_colour, "rule", Rule(margin=-1))
    assert not is_there()
    monkeypatch.setattr(by_colour, "rule", Rule(margin=-1, frames=0.5))
    assert is_there()
    monkeypatch.setattr(by_colour, "rule", Rule(margin=0.5))
    report = looking(asked(), drawn())
    # Both are nearest to their own words everywhere, but by less than is needed.
    assert seen(report) == [None, None]
    assert "on 8 of 8 frames, but only just: look yourself" in lines(report)[0]


def test_what_is_not_drawn_clearly_is_not_there_whatever_it_is_nearest_to(
    by_colour, monkeypatch
):
    monkeypatch.setattr(by_colour, "rule", Rule(clear=0.5, mush=0.25))
    frames = drawn(wrong=(4,))
    for fox, there in ((0.24, False), (0.26, None), (0.5, True)):
        # A mean over frames: of the robot's, one in eight shows grass.
        scores = {"a fox": fox, "a robot": 0.5, "grass": 0.9}
        monkeypatch.setattr(by_colour, "scores", scores)
        report = looking(asked(), frames)
        left, right = sorted(
            report["looked_at"]["regions"], key=lambda one: one["region"]
        )
        assert (left["there"], left["clear"]) == (there, pytest.approx(fox))
        assert (right["there"], right["clear"]) == (True, pytest.approx(0.55))
        assert (
            left["says"]
            == {
                False: "left: the fox is not there (what is drawn is not clear): try another "
                "seed, a larger margin, more steps",
                None: "left: looks like a fox on 8 of 8 frames, but only just: look yourself",
                True: "left: looks like a fox on 8 of 8 frames",
            }[there]
        )
    monkeypatch.setattr(by_colour, "scores", {})
    report = looking(asked(), frames)
    assert {one["clear"] for one in report["looked_at"]["regions"]} == {None}
    assert seen(report) == [True, True]


def test_every_edit_of_a_run_is_looked_at_on_its_own():
    request = asked(more_prompts=("a fox and a robot in ink",))
    report = looking(request, drawn(), drawn("a cat"))
    assert seen(report) == [True, True, False, True]
    assert lines(report)[2].startswith("edit 2, left: the fox is not there")
    assert report["others"][0]["looked_at"]["accuracy"] == 0.5
    assert rank(report)[0] == 0.75


def test_the_whole_frame_is_compared_with_the_description():
    clip = black(3, 48, 64)
    words = {"source_prompt": "a cat and a dog", "prompt": "a fox and a robot"}
    words |= {"more_prompts": ("a pig",)}
    request = EditRequest(clip, None, (), reader="mine", **words)
    edits = [np.full((3, 48, 64, 3), LOOKS[one], np.uint8) for one in request.targets]
    report = looking(request, *edits)
    for prompt, edit_ in zip(request.targets, (report, *report["others"]), strict=True):
        (seen,) = edit_["looked_at"]["regions"]
        assert seen["says"] == f"looks like “{prompt}” on 3 of 3 frames"
        assert seen["region"] is None


def test_nothing_is_said_of_a_region_without_words_and_little_of_one_alone():
    kept = replace(RIGHT, prompt="")
    report = looking(asked(LEFT, kept), drawn())
    assert [one["region"] for one in report["looked_at"]["regions"]] == ["left"]
    assert [{*phrases} for phrases in ByColour.asked] == [{"a fox", "a cat", "a dog"}]
    # Without any other words there is nothing to tell it from.
    alone = asked(replace(LEFT, source=""), replace(kept, source=""))
    report = looking(alone, drawn())
    assert lines(report) == ["left: not checked. Say what it was"]
    assert seen(report) == [None]
    assert tally(report) == ""
    assert report["looked_at"]["accuracy"] is None


TABLES = read_json(Path(__file__).with_name("wishes.json"))


def compared(given):
    """What a region's edit is compared with: its words, and all others."""
    labels = squares()
    if "around" in given:
        labels = np.where(labels == 1, 1, 2).astype(np.uint8)
    regions = tuple(
        Region(name, label, *words)
        for label, (name, words) in enumerate(given["regions"].items(), 1)
    )
    words = {
        "source_prompt": given.get("source", "a cat and a dog"),
        "prompt": given.get("prompt", ""),
    }
    labels = labels * (labels <= len(regions)) if regions else None
    request = EditRequest(
        black(FRAMES, 48, 64), labels, regions, reader="mine", **words
    )
    known = (given.get(name, ()) for name in ("kinds", "places", "styles"))
    found = wishes(request, words["prompt"], *known)
    return {one.region or "": [one.words, *sorted(one.others)] for one in found}


@pytest.mark.parametrize("what", TABLES["wishes"])
def test_what_a_region_might_look_like_instead(what):
    given = TABLES["wishes"][what]
    assert compared(given) == given["others"]


@pytest.mark.parametrize(("wish", "before", "phrase"), TABLES["phrases"])
def test_colours_and_clothes_are_compared_together_with_what_wears_them(
    wish, before, phrase
):
    assert whole_phrase(wish, before) == phrase


@pytest.mark.parametrize("words", ["a fox", "a red fox", "a furred fox"])
def test_what_has_its_colours_from_a_picture_is_seen_in_three_colourings(
    words, by_colour, monkeypatch
):
    monkeypatch.setattr(by_colour, "kinds", ("a fox", "a dog"))
    monkeypatch.setitem(LOOKS, "a red fox", (255, 0, 0))
    monkeypatch.setitem(LOOKS, "a furred fox", (255, 0, 0))
    monkeypatch.setitem(LOOKS, "a dog", (200, 255, 0))
    fox = replace(LEFT, prompt=words, picture="fox.png")
    seen = {}
    for region in (fox, replace(fox, picture="")):
        (wish, _) = wishes(asked(region, RIGHT), "", by_colour.kinds)
        seen[wish.pictured] = wish
    assert len(seen) == (1 if words == "a red fox" else 2)
    reader = by_colour("mine")
    frames = np.full((FRAMES, 48, 64, 3), (0, 255, 0), np.uint8)
    device = SimpleNamespace(device=torch.device("cpu"))
    phrases = [*seen[False].others, words]

    def margins(*colours):
        crops = [np.full((2, 2, 3), colour, np.uint8) for colour in colours]
        cosines = reader.cosines(crops, phrases, device.device).mean(0)
        return pytest.approx(cosines[-1] - cosines[:-1].max(), abs=1e-4)

    green, blue, red = (0, 255, 0), (0, 0, 255), (255, 0, 0)
    for pictured, wish in seen.items():
        told = looked._look(reader, wish, frames, device)
        assert told["margin"] == margins(
            *((green, blue, red) if pictured else (green,))
        )


def test_a_crop_is_a_square_in_which_the_edge_of_the_frame_is_repeated(monkeypatch):
    labels = np.zeros((1, 48, 64), np.uint8)
    labels[0, 30:48, 24:64] = 1  # 40 wide: 48 with its surroundings
    request = asked(LEFT, labels=labels)
    (wish,) = wishes(request, "")
    assert wish.boxes.tolist() == [[20, 15, 68, 63]]
    kept = []

    def keep(self, crops, phrases, device):
        kept.extend(crops)
        return np.eye(1, len(phrases), dtype=np.float32)

    monkeypatch.setattr(ByColour, "cosines", keep)
    frames = noise(1, 48, 64, 3, seed=3)
    looking(request, frames)
    (crop,) = kept
    assert crop.shape == (48, 48, 3)
    np.testing.assert_array_equal(crop[:33, :44], frames[0, 15:, 20:])
    assert (crop[33:, :44] == frames[0, -1, 20:]).all()
    assert (crop[:33, 44:] == frames[0, 15:, -1:]).all()
    monkeypatch.setattr(looked, "_SIDE", 24)
    kept.clear()
    looking(request, frames)
    (small,) = kept
    assert np.array_equal(small, resize(crop[None], (24, 24))[0])


def test_the_better_run_is_the_one_with_more_regions_there_then_by_margin():
    runs = [
        {
            "looked_at": {
                "regions": [
                    {"there": there, "share": there is not False, "margin": margin}
                    for there, margin in regions
                ]
            }
        }
        for regions in TABLES["better to worse"]
    ]
    assert sorted(runs, key=rank) == runs[::-1]
    assert rank({}) == rank(runs[-1])


@pytest.fixture
def reader(tmp_path):
    return write_reader(tmp_path / "reader")


def test_cosines_are_those_of_the_library(reader):
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    crops = [*noise(3, 40, 40, 3, seed=2)]
    phrases = ["a fox", "a robot wearing a hat", " ".join(["very"] * 100)]
    found = CropReader(str(reader)).cosines(crops, phrases, torch.device("cpu"))
    model = CLIPModel.from_pretrained(reader)
    texts = CLIPTokenizer.from_pretrained(reader)
    words = texts(
        phrases, padding=True, truncation=True, max_length=77, return_tensors="pt"
    )
    shown = [Image.fromarray(crop) for crop in crops]
    seen = CLIPImageProcessor.from_pretrained(reader)(shown, return_tensors="pt")
    with torch.no_grad():
        logits = model(**words, **seen).logits_per_image / model.logit_scale.exp()
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-5)
    assert found.std() > 0.01


def test_what_tells_clean_drawings_is_asked_as_the_library_does(reader):
    from transformers import CLIPForImageClassification
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    crops = [*noise(3, 40, 40, 3, seed=2)]
    found = CropReader(str(reader)).clear(crops, torch.device("cpu"))
    critic = CLIPForImageClassification.from_pretrained(reader / "clear")
    shown = [Image.fromarray(crop) for crop in crops]
    seen = CLIPImageProcessor.from_pretrained(reader)(shown, return_tensors="pt")
    with torch.no_grad():
        wanted = critic(**seen).logits[:, 0].sigmoid().numpy()
    assert found == pytest.approx(wanted.mean(), abs=1e-5)
    assert wanted.std() > 1e-3
    shutil.rmtree(reader / "clear")
    assert CropReader(str(reader)).clear(crops, torch.device("cpu")) is None


def test_a_run_is_looked_at_last_and_says_how_long_that_took(
    small, own_cache, reader, monkeypatch
):
    monkeypatch.setattr(looked, "CropReader", CropReader)
    request = replace(asked(params={"steps": 2}, method="sdedit"), reader=str(reader))
    events = list(edit(request, small))
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages[-2:] == ["measuring", "looking"]
    report = events[-1].report
    assert report["looked_at"]["reader"] == str(reader)
    assert {one["region"] for one in report["looked_at"]["regions"]} == {
        "left",
        "right",
    }
    assert "looking" in report["seconds"]
    for event in edit(request, small):
        if isinstance(event, Stage) and event.name == "looking":
            event.skip()
    assert lines(event.report) == ["Nobody looked at the result: that was skipped"]
    plain = list(edit(replace(request, reader=""), small))[-1].report
    assert lines(plain) == ["Nobody looked at the result: no reader is chosen"]
    assert "looking" not in plain["seconds"]


def test_what_goes_wrong_while_looking_leaves_the_edit(
    small, own_cache, reader, monkeypatch
):
    monkeypatch.setattr(looked, "CropReader", CropReader)
    request = replace(asked(params={"steps": 2}, method="sdedit"), reader=str(reader))
    for said in ("division by zero", "preprocessor_config.json"):
        events = edit(request, small)
        next(events)  # which asks the reader
        with monkeypatch.context() as patch:
            if said in REFUSED:
                damage(reader, REFUSED[said])
            else:
                patch.setattr(looked, "_look", lambda *_: 1 / 0)
            *_, finished = events
        (line,) = lines(finished.report)
        assert said in line
        assert len(finished.result.frames) == FRAMES


REFUSED = read_json(Path(__file__).with_name("refused.json"))
"""By what is said, damages to the folder of a reader."""


def refused(reader) -> str:
    request = replace(asked(), reader=str(reader))
    with pytest.raises(ModelError) as caught:
        next(edit(request))  # before anything is loaded
    assert caught.value.field == "reader"
    return caught.value.message


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_reader_is_refused_in_a_line(reader, said):
    damage(reader, REFUSED[said])
    assert said in refused(reader)


def test_what_is_no_folder_of_a_reader_is_refused(tmp_path, small_folder):
    assert "has no config.json" in refused(small_folder)
    assert "was not found" in refused(tmp_path / "none")
    assert "is a pickle" in refused(tmp_path / "clip.pt")


def test_a_hub_model_that_is_not_here_is_said_in_a_line_offline(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def away(*args, **named):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    assert "cannot be reached" in refused("owner/clip")


@pytest.fixture
def own_reader(reader, tmp_path, monkeypatch):
    """The folder of a reader that belongs to the built-in model."""
    monkeypatch.setattr(crop_reader, "ASSETS", tmp_path)
    monkeypatch.setattr(location, "ASSETS", tmp_path)
    assert crop_reader.reader_of("", "storybook") == ""
    model = tmp_path / "storybook"
    shutil.copytree(reader, model / "reader")
    (model / "unet").mkdir()
    write_json(model / "unet" / "config.json", {})
    words = {"Kinds": ["Fox", "Astronaut"], "Places": ["on the Grass", "at night"]}
    write_json(model / "words.json", words)
    return model / "reader"


@pytest.mark.usefixtures("own_reader")
def test_the_built_in_model_takes_its_own_reader_once_that_is_there():
    chosen = {"": "storybook/reader", "own": "own"}
    assert {id: crop_reader.reader_of(id, "storybook") for id in chosen} == chosen
    assert crop_reader.reader_of("", "other") == ""
    found = CropReader("storybook/reader")
    assert found.kinds == ["a fox", "an astronaut"]
    assert found.places == ["the grass", "night"]


def test_a_reader_may_have_words_and_a_rule_of_its_own(own_reader):
    write_json(own_reader / "words.json", {"kinds": ["car"]})
    write_json(own_reader / "rule.json", {"margin": 0.1, "frames": 0.75})
    found = CropReader("storybook/reader")
    assert (found.kinds, found.places) == (["a car"], [])
    shares = [found.rule.holds(*given, None) for given in ((0.75, 0.1), (0.74, 0.1))]
    assert (*shares, found.rule.holds(0.75, 0.09, None)) == (True, False, None)
    write_json(own_reader / "rule.json", {"clear": 0.6, "mush": 0.3})
    rule = CropReader("storybook/reader").rule
    told = [rule.holds(0.75, 0.1, clear) for clear in (0.6, 0.59, 0.3, 0.29)]
    assert told == [True, None, None, False]


@pytest.mark.parametrize("own", [4, 5])
def test_what_is_seen_on_fewer_frames_is_not_what_it_looks_like(own):
    nearest = ["a fox"] * own + ["a dog"] * (8 - own)
    one = {"region": "cat", "words": "a fox", "there": False, "instead": "a dog"}
    one |= {"share": own / 8, "frames": [*range(8)], "nearest": nearest}
    (line,) = say("mine", [one])["says"]
    assert (f"a fox on {own} of 8 frames alone" in line) == (own == 5)
    assert ("looks like a dog on 4 of 8" in line) == (own == 4)


def test_the_region_is_told_that_is_seen_on_the_fewest_frames():
    seen = {"words": "a fox", "frames": [0, 1]}
    regions = [seen | {"share": n / 2, "nearest": ["a fox"] * n} for n in (2, 1)]
    assert fewest({"looked_at": {"regions": regions}}) == (1, 2)
