"""A page's work: points, strokes, undo, tracking, and the request that comes of it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import orjson
import pytest
from fake_app import tuned_model

from regrain.editing.errors import MaskError, RequestError
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region
from regrain.masks.draw import BrushStroke, pack, unpack
from regrain.masks.track.propagate import Confidence
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.server.media import Media
from regrain.ui.session import mask_edits
from regrain.ui.session.build_request import build_request, whole_masks
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.clips import open_upload, prepare
from regrain.ui.session.session import Session
from regrain.ui.session.tracking import end, unsure
from regrain.ui.values import mask_models
from regrain.ui.values.layers import MaskLayer, encode_runs
from regrain.ui.views import session_views

FRAMES, HEIGHT, WIDTH = SHAPE = 6, 40, 60
DOT = BrushStroke(((50.0, 20.0),), 2, False)


def left_of(
    image,
    points,
    point_labels,
    previous=None,
    method="cuts",
    clip=None,
    frame=0,
    doubt=None,
):
    """A made-up segmenter: all columns up to the rightmost point inside, from the first
    outside on none.

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


def click(session, label, frame, x=20.0, y=5.0, inside=True, segment=left_of):
    return mask_edits.add_point(session, label, frame, (x, y), inside, segment)


def clicked(session, *places):
    """A new region with clicks at these frames and columns; its label."""
    label = session.add_region()
    for frame, x in places:
        click(session, label, frame, x)
    return label


def built(session, **params):
    return build_request(session, Edit(params=params))


@pytest.fixture
def bare(open_clip):
    return open_clip("bare", SHAPE)


@pytest.fixture
def masked(open_clip):
    boxes = {1: (slice(5, 20), slice(5, 20)), 2: (slice(5, 20), slice(30, 50))}
    regions = (Region("left", 1, "a panda", "a cat"), Region("right", 2, "", "a dog"))
    words = {"source_prompt": "a cat and a dog", "prompt": "a panda runs to a dog"}
    return open_clip("masked", SHAPE, regions, boxes, **words)


@pytest.fixture
def session(bare):
    return Session(bare)


@pytest.fixture
def visits(bare, visits_of):
    return visits_of(bare)


@pytest.fixture
def act(visits):
    """What the page is told when it sends an event of masks."""
    event = {"id": "", "have": 0, "nonce": 1}
    return lambda **more: Masking(visits, left_of).act("page", event | more)[0]


@pytest.fixture
def tracking(visits):
    return Tracking(visits, shift)


def draw(runs):
    lengths = [int(part) for part in runs.split()]
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(HEIGHT, WIDTH)


def test_a_region_is_raised_above_the_one_that_covers_it(session, paint):
    above, below = paint(session), paint(session)
    for place, order in (((5.5, 5.5), [below, above]), ((40, 30), [above, below])):
        assert [*session.state.raised(below, 0, place).regions] == order


def test_masks_go_with_the_frames_that_another_part_of_the_clip_has(
    session, bare, paint
):
    label = paint(session, 3)
    before = session.state.mask(label, 3)
    session.open_part(replace(bare, start=2), "part")
    assert np.array_equal(session.state.mask(label, 1), before)


def test_the_rest_does_not_reach_over_other_regions(session):
    rest = session.add_rest()
    assert session.state.regions[rest].margin == 0


def test_a_region_that_is_gone_is_named(session):
    with pytest.raises(RequestError, match="Region 9 does not exist"):
        session.state.change_region(9, source="a man")


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_runs_and_packed_masks_come_back(share):
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < share
    assert (draw(encode_runs(mask)) == mask).all()
    assert (unpack(pack(mask), (WIDTH, HEIGHT)) == mask).all()
    assert encode_runs(np.zeros((4, 4), bool)) == ""


def test_the_margin_around_a_region_reaches_the_run(masked):
    session = Session(masked)
    label = session.add_region()
    assert session.state.regions[label].margin is None
    cards = [{"label": 1, "margin": 5}, {"label": 2, "margin": 10**6}]
    session.describe({"source_prompt": "a cat", "regions": cards})
    request = built(session)
    assert {r.name: r.margin for r in request.regions if r.label < 3} == {
        "left": 5,
        "right": None,
    }
    assert request.edited_mask[0][12, 22]
    assert not request.edited_mask[0][12, 28]


def test_a_mask_model_that_is_not_at_hand_is_not_offered(monkeypatch):
    here = mask_models.click_models("sam")["cuts"]
    gone = replace(here, name="gone", missing=True)
    monkeypatch.setattr(mask_models, "finders", lambda: {"here": here, "gone": gone})
    assert [*mask_models.click_models("sam")] == ["cuts"]
    assert [*mask_models.trackers()] == ["cuts"]


