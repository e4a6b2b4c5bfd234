"""Where the edit of a page works: chosen, found from its masks, kept, and run."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regrain.editing.errors import RequestError
from regrain.editing.media.labels import Labels
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.pipeline.focus import asked_boxes, box_sizes
from regrain.editing.request.boxes import read_boxes
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region
from regrain.masks.draw import Rectangle, pack
from regrain.ui.handlers.tuning_handlers import TuningHandlers
from regrain.ui.session import mask_edits
from regrain.ui.session.build_request import build_request, planned
from regrain.ui.session.clips import open_picture
from regrain.ui.session.project_file import describe_work, take_work
from regrain.ui.session.session import Session
from regrain.ui.values.kept import MaskFiles
from regrain.ui.values.layers import Key, MaskLayer
from regrain.ui.views.focus_view import focus_view
from regrain.ui.views.session_views import cards

FRAMES, HEIGHT, WIDTH = SHAPE = 4, 240, 320
CAT = slice(100, 120), slice(60, 84)
DOG = slice(30, 60), slice(250, 270)
QUICK = {"steps": 2, "cuts": "auto"}


@pytest.fixture
def opened(open_clip):
    regions = (Region("cat", 1, "a fox", "a cat"), Region("dog", 2, "", "a dog"))
    boxes = {1: CAT, 2: DOG}
    words = {"source_prompt": "a cat and a dog", "method": "sdedit"}
    return open_clip("small", SHAPE, regions, boxes, **words)


@pytest.fixture
def session(opened):
    return Session(opened)


def shown(session, focus, **params):
    session.focus = focus
    return focus_view(session, planned(session, "storybook", QUICK | params))


def path(view, number=0):
    return read_boxes(view.boxes[number].path, FRAMES, (WIDTH, HEIGHT))


# --- Edges of masks


def random_state(session, seed):
    """Regions that cover each other, tracked and drawn, and the rest of the frame."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        label = session.add_region()
        tracks = {}
        for frame in range(FRAMES):
            mask = np.zeros((HEIGHT, WIDTH), bool)
            top, left = rng.integers(0, (HEIGHT, WIDTH))
            mask[top : top + 90, left : left + 120] = True
            tracks[frame] = pack(mask)
        del tracks[int(rng.integers(FRAMES))]
        keys = {1: Key(edits=(Rectangle((10.0, 20.0, 60.0, 50.0), erase=False),))}
        layer = MaskLayer(keys if rng.random() < 0.5 else {}, tracks)
        session.commit(session.state.with_layer(label, layer))
    session.add_rest()
    labels = list(session.state.regions)
    regions = {label: session.state.regions[label] for label in rng.permutation(labels)}
    session.state = replace(session.state, regions=regions)


@pytest.mark.parametrize("seed", range(6))
def test_edges_are_those_of_the_labels_that_a_run_gets(session, seed):
    random_state(session, seed)
    labels = build_request(session, Edit(method="sdedit"), masked=False).labels
    expected = Labels(np.asarray(labels[:])).extents
    assert set(expected) <= set(labels.extents)
    for label, edges in labels.extents.items():
        wanted = expected.get(label, np.full((FRAMES, 4), np.nan))
        np.testing.assert_array_equal(edges, wanted)


def test_a_frame_is_looked_at_again_only_if_its_masks_have_changed(session):
    shown(session, "on")
    assert session.edges_of.cache_info().misses == 1  # all frames are alike
    mask_edits.add_edit(session, 1, 2, Rectangle((10.0, 20.0, 60.0, 50.0), erase=False))
    shown(session, "on")
    assert session.edges_of.cache_info().misses == 2


# --- What is shown


def test_the_box_is_that_of_the_run(session):
    view = shown(session, "on")
    assert (view.how, view.edits) == ("on", True)
    request = build_request(session, Edit(method="sdedit", focus="on"))
    ((_, boxes),) = asked_boxes(request, (), working_size_of(request).fit)
    assert np.array_equal(path(view), boxes)
    assert view.boxes[0].gain == round(HEIGHT / boxes[0, 2:].min(), 1)
    assert view.boxes[0].label == 0
    # By the model's working size, which is no clip's.
    ((_, plain),) = asked_boxes(request, ())
    assert not np.array_equal(boxes, plain)


