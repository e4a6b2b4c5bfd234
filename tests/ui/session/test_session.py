"""A page's work: points, strokes, undo, tracking, and the request that comes of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import gradio as gr
import numpy as np
import orjson
import pytest
from gradio.routes import App

from regrain.editing.errors import RequestError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.masks.draw import BrushStroke, brush, pack, unpack
from regrain.ui.forms import views
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.page.blocks import Page
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.session import mask_edits, mask_models
from regrain.ui.session.build_request import build_request, composed, whole_masks
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.clips import open_upload, prepare
from regrain.ui.session.layers import Key, MaskLayer, Reshape, encode_runs
from regrain.ui.session.session import Session, SessionExpired, StaleEvent
from regrain.ui.session.session_store import MAX_PAGES, SessionStore

FRAMES, HEIGHT, WIDTH = 6, 40, 60


def left_of(image, points, point_labels, previous=None, method="cuts", clip=None, frame=0):
    """A made-up segmenter: all columns up to the rightmost point inside, from the first outside on none.

    By "other", all rows down to the last point.
    """
    mask = np.zeros(image.shape[:2], bool)
    if method == "other":
        mask[: int(max(y for _, y in points))] = True
        return mask
    for (x, _), inside in zip(points, point_labels, strict=True):
        mask[:, : int(x)] = True if inside else mask[:, : int(x)]
        mask[:, int(x) :] &= bool(inside)
    return mask


def shift(clip, keys, start, stop, **how):
    """A made-up tracker: a pixel to the right with each frame."""
    for frame in range(start, stop):
        key = min(keys, key=lambda key: abs(key - frame))
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, mask in reversed(keys[key].items()):
            labels[np.roll(mask, frame - key, 1)] = label
        yield frame, labels, 1 - 0.2 * abs(frame - key)


@pytest.fixture
def bare(tmp_path):
    clip = ArrayClip(np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8), Fraction(8))
    return prepare("", "clip.mp4", EditRequest(clip, None, ()), tmp_path / "bare")


@pytest.fixture
def masked(tmp_path):
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[:, 5:20, 5:20], labels[:, 5:20, 30:50] = 1, 2
    regions = (Region("left", 1, "a panda", "a cat"), Region("right", 2, "", "a dog"))
    clip = ArrayClip(np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8), Fraction(8))
    request = EditRequest(clip, labels, regions, "a cat and a dog", prompt="a panda runs to a dog")
    return prepare("01", "One", request, tmp_path / "masked")


@pytest.fixture
def document(bare):
    return Session(bare)


def draw(runs):
    lengths = [int(part) for part in runs.split()]
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_runs_and_packed_masks_come_back(share):
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < share
    assert (draw(encode_runs(mask)) == mask).all()
    assert (unpack(pack(mask), (WIDTH, HEIGHT)) == mask).all()
    assert encode_runs(np.zeros((4, 4), bool)) == ""


def test_the_margin_around_a_region_reaches_the_run(masked):
    document = Session(masked)
    label = document.add_region()
    assert document.state.regions[label].margin == round(HEIGHT / 16)
    cards = [{"label": 1, "margin": 5}, {"label": 2, "margin": 10**6}]
    document.describe({"source_prompt": "a cat", "regions": cards})
    request = build_request(document, {}, "videograin", "storybook")
    assert {r.name: r.margin for r in request.regions if r.label < 3} == {
        "left": 5,
        "right": round(HEIGHT / 16),
    }
    assert request.edited_mask[0][12, 22]
    assert not request.edited_mask[0][12, 28]


def test_points_strokes_undo_and_redo(document):
    label = document.add_region()
    assert mask_edits.add_point(document, label, 2, (20.0, 5.0), True, left_of)
    mask_edits.add_edit(document, label, 2, BrushStroke(((40.0, 20.0), (50.0, 20.0)), 3, False))
    mask_edits.add_edit(document, label, 2, BrushStroke(((5.0, 20.0),), 3, True))
    mask = document.state.mask(label, 2)
    assert (mask[20, 45], mask[20, 5], mask[20, 15], mask[35, 45]) == (True, False, True, False)
    # Strokes stay when another point finds the mask anew.
    mask_edits.add_point(document, label, 2, (10.0, 5.0), False, left_of)
    assert document.state.mask(label, 2)[20, 45]
    assert not document.state.mask(label, 2)[20, 15]
    for _ in range(3):
        document.undo()
    assert encode_runs(document.state.mask(label, 2)) == encode_runs(
        np.arange(WIDTH) < np.full((HEIGHT, 1), 20)
    )
    document.redo()
    assert document.state.mask(label, 2)[20, 45]
    for _ in range(9):
        document.undo()
    assert document.state.regions == {}
    assert document.can == {"undo": False, "redo": True}


def test_a_region_asks_another_finder_where_the_usual_one_fails(document, monkeypatch):
    known = mask_models.click_models("sam")
    other_one = replace(known["cuts"], name="other")
    monkeypatch.setattr(mask_models, "finders", lambda: {**known, "other": other_one})
    label = document.add_region()
    mask_edits.add_point(document, label, 2, (20.0, 5.0), True, left_of)
    before = document.state.mask(label, 2)
    mask_edits.find_by(document, label, 2, "other", left_of)
    assert document.state.layers[label].keys[2].by == "other"
    assert document.state.mask(label, 2).sum() == 5 * WIDTH
    other = document.add_region()
    assert [mask_edits.finder_of(document, one) for one in (label, other)] == ["other", "cuts"]
    for _ in range(2):
        document.undo()
    assert (document.state.mask(label, 2) == before).all()
    assert mask_edits.finder_of(document, label) == "cuts"


def test_without_sam_others_answer(masked):
    document = Session(masked, "cuts")
    label = document.add_region()
    with pytest.raises(RequestError, match="Choose from cuts"):
        mask_edits.find_by(document, label, 0, "sam", left_of)


def test_cuts_are_told_of_the_clip_and_correct_what_they_found(bare):
    asked = []

    def watch(image, points, point_labels, **how):
        asked.append((len(points), how))
        return left_of(image, points, point_labels)

    document = Session(bare)
    label = document.add_region()
    assert mask_edits.finder_of(document, label) == "cuts"
    mask_edits.add_point(document, label, 3, (20.0, 5.0), True, watch)
    found = document.state.mask(label, 3)
    mask_edits.add_point(document, label, 3, (25.0, 5.0), True, watch)
    (first, begun), (second, further) = asked
    assert (first, second) == (1, 2)
    assert (begun["method"], begun["frame"], len(begun["clip"])) == ("cuts", 3, FRAMES)
    assert begun["previous"] is None
    assert (further["previous"] == found).all()
    document.undo()
    assert (document.state.mask(label, 3) == found).all()


def test_points_that_find_nothing_leave_the_mask(masked):
    document = Session(masked)
    nothing = lambda image, *rest, **more: np.zeros(image.shape[:2], bool)  # noqa: E731
    assert not mask_edits.add_point(document, 1, 0, (3.0, 3.0), True, nothing)
    assert document.state.mask(1, 0).sum() == 15 * 15
    assert document.state.to_track() == []


def test_revisions_tell_what_changed(document):
    label = document.add_region()
    have = document.rev
    mask_edits.add_point(document, label, 3, (20.0, 5.0), True, left_of)
    view = views.canvas(document, have)
    assert list(view["changes"]) == ["3"]
    assert view["changes"]["3"]["1"]["points"] == [[20.0, 5.0, 1]]
    assert view["rev"] > have
    assert list(views.canvas(document)["changes"]) == ["0", "1", "2", "3", "4", "5"]
    orjson.dumps(view)
    with pytest.raises(SessionExpired):
        document.check("", document.rev + 1)
    with pytest.raises(SessionExpired):
        document.check("another", 0)


def test_events_for_the_clip_before_are_passed_over(document, masked):
    document.open(masked, "second")
    with pytest.raises(StaleEvent):
        document.check("", 0)
    document.check("second", 0)
    with pytest.raises(SessionExpired):
        document.check("third", 0)


def test_words_order_and_colours_are_taken_over_and_checked(masked):
    document = Session(masked)
    assert composed(document)[0].text == "a panda runs to a dog"
    cards = [
        {"label": 2, "name": "  ", "color": "red", "prompt": "a fox"},
        {"label": 1, "name": "${x}", "color": "#010203", "prompt": 3},
        {"label": 7, "name": "none"},
        "no region",
    ]
    document.describe({"source_prompt": "a cat and a dog", "regions": cards})
    assert list(document.state.regions) == [2, 1]
    assert document.state.regions[2].name == "Region 2"
    assert document.state.regions[2].color != "red"
    assert (document.state.regions[1].name, document.state.regions[1].color) == ("${x}", "#010203")
    assert composed(document)[0].text == "a panda and a fox"


def test_what_stands_first_covers(masked):
    document = Session(masked)
    mask_edits.add_point(document, 2, 0, (15.0, 5.0), True, left_of)
    asked = build_request(document, {"steps": 3}, "videograin", "storybook")
    assert asked.labels[0][10, 10] == 1
    document.describe({"regions": [{"label": 2}, {"label": 1}]})
    assert build_request(document, {}, "videograin", "storybook").labels[0][10, 10] == 2
    assert [region.label for region in build_request(document, {}, "videograin", "storybook").regions] == [
        2,
        1,
    ]


@pytest.mark.parametrize(("prompt", "field"), [("", "regions"), ("a fox", "regions.Region 1.mask")])
def test_a_run_without_masks_says_what_is_missing(document, prompt, field):
    label = document.add_region()
    document.describe({"regions": [{"label": label, "prompt": prompt}]})
    with pytest.raises(RequestError) as error:
        build_request(document, {}, "videograin", "storybook")
    assert error.value.field == field


def test_tracking_streams_keeps_key_frames_and_can_be_undone(document, bare, tmp_path):
    label = document.add_region()
    mask_edits.add_point(document, label, 0, (20.0, 5.0), True, left_of)
    mask_edits.add_point(document, label, 4, (30.0, 5.0), True, left_of)
    assert document.state.to_track(only_untracked=True) == [label]
    tracking = Tracking(SessionStore(bare, Media(tmp_path)), shift)
    steps = [step for step in tracking.follow(document, [label]) if step]
    assert [step.done for step in steps] == list(range(FRAMES + 1))
    assert document.state.mask(label, 4).sum() == 30 * HEIGHT
    assert document.state.mask(label, 5).any()
    assert document.state.layers[label].score[1] == 0.8
    assert document.state.to_track() == []
    mask_edits.add_edit(document, label, 5, BrushStroke(((50.0, 20.0),), 2, False))
    assert document.state.to_track() == [label]
    document.undo()
    document.undo()
    assert not document.state.mask(label, 5).any()


def test_a_correction_is_tracked_up_to_the_key_frames_next_to_it(document, bare, tmp_path):
    label, other = document.add_region(), document.add_region()
    for frame, at in ((0, 20.0), (2, 22.0), (4, 24.0)):
        mask_edits.add_point(document, label, frame, (at, 5.0), True, left_of)
    mask_edits.add_point(document, other, 0, (9.0, 5.0), True, left_of)
    given = []

    def propagate(clip, keys, start, stop, **how):
        given.append((start, stop, sorted(keys)))
        return shift(clip, keys, start, stop)

    tracking = Tracking(SessionStore(bare, Media(tmp_path)), propagate)
    assert [step.total for step in tracking.follow(document, [label, other]) if step][-1] == FRAMES
    assert given == [(0, FRAMES, [0, 2, 4])]
    before = {n: dict(document.state.layers[n].track) for n in (label, other)}
    mask_edits.add_point(document, label, 3, (33.0, 5.0), True, left_of)
    assert document.state.to_track() == [label]
    assert [step.done for step in tracking.follow(document, [label]) if step] == [0, 1, 2, 3]
    assert given[1:] == [(2, 5, [2, 3, 4])]
    after = {n: document.state.layers[n].track for n in (label, other)}
    assert after[other] == before[other]
    assert {frame for frame in range(FRAMES) if after[label][frame] != before[label][frame]} == {3}
    assert document.state.to_track() == []


def test_a_correction_whose_tracking_was_stopped_is_tracked_again(document, bare, tmp_path):
    label = document.add_region()
    for frame in (0, 2, 4):
        mask_edits.add_point(document, label, frame, (20.0 + frame, 5.0), True, left_of)
    tracking = Tracking(SessionStore(bare, Media(tmp_path)), shift)
    list(tracking.follow(document, [label]))
    mask_edits.add_point(document, label, 2, (30.0, 5.0), True, left_of)
    steps = tracking.follow(document, [label])
    next(steps)
    steps.close()
    assert document.state.to_track() == [label]
    assert [part.frames for part in document.state.begin_track([label])[1]] == [range(0, 5)]


def test_a_key_frame_that_was_taken_away_is_tracked_over(document, bare, tmp_path):
    label = document.add_region()
    for frame in (0, 2, 4):
        mask_edits.add_point(document, label, frame, (20.0 + frame, 5.0), True, left_of)
    list(Tracking(SessionStore(bare, Media(tmp_path)), shift).follow(document, [label]))
    mask_edits.remove_point(document, label, 2, (22.0, 5.0), left_of)
    _, (part,) = document.state.begin_track([label])
    assert (part.frames, sorted(part.keys)) == (range(0, 5), [0, 4])


def test_after_tracking_lost_and_doubtful_frames_are_said(document, bare, tmp_path):
    label = document.add_region()
    mask_edits.add_point(document, label, 0, (20.0, 5.0), True, left_of)

    def propagate(clip, keys, start, stop, **how):
        for frame in range(start, stop):
            labels = keys[0][label].astype(np.uint8) * label * (frame not in (1, 2))
            yield frame, labels, 0.3 if frame == 4 else 0.9

    tracking = Tracking(SessionStore(bare, Media(tmp_path)), propagate)
    visited = tracking.visits.get("page", bare)
    visited.state = document.state
    *_, last = tracking.track("page", {"id": visited.id, "have": visited.rev})
    assert last["note"].startswith("“Region 1”: lost in frames 2-3, doubtful in frame 5. ")
    assert last["lanes"] == {"1": "c--939"}


def test_a_tracking_that_was_broken_off_is_not_done(document, bare, tmp_path):
    label = document.add_region()
    mask_edits.add_point(document, label, 0, (20.0, 5.0), True, left_of)
    tracking = Tracking(SessionStore(bare, Media(tmp_path)), shift)
    steps = tracking.follow(document, [label])
    next(step for step in steps if step and step.done == 2)
    steps.close()  # Stop, or the page was closed
    assert document.state.to_track(only_untracked=True) == document.state.to_track() == [label]
    assert [step.done for step in tracking.follow(document, [label]) if step][-1] == FRAMES
    assert document.state.to_track(only_untracked=True) == document.state.to_track() == []


def test_nothing_is_handed_out_under_the_lock(document, bare, tmp_path):
    """The next step may be asked for in another thread, or never."""
    visits = SessionStore(bare, Media(tmp_path))
    tracking = Tracking(visits, shift)
    opened = visits.get("page")

    def is_free():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: opened.lock.acquire(timeout=60) and not opened.lock.release()).result()

    nothing = {"id": opened.id, "have": opened.rev}
    for _ in tracking.track("page", nothing):
        assert is_free()
    mask_edits.add_point(opened, opened.add_region(), 0, (20.0, 5.0), True, left_of)
    for _ in tracking.track("page", {"id": opened.id, "have": opened.rev}):
        assert is_free()


def test_a_deleted_region_comes_back_to_where_it_was(masked):
    document = Session(masked)
    document.commit(document.state.delete(2))
    document.undo()
    assert list(document.state.regions) == [1, 2]
    document.commit(document.state.delete(1))
    document.undo()
    assert list(document.state.regions) == [1, 2]


def test_deleting_stops_the_tracker_which_writes_by_label(bare, tmp_path):
    visits = SessionStore(bare, Media(tmp_path))
    masking = Masking(visits, left_of)
    document = visits.get("page")
    label = document.add_region()
    document.stop.clear()
    masking.act("page", {"id": document.id, "have": document.rev, "act": "delete", "label": label})
    assert document.stop.is_set()
    assert not document.state.regions


def until_forgotten(visits):
    for _ in range(1000):
        if not len(visits):
            return
        time.sleep(0.05)
    raise AssertionError("the page is kept")


def test_a_page_that_lost_its_connection_may_come_back(bare, tmp_path):
    visits = SessionStore(bare, Media(tmp_path), grace=1.0)
    first = visits.get("page")
    visits.leave("page")
    assert visits.arrive("page", "again") is first
    time.sleep(1.5)
    assert visits.get("page") is first
    visits.leave("page", "again")
    visits.keep("page")  # what still runs for it does not bring it back
    until_forgotten(visits)


def test_what_a_page_sent_before_it_went_does_not_bring_it_back(bare, tmp_path):
    now = [0.0]
    visits = SessionStore(bare, Media(tmp_path), clock=lambda: now[0], grace=1.0)
    visits.arrive("page", "connection")
    first = visits.get("page")
    visits.leave("page", "connection")
    assert visits.get("page") is first  # answered, and forgotten all the same
    until_forgotten(visits)
    visits.arrive("page", "other")
    visits.get("page")
    visits.leave("page", "other")
    now[0] += 0.6  # only its connection is lost
    visits.here("page")
    time.sleep(1.5)
    assert len(visits) == 1


def test_a_closed_page_is_forgotten_though_its_run_is_still_watched(bare, tmp_path):
    now = [0.0]
    visits = SessionStore(bare, Media(tmp_path), clock=lambda: now[0], grace=0.5)
    document = visits.get("page")
    visits.leave("page")
    now[0] += 0.4
    visits.keep("page")  # gradio goes on with what a closed page had asked
    until_forgotten(visits)
    assert now == [0.4]  # though nothing was heard of it later
    assert document.stop.is_set()


def test_a_page_that_is_open_is_kept_though_nobody_touches_it(bare, tmp_path):
    now = [0.0]
    visits = SessionStore(bare, Media(tmp_path), clock=lambda: now[0], grace=0.5)
    visits.get("page")
    used = visits._pages["page"].used
    visits.here("page")  # with its connection it needs no sign of life
    assert visits._pages["page"].heard == 0
    visits.leave("page")
    now[0] += 0.4
    visits.here("page")
    visits.here("nobody")
    time.sleep(0.8)
    assert len(visits) == 1
    assert visits._pages["page"].used == used  # so that an hour without use ends it all the same
    until_forgotten(visits)


def test_an_event_that_was_answered_late_does_not_keep_a_closed_page(bare, tmp_path):
    now = [0.0]
    visits = SessionStore(bare, Media(tmp_path), clock=lambda: now[0], grace=0.5)
    visits.get("page")
    visits.leave("page")
    now[0] += 60.0  # on a busy machine
    visits.get("page")
    until_forgotten(visits)
    visits.get("page")  # on a very busy one
    until_forgotten(visits)


def test_a_page_that_was_closed_before_it_was_heard_is_forgotten(bare, tmp_path):
    visits = SessionStore(bare, Media(tmp_path), grace=0.5)
    visits.leave("page", "connection")
    assert visits.arrive("page", "connection") is None
    visits.get("page")
    until_forgotten(visits)
    first = visits.get("reloaded")
    visits.leave("reloaded", "second")  # before the event says that it has come
    assert visits.arrive("reloaded", "second") is first
    until_forgotten(visits)


def test_all_connections_of_a_page_end_with_it(bare, tmp_path):
    ended = []
    visits = SessionStore(bare, Media(tmp_path), grace=0.5, ended=ended.append)
    visits.arrive("stranger", "third")
    visits.leave("stranger", "third")  # without a document
    assert ended == ["third"]
    visits.arrive("page", "first")
    visits.get("page")
    visits.arrive("page", "second")  # reloaded
    visits.leave("page", "first")
    visits.leave("page", "second")
    assert ended == ["third"]  # it may come back
    until_forgotten(visits)
    time.sleep(0.1)
    assert sorted(ended) == ["first", "second", "third"]
    visits.get("page")  # answered late: gradio has made the session anew
    until_forgotten(visits)
    time.sleep(0.1)
    assert len(ended) == 5


def test_gradio_keeps_nothing_of_a_session_that_has_ended():
    with Page() as page:
        gr.Slider()
    page.drop_session("early")  # before it is served
    App.create_app(page)
    assert page.state_holder["session"]
    page.drop_session("session")
    assert "session" not in page.state_holder
    assert "session" not in page.state_holder.time_last_used


def test_a_page_loses_its_session_after_an_hour_or_when_many_come(bare, tmp_path):
    now = [0.0]
    visits = SessionStore(bare, Media(tmp_path), clock=lambda: now[0])
    first = visits.get("first")
    assert visits.get("first") is first
    now[0] = MAX_AGE + 1
    visits.get("second")
    assert visits.get("first") is not first
    for number in range(MAX_PAGES + 5):
        visits.get(str(number))
    assert len(visits) == MAX_PAGES
    visits.forget("0")


def test_strange_events_do_nothing(bare, tmp_path):
    masking = Masking(SessionStore(bare, Media(tmp_path)), left_of)
    good = {"id": "", "have": 0, "nonce": 1}
    strange = [
        {"act": "point", "frame": 0, "at": ["1", 2], "label": 1},
        {"act": "point", "frame": 99, "at": [1, 2], "label": 1},
        {"act": "point", "frame": 0, "at": [float("nan"), 2], "label": 1},
        {"act": "stroke", "frame": 0, "path": [], "radius": 3, "label": 1},
        {"act": "stroke", "frame": 0, "path": [[1, 1]], "radius": "x", "label": 1},
        {"act": "unpoint", "frame": 0, "at": [1, 1], "label": 77},
        {"act": "delete", "label": None},
        {"act": "__class__"},
        {},
    ]
    for data in strange:
        view, _ = masking.act("page", good | data)
        orjson.dumps(view)
        assert view["labels"] == [], data
    assert masking.act("page", {"id": "x", "have": 0})[0]["gone"]


def test_a_saved_project_comes_back_with_whole_masks_and_what_was_drawn(document, bare, tmp_path):
    media = Media(tmp_path / "media")
    files = ClipFiles(SessionStore(bare, media), media)
    for at in (40, 20):  # the second, smaller, lies on top of the first
        label = document.add_region()
        mask_edits.add_point(document, label, 2, (at, 10), True, left_of)
        for frame in range(FRAMES):
            document.set_tracked(label, frame, document.state.mask(label, 2), 0.9)
    request = build_request(document, {}, "videograin", "storybook")
    assert np.bincount(request.labels[0].ravel()).tolist() == [20 * HEIGHT, 20 * HEIGHT, 20 * HEIGHT]
    archive = files.save(document, request, whole_masks(document.state, request), "page")

    opened, _ = open_upload(archive, tmp_path / "again")
    again = Session(opened)
    assert (opened.request.labels == request.labels).all()
    assert [int(again.state.mask(1, frame).sum()) for frame in (0, 5)] == [40 * HEIGHT] * 2
    assert again.state.layers[1].drawn == [2]
    # A correction elsewhere is followed from both frames a person has drawn.
    mask_edits.add_edit(again, 1, 4, BrushStroke(((50.0, 20.0),), 3.0, False))
    _, (part,) = again.state.begin_track([1])
    assert (part.frames, sorted(part.keys)) == (range(2, FRAMES), [2, 4])


def test_a_long_clip_sends_masks_that_are_near_and_those_asked_for(document, monkeypatch):
    monkeypatch.setattr(views, "MAX_WHOLE", 2)
    label = document.add_region()
    mask_edits.add_point(document, label, 3, (20.0, 5.0), True, left_of)
    view = views.canvas(document, -1, frame=3)
    assert sorted(view["changes"]) == ["2", "3"]
    assert sorted(view["wanting"]) == ["0", "1", "4", "5"]
    assert view["wanting"]["4"] == 0
    assert view["lanes"] == {str(label): "   c  "}
    document.set_tracked(label, 5, document.state.mask(label, 3), 0.42)
    document.set_tracked(label, 0, document.state.mask(label, 3) & False, 0.9)
    later = views.canvas(document, document.rev, frame=0, wanted=[5])
    assert (list(later["changes"]), later["wanting"]) == (["5"], {})
    assert later["changes"]["5"][str(label)]["runs"] == view["changes"]["3"][str(label)]["runs"]
    assert later["lanes"] == {str(label): "-  c 4"}


def test_a_click_on_a_thousand_frames_is_a_small_answer(tmp_path):
    count = 1000
    clip = ArrayClip(np.zeros((count, HEIGHT, WIDTH, 3), np.uint8), Fraction(8))
    document = Session(prepare("", "a.mp4", EditRequest(clip, None, ()), tmp_path / "long"))
    rng = np.random.default_rng(0)
    for _ in range(2):
        label = document.add_region()
        masks = {frame: pack(rng.random((HEIGHT, WIDTH)) < 0.5) for frame in range(count)}
        layer = MaskLayer({}, masks, dict.fromkeys(masks, 0.9))
        document.commit(document.state.with_layer(label, layer))
    assert len(orjson.dumps(views.canvas(document))) < 300_000
    assert len(orjson.dumps(views.canvas(document, document.rev))) < 5000


def test_a_region_that_nobody_can_see_is_named(document):
    for _ in range(2):
        mask_edits.add_point(document, document.add_region(), 0, (30, 10), True, left_of)
    with pytest.raises(RequestError, match="Regions above it cover it completely"):
        build_request(document, {}, "videograin", "storybook")


def test_no_identity_at_all_is_gone_and_not_past(document, masked):
    document.open(masked, "second")
    with pytest.raises(SessionExpired):
        document.check(None, 0)


def test_a_late_event_for_the_clip_before_changes_and_says_nothing(bare, masked, tmp_path):
    visits = SessionStore(bare, Media(tmp_path))
    late = {"id": "", "have": 0, "act": "add", "nonce": 1}
    visits.get("page").open(masked, "second")
    assert Masking(visits, left_of).act("page", late) == (None, None)
    assert list(Tracking(visits, shift).track("page", late)) == []
    assert list(visits.get("page").state.regions) == [1, 2]


def test_a_stroke_is_drawn_where_the_browser_saw_it(bare, tmp_path):
    """A browser counts from the corner of a pixel: the middle of pixel (10, 20) is at (10.5, 20.5)."""
    visits = SessionStore(bare, Media(tmp_path))
    data = {"id": "", "have": 0, "act": "stroke", "frame": 0, "label": 0, "path": [[10.5, 20.5]], "radius": 3}
    Masking(visits, left_of).act("page", data)
    expected = brush(np.zeros((HEIGHT, WIDTH), bool), BrushStroke(((10, 20),), 3))
    assert (visits.get("page").state.mask(1, 0) == expected).all()


# Mask tools


def tracked(state, label):
    """A state in which a region was tracked, and the tracker found what was there."""
    return state.begin_track([label])[0].end_track([label], True)


def square(document, label, frame):
    rows, columns = np.nonzero(document.state.mask(label, frame))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(
    ("kind", "expected"), [("grow", (3, 21, 3, 21)), ("shrink", (7, 17, 7, 17))], ids=["grow", "shrink"]
)
def test_a_mask_grows_and_shrinks_by_pixels_and_can_be_undone(masked, kind, expected):
    document = Session(masked)
    mask_edits.reshape(document, 1, [0], Reshape(kind, 2))
    assert square(document, 1, 0) == expected
    assert square(document, 1, 1) == (5, 19, 5, 19)
    assert document.state.to_track() == [1]  # a correction like any other
    document.undo()
    assert square(document, 1, 0) == (5, 19, 5, 19)


def test_holes_are_filled_and_specks_removed(document):
    label = document.add_region()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 5:25], mask[10:12, 10:12], mask[30:32, 40:42] = True, False, True
    document.set_tracked(label, 0, mask, 0.9)
    mask_edits.reshape(document, label, [0], Reshape("fill"))
    mask_edits.reshape(document, label, [0], Reshape("drop"))
    assert document.state.mask(label, 0).sum() == 20 * 20


def test_all_frames_change_in_one_step_and_stay_tracked(masked):
    document = Session(masked)
    layer = document.state.layers[1]
    key = Key(points=((10.0, 10.0, True),), found=layer.track[2])
    document.commit(tracked(document.state.with_layer(1, layer.with_key(2, key)), 1))
    mask_edits.reshape(document, 1, list(range(FRAMES)), Reshape("grow", 3))
    assert {square(document, 1, frame) for frame in range(FRAMES)} == {(2, 22, 2, 22)}
    assert document.state.to_track() == []
    document.undo()
    assert {square(document, 1, frame) for frame in range(FRAMES)} == {(5, 19, 5, 19)}


def test_tracking_from_a_grown_mask_grows_it_no_further(masked):
    document = Session(masked)
    mask_edits.reshape(document, 1, [0], Reshape("grow", 2))
    for _ in range(2):
        document.commit(tracked(document.state, 1))
        assert square(document, 1, 0) == (3, 21, 3, 21)


def test_a_tool_outlasts_the_next_click(document):
    label = document.add_region()
    mask_edits.add_point(document, label, 0, (20.0, 5.0), True, left_of)
    mask_edits.reshape(document, label, [0], Reshape("shrink", 4))
    assert square(document, label, 0)[3] == 15
    mask_edits.add_point(document, label, 0, (30.0, 5.0), True, left_of)
    assert square(document, label, 0)[3] == 25


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"kind": "grow", "pixels": 2, "label": 1, "frame": 0}, "Click the object or paint it first"),
        ({"kind": "melt", "pixels": 2, "label": 1, "frame": 0}, "one of grow, shrink, fill, drop"),
        ({"kind": "grow", "pixels": 0, "label": 1, "frame": 0}, "1 to 64 pixels"),
        ({"kind": "grow", "pixels": "2", "label": 1, "frame": 0}, "1 to 64 pixels"),
        ({"kind": ["grow"], "pixels": 2, "label": 1, "frame": 0}, "one of grow"),
        ({"kind": "grow", "pixels": 2, "label": 7, "frame": 0}, "Number 7 does not exist"),
    ],
)
def test_a_mask_tool_without_a_mask_or_with_nonsense_says_so(bare, tmp_path, data, said):
    visits = SessionStore(bare, Media(tmp_path))
    visits.get("page").add_region()
    view, _ = Masking(visits, left_of).act("page", {"id": "", "have": 1, "act": "reshape"} | data)
    assert said in view["note"]
    assert view["alarm"]


def test_a_click_is_not_drawn_by_hand(document, bare):
    label = document.add_region()
    mask_edits.add_point(document, label, 1, (20.0, 5.0), True, left_of)
    mask_edits.add_point(document, label, 4, (20.0, 5.0), True, left_of)
    mask_edits.add_edit(document, label, 4, BrushStroke(((40.0, 20.0),), 3, False))
    assert views.canvas(document)["lanes"] == {str(label): " c  k "}
    (region,) = build_request(document, {}, "videograin", "storybook").regions
    assert (region.clicked, region.drawn) == ((1,), (4,))
    again = Session(
        prepare("", "x", build_request(document, {}, "videograin", "storybook"), bare.folder / "x")
    )
    assert views.canvas(again)["lanes"] == {str(label): " c  k "}
    assert sorted(again.state.layer(label).drawn) == [1, 4]