def test_cuts_are_told_of_the_clip_and_correct_what_they_found(session):
    asked = []

    def watch(image, points, point_labels, **how):
        asked.append((len(points), how))
        return left_of(image, points, point_labels)

    label = session.add_region()
    assert mask_edits.finder_of(session, label) == "cuts"
    click(session, label, 3, segment=watch)
    found = session.state.mask(label, 3)
    click(session, label, 3, 25.0, segment=watch)
    (first, begun), (second, further) = asked
    assert (first, second, begun["previous"]) == (1, 2, None)
    assert (begun["method"], begun["frame"], len(begun["clip"])) == ("cuts", 3, FRAMES)
    assert (further["previous"] == found).all()
    session.undo()
    assert (session.state.mask(label, 3) == found).all()


@pytest.mark.parametrize("before", [(), ("preview",)])
def test_what_a_click_is_not_sure_of_is_said(visits, before):
    session = visits.get("page")

    def unsure(*given, doubt, **how):
        if len(given[1]) == 1:
            doubt()
        return left_of(*given)

    masking = Masking(visits, unsure)

    def act(act, x):
        said = {"id": session.id, "have": session.rev, "frame": 0, "label": 1}
        said |= {"act": act, "at": [x, 5], "inside": True}
        return masking.act("page", said)[0]

    for name in before:  # the click takes its answer over, and the doubt with it
        assert not act(name, 20).unsure
    first = act("point", 20)
    assert (first.unsure, first.note.split(":")[0]) == (True, "Unsure")
    assert not act("point", 30).unsure


@pytest.mark.parametrize("sure", [True, False])
def test_what_a_box_is_not_sure_of_is_said(visits, sure):
    session = visits.get("page")

    def find(image, *_, doubt, **how):
        if not sure:
            doubt()
        return np.ones(image.shape[:2], bool)

    said = {"id": session.id, "have": session.rev, "frame": 0, "label": 1}
    said |= {"act": "box", "from": [2, 2], "to": [20, 20], "how": "find"}
    view, _ = Masking(visits, find).act("page", said)
    assert (view.unsure, view.note.startswith("Unsure: ")) == (False, not sure)


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_shown_before_a_click_is_what_the_click_makes(visits, inside):
    session = visits.get("page")
    asked = []

    def counted(*given, **how):
        asked.append(given)
        return left_of(*given, **how)

    masking = Masking(visits, counted)
    said = {"frame": 0, "label": 1, "at": [40, 5], "inside": inside}

    def act(**more):
        view, _ = masking.act(
            "page", {"id": session.id, "have": session.rev, **said, **more}
        )
        return view

    first = act(act="preview", inside=True)  # of a region that is yet to be made
    assert (first.preview, session.rev, [*session.state.regions]) == (
        encode_runs(left_of(np.zeros(SHAPE[1:]), [(40, 5)], [1])),
        0,
        [],
    )
    assert (first.note, first.alarm) == (None, False)
    clicked(session, (0, 50.0))
    before = session.state
    shown = act(act="preview").preview
    assert session.state is before
    asked.clear()
    act(act="point")
    assert asked == []  # the answer was there
    assert encode_runs(session.state.mask(1, 0)) == shown
    begun = act(act="preview", begins=True, inside=True)
    assert begun.preview == first.preview
    assert act(act="preview", frame=99).preview == ""
    asked.clear()
    for changes in ({"frame": 1}, {"frame": 2}, {"frame": 2}):
        act(act="preview", inside=True, begins=True, **changes)
    assert len(asked) == 2, "another frame is another question"
    act(act="preview", frame=2, inside=True)
    masking.act(
        "page",
        {"act": "stroke", "path": [[50, 20]], "radius": 9, "frame": 2, "label": 1}
        | {"id": session.id, "have": session.rev},
    )
    asked.clear()
    act(act="preview", frame=2, inside=True)
    assert len(asked) == 1, "and another mask so far"


def followed(tracking, session, labels):
    return [step for step in tracking.follow(session, labels) if step]


def test_tracking_streams_keeps_key_frames_can_be_undone_and_broken_off(
    session, tracking
):
    label = clicked(session, (0, 20.0), (4, 30.0))
    assert session.state.to_track(only_untracked=True) == [label]
    assert [step.done for step in followed(tracking, session, [label])] == list(
        range(FRAMES + 1)
    )
    assert session.state.mask(label, 4).sum() == 30 * HEIGHT
    assert session.state.mask(label, 5).any()
    assert session.state.layers[label].score[1] == 0.8
    assert session.state.to_track() == []
    mask_edits.add_edit(session, label, 5, DOT)
    assert session.state.to_track() == [label]
    session.undo()
    session.undo()
    assert not session.state.mask(label, 5).any()
    steps = tracking.follow(session, [label])
    next(step for step in steps if step and step.done == 2)
    steps.close()  # Stop, or the page was closed: it is not done
    assert (
        session.state.to_track(only_untracked=True)
        == session.state.to_track()
        == [label]
    )
    assert followed(tracking, session, [label])[-1].done == FRAMES
    assert session.state.to_track(only_untracked=True) == session.state.to_track() == []