def say_margin(session, margin):
    session.describe({"regions": [{"label": 1, "margin": margin}]})


def test_a_margin_that_nobody_changed_is_chosen_by_the_run(session):
    shown_on_card = cards(session).regions[0].margin
    assert shown_on_card == round(HEIGHT / 16)
    for said, sent in (
        (shown_on_card, None),
        (shown_on_card + 1, shown_on_card + 1),
        (shown_on_card, shown_on_card),  # one that was changed stays what was said
        (0, 0),
    ):
        say_margin(session, said)
        assert cards(session).regions[0].margin == said
        for focus in ("off", "on"):
            asked = Edit(method="sdedit", focus=focus)
            assert build_request(session, asked).regions[0].margin == sent
            session.focus = focus
            assert planned(session, "storybook", QUICK).regions[0].margin == sent


def test_the_ring_around_a_mask_is_as_wide_as_the_margin_of_its_box(session):
    view = shown(session, "on")
    box = path(view)[0]
    begun = cards(session).regions[0].margin
    assert view.margins["1"] == (begun, round(min(box[2:]) / 16))
    assert view.margins["1"][1] < begun
    say_margin(session, begun + 1)
    assert "1" not in shown(session, "on").margins
    assert shown(session, "off").margins == {}


def test_a_margin_that_a_project_says_stays_a_number(open_clip):
    """Also where it is the one that would be chosen automatically."""
    region = Region("cat", 1, "a fox", "a cat", margin=round(HEIGHT / 16))
    session = Session(open_clip("said", SHAPE, (region,), {1: CAT}))
    asked = Edit(method="sdedit", focus="on")
    say_margin(session, region.margin)
    assert build_request(session, asked).regions[0].margin == region.margin


def test_masks_and_words_move_the_box(session):
    before = path(shown(session, "on"))
    session.state = session.state.change_region(2, prompt="a panda")
    assert shown(session, "on").boxes == []  # around both, most of the frame
    each = shown(session, "each")
    assert [box.label for box in each.boxes] == [1, 2]
    assert np.array_equal(path(each), before)
    for label in (1, 2):
        session.state = session.state.change_region(label, prompt="")
    nothing = shown(session, "on")
    assert (nothing.edits, nothing.boxes) == (False, [])


def test_cuts_that_were_found_part_the_boxes(session):
    session.found = (2,)
    assert ", 2:" in shown(session, "on").boxes[0].path
    assert ", 2:" not in shown(session, "on", cuts="none").boxes[0].path
    assert ", 1:" in shown(session, "on", cuts="1").boxes[0].path


@pytest.mark.parametrize("focus", ["off", "auto 4", f"{WIDTH}x{HEIGHT}+0+0"])
def test_no_box_is_shown_where_the_whole_frame_is_edited(session, focus):
    assert shown(session, focus).boxes == []


def test_nothing_is_looked_for_where_it_is_off(session):
    shown(session, "off")
    assert session.edges_of.cache_info().misses == 0


# --- Chosen


# --- Kept


def test_work_may_be_kept_without_a_choice_and_not_with_a_wrong_one(
    session, opened, tmp_path
):
    session.choose_focus("64x48+10+20")
    masks = MaskFiles(tmp_path)
    kept = describe_work(session, masks)
    # Projects of earlier versions say nothing of it.
    del kept["focus"]
    third = Session(opened)
    third.focus = "auto"
    take_work(third, kept, masks)
    assert third.focus == "auto"
    with pytest.raises(RequestError, match="page.json is damaged"):
        take_work(third, kept | {"focus": "sometimes"}, masks)


def test_a_model_is_tuned_on_the_box(session, monkeypatch):
    """An adapter that was tuned on a box is looked at as one of a box."""
    given = Edit(method="tune_a_video", focus="on")
    monkeypatch.setattr(TuningHandlers, "asked", lambda *_: given)
    asked = TuningHandlers(None, None, None, None)._asked(session, None)
    ((width, height),) = box_sizes(asked)
    assert width < WIDTH
    assert height < HEIGHT


def test_clips_of_ones_own_begin_with_auto(tmp_path):
    file = tmp_path / "in" / "one.png"
    file.parent.mkdir()
    Image.new("RGB", (64, 48)).save(file)
    assert Session(open_picture(file, tmp_path / "out")).focus == "auto"