def test_what_is_tracked_anew_is_not_ended_by_what_was_tracked_before(
    session, tracking
):
    label = clicked(session, (0, 20.0))
    before, after = (tracking.follow(session, [label]) for _ in range(2))
    next(before)
    next(after)
    before.close()
    assert session.tracking == label
    after.close()
    assert session.tracking == 0


def test_what_was_corrected_but_not_tracked_to_the_end_is_tracked_again(
    session, tracking
):
    label = clicked(session, (0, 20.0), (2, 22.0), (4, 24.0))
    followed(tracking, session, [label])
    click(session, label, 2, 30.0)
    steps = tracking.follow(session, [label])
    next(steps)
    steps.close()
    assert session.state.to_track() == [label]
    (part,) = session.state.begin_track([label])[1]
    assert part.frames == range(0, 5)
    followed(tracking, session, [label])
    for at in (22.0, 30.0):  # a key frame that was taken away is tracked over
        mask_edits.remove_point(session, label, 2, (at, 5.0), left_of)
    (part,) = session.state.begin_track([label])[1]
    assert (part.frames, sorted(part.keys)) == (range(0, 5), [0, 4])


def test_after_tracking_lost_and_doubtful_frames_are_said(visits, tracking):
    def propagate(clip, keys, start, stop, **how):
        for frame in range(start, stop):
            labels = keys[0][1].astype(np.uint8) * (frame not in (1, 2))
            if frame == 3:
                labels[1:, 1:] = 0  # hardly anything is left
            sure = 0.3 if frame == 4 else 0.9
            yield frame, labels, Confidence({1: sure, 9: 0.1}) if frame > 3 else sure

    def fail(*_, **__):
        raise MaskError("masks", "It fails.")

    session = visits.get("page")
    label = clicked(session, (0, 20.0))
    session.state = session.state.change_region(label, source="a man")
    for tracking.propagate in (fail, propagate):
        *_, last = tracking.track("page", {"id": session.id, "have": session.rev})
        assert last.alarm is ("It fails." in last.note) is (tracking.propagate is fail)
    assert last.note.startswith("“a man”: lost in frames 2-3, doubtful in frames 4-5. ")
    assert last.lanes == {"1": "c--239"}
    # What is gone is neither followed nor told of; without corrections, all is followed.
    steps = followed(tracking, session, [label, 7])
    assert (len(steps), unsure(session)) == (FRAMES + 1, last.note)
    before = session.rev
    end(session)
    assert session.rev > before
    tracking.begin(session)
    assert session.tracking == label
    session.stop.set()


def test_nothing_is_handed_out_under_the_lock(visits, tracking):
    """The next step may be asked for in another thread, or never."""
    opened = visits.get("page")

    def is_free():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(
                lambda: opened.lock.acquire(timeout=60) and not opened.lock.release()
            ).result()

    for _ in range(2):  # at first there is nothing to track
        for _ in tracking.track("page", {"id": opened.id, "have": opened.rev}):
            assert is_free()
        clicked(opened, (0, 20.0))


def test_deleting_stops_the_tracker_and_undone_the_region_comes_back_to_where_it_was(
    visits, masked, act
):
    session = visits.get("page")
    session.open(masked, "")
    for label in (1, 2):
        session.stop.clear()
        act(act="delete", label=label)
        assert session.stop.is_set()  # which writes by label
        assert list(session.state.regions) == [3 - label]
        session.undo()
        assert list(session.state.regions) == [1, 2]


def test_a_saved_project_comes_back_with_whole_masks_and_what_was_drawn(
    session, visits, tmp_path
):
    files = ClipFiles(visits, visits.media)
    for at in (20, 40):  # the second, larger, lies below the first
        label = clicked(session, (2, at))
        for frame in range(FRAMES):
            session.set_tracked(label, frame, session.state.mask(label, 2), 0.9)
    request = built(session)
    assert np.bincount(request.labels[0].ravel()).tolist() == [
        20 * HEIGHT,
        20 * HEIGHT,
        20 * HEIGHT,
    ]
    archive = files.save(session, request, whole_masks(session, request), "page")

    opened, _ = open_upload(archive, tmp_path / "again")
    again = Session(opened)
    assert (opened.request.labels == request.labels).all()
    assert [int(again.state.mask(2, frame).sum()) for frame in (0, 5)] == [
        40 * HEIGHT
    ] * 2
    assert again.state.layers[2].drawn == [2]
    # A correction elsewhere is followed from both frames a person has drawn.
    mask_edits.add_edit(again, 2, 4, DOT)
    _, (part,) = again.state.begin_track([2])
    assert (part.frames, sorted(part.keys)) == (range(2, FRAMES), [2, 4])


def test_a_long_clip_sends_masks_that_are_near_and_those_asked_for(
    session, monkeypatch
):
    monkeypatch.setattr(session_views, "MAX_WHOLE", 2)
    label = clicked(session, (3, 20.0))
    view = session_views.canvas(session, -1, frame=3)
    assert (sorted(view.changes), sorted(view.wanting)) == (
        ["2", "3"],
        ["0", "1", "4", "5"],
    )
    assert view.wanting["4"] == 0
    assert view.lanes == {str(label): "   c  "}
    session.set_tracked(label, 5, session.state.mask(label, 3), 0.42)
    session.set_tracked(label, 0, session.state.mask(label, 3) & False, 0.9)
    later = session_views.canvas(session, session.rev, frame=0, wanted=[5])
    assert (list(later.changes), later.wanting) == (["5"], {})
    assert later.changes["5"][str(label)].runs == view.changes["3"][str(label)].runs
    assert later.lanes == {str(label): "-  c 4"}


def test_a_click_on_a_thousand_frames_is_a_small_answer(open_clip):
    session = Session(open_clip(shape=(1000, HEIGHT, WIDTH)))
    rng = np.random.default_rng(0)
    for _ in range(2):
        label = session.add_region()
        masks = {
            frame: pack(rng.random((HEIGHT, WIDTH)) < 0.5) for frame in range(1000)
        }
        layer = MaskLayer({}, masks, dict.fromkeys(masks, 0.9))
        session.commit(session.state.with_layer(label, layer))
    assert len(orjson.dumps(session_views.canvas(session))) < 300_000
    assert len(orjson.dumps(session_views.canvas(session, session.rev))) < 5000


def test_three_regions_to_look_at_are_named_and_the_others_counted(visits):
    session = visits.get("page")
    session.tracked = tuple(session.add_region() for _ in range(5))
    for label in session.tracked:
        layer = MaskLayer({}, {}, {0: 0.0})
        session.commit(session.state.with_layer(label, layer))
    said = unsure(session)
    assert said.count("lost in frame 1") == 3
    assert "; 2 more regions to check. Go there" in said


def test_a_click_is_not_drawn_by_hand(session, tmp_path):
    label = clicked(session, (1, 20.0), (4, 20.0))
    mask_edits.add_edit(session, label, 4, DOT)
    assert session_views.canvas(session).lanes == {str(label): " c  k "}
    (region,) = built(session).regions
    assert (region.clicked, region.drawn) == ((1,), (4,))
    again = Session(prepare("", "x", built(session), tmp_path / "x"))
    assert session_views.canvas(again).lanes == {str(label): " c  k "}
    assert sorted(again.state.layer(label).drawn) == [1, 4]


BOX = (10.0, 10.0, 30.0, 30.0)


def test_a_box_goes_when_a_click_says_that_the_object_is_outside_it(open_clip):
    asked = []

    def segment(image, points, inside, **how):
        asked.append(how.get("box"))
        return np.ones(image.shape[:2], bool)

    session = Session(open_clip("clip", (2, 48, 64)))
    label = session.add_region()
    mask_edits.add_box(session, label, 0, BOX, segment)
    mask_edits.add_point(session, label, 0, (20, 20), True, segment)
    mask_edits.add_point(session, label, 0, (40, 20), False, segment)
    assert asked == [BOX] * 3
    mask_edits.add_point(session, label, 0, (40, 40), True, segment)
    assert asked[3] is None
    mask_edits.add_box(session, label, 0, BOX, segment)
    points = session.state.layers[label].keys[0].points
    assert points == ((20, 20, True), (40, 20, False))


def test_a_tuned_model_stays_chosen_for_other_frames_and_not_for_another_clip(
    session, bare
):
    made = tuned_model(steps=9)
    session.adapters.keep(made, Media(bare.folder / "media"), "page")
    (key,) = session.adapters.entries
    session.adapters.choose(key, {})
    session.open_part(bare, "part")
    assert session.adapters.chosen is not None
    session.open(bare, "other")
    assert (session.adapters.chosen, [*session.adapters.entries]) == (None, [key])
    session.history.shown = ("run",)
    session.open(bare, "other")
    assert session.history.shown == ("run",)
    session.open(bare, "third")
    assert session.history.shown == ()
