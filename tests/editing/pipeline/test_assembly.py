"""Long clips: windows with anchors, shots, key frames; what was finished is not made
again."""

from dataclasses import asdict, replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from made_clips import noise
from made_models import randn
from running import composite, edit_clip, finish, followed, note_calls

from regrain.editing import ArrayClip, EditRequest, Region, edit
from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import resize
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.motion import interpolation
from regrain.editing.motion.smoothing import steady
from regrain.editing.params.registry import METHODS, Method, check_params
from regrain.editing.pipeline.assembly import Assembly
from regrain.editing.pipeline.focus import Placed
from regrain.editing.pipeline.placing import Compositor
from regrain.editing.recipe.events import (
    Preview,
    Progress,
    Ready,
    WindowStarted,
)
from regrain.editing.recipe.window import WindowResult, working_clip
from regrain.editing.request.plan import make_plan
from regrain.editing.storage.memory import window_frames

pytestmark = pytest.mark.usefixtures("own_cache")
FRAMES, SIZE = 8, 64
QUICK = {"steps": 2, "preview_every": 0, "cuts": "none"}
QUICK |= {"inner_steps": 1, "tune_steps": 0, "tune_preview_every": 0, "overlap": 1}
HORSE = Region("horse", 1, prompt="a dog", source="a horse", margin=0)


def moving(frames=FRAMES, seed=0):
    """Blocks that drift to the right, a pixel a frame."""
    wide = noise(8, 16, 3, seed=seed).repeat(8, 0).repeat(8, 1)
    return np.stack([wide[:, 60 - t : 60 - t + SIZE] for t in range(frames)])


def labels(frames=FRAMES):
    found = np.zeros((frames, SIZE, SIZE), np.uint8)
    for t in range(frames):
        found[t, 10:40, 10 + t : 40 + t] = 1
    return found


def request(method="videograin", frames=FRAMES, masks=None, **changes):
    given = {
        "clip": ArrayClip(moving(frames), fps=Fraction(24)),
        "labels": labels(frames) if masks is None else masks,
        "regions": (HORSE,),
        "source_prompt": "a horse on the beach",
        "seed": 7,
        "method": method,
    }
    return EditRequest(**given | changes)


def has(method, name):
    return name in METHODS[method].Params.model_fields


def params(method, window=4, **given):
    quick = {name: value for name, value in QUICK.items() if has(method, name)}
    size = "frames_at_once" if has(method, "frames_at_once") else "window"
    return check_params(method, quick | {size: window} | given)


def run(model, asked, given):
    """The result."""
    return finish(edit_clip(model, asked, given))


def watched(name, seen):
    """A method that notes the pieces it is given."""

    class Watched(Method):
        def run(self, backbone, asked, given, piece):
            seen.append(piece)
            return super().run(backbone, asked, given, piece)

    return Watched(**vars(METHODS[name]))


def pieces_of(model, asked, given):
    """The result, and the pieces that the method was given."""
    pieces = []
    return finish(edit_clip(model, asked, given, watched(asked.method, pieces))), pieces


# --- Windows


def test_frames_that_are_edited_alone_do_not_notice_windows(small):
    whole, parts = (
        run(small, request("sdedit"), params("sdedit", window=size))
        for size in (FRAMES, 3)
    )
    off = np.asarray(whole.uncomposited).astype(int) - np.asarray(parts.uncomposited)
    assert np.abs(off).max() <= 1


@pytest.mark.parametrize("more", [(), ("a cat on the beach",)])
def test_windows_are_as_large_as_memory_allows(small, monkeypatch, more):
    sizes = []
    fits = lambda self, *given: sizes.append(given) or 5  # noqa: E731
    monkeypatch.setattr(type(small), "window_frames", fits)
    asked = request("fatezero", more_prompts=more)
    _, pieces = pieces_of(small, asked, params("fatezero", window=0))
    # the source and both halves of guidance of each prompt, and one to spare
    assert sizes[0] == (4 + 2 * len(more), *working_clip(small, asked).grid.size)
    assert pieces[0].numbers == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("free", "frames"), [(1 << 40, 32), (2 * 4 * 64 * 320 * 4 * 32 * 16, 16), (0, 8)]
)
def test_window_sizes(free, frames):
    assert window_frames(4, 64, 320, 4, free) == frames


def test_the_first_window_is_edited_like_a_clip_that_ends_there(
    small,
):
    whole = run(small, request(), params("videograin"))
    assert (whole.attention["horse"].after.max((1, 2)) > 0).all()
    alone = run(small, request(frames=4), params("videograin"))
    assert np.array_equal(whole.frames[:4], alone.frames)


def test_a_window_without_regions_is_the_source_and_the_others_are_steadied_on_their_own(
    tiny, monkeypatch
):
    masks = labels()
    masks[:4] = 0
    asked = request(masks=masks)
    result, pieces = pieces_of(tiny, asked, params("videograin"))
    assert [piece.numbers for piece in pieces] == [(4, 5), (4, 5, 6, 7)]
    for shown in (result.frames, result.uncomposited):
        assert np.array_equal(shown[:4], moving()[:4])
    seen = result.attention["horse"].after.any((1, 2))
    assert seen.tolist() == [False] * 4 + [True] * 4
    calls = calls_of(tiny, monkeypatch)
    calm = run(tiny, asked, params("videograin", steady=2))
    assert not calls
    differ = (calm.uncomposited[:] != result.uncomposited[:]).any((1, 2, 3))
    assert not differ[:4].any()
    assert differ[4:].any()


def test_a_region_may_be_in_some_windows_alone(small):
    masks = labels()
    masks[4:, 45:60, 5:30] = 2
    sand = Region("sand", 2, prompt="grass", margin=0)
    asked = request(masks=masks, regions=(HORSE, sand))
    result = run(small, asked, params("videograin"))
    changed = (result.frames[:] != moving()).any(-1)[:, 46:59, 6:29]
    assert not changed[:4].any()
    assert changed[4:].mean() > 0.5


# --- Shots


def test_each_shot_is_edited_like_a_clip(small):
    shots = {0: moving(5, 1), 5: moving(4, 2)}
    clip = ArrayClip(np.concatenate([*shots.values()]))
    masks = np.concatenate([labels(5), labels(4)])
    asked = request(masks=masks, clip=clip)
    result = run(small, asked, params("videograin", window=8, cuts="5"))
    assert result.plan.cuts == (5,)
    for start, shot in shots.items():
        alone = request(masks=labels(len(shot)), clip=ArrayClip(shot))
        expected = run(small, alone, params("videograin", window=8))
        assert np.array_equal(result.frames[start : start + len(shot)], expected.frames)


@pytest.mark.parametrize(("cuts", "found"), [("auto", [4]), ("none", []), ("6", [6])])
def test_cuts_are_found_and_said(small, cuts, found):
    clip = ArrayClip(np.concatenate([moving(4, 1), moving(5, 2)]))
    given = {"steps": 2, "preview_every": 0, "cuts": cuts}
    *_, last = edit(request("sdedit", 9, clip=clip, params=given), small)
    report = last.report
    assert report.get("cuts", []) == found
    starts = [0, *found] if found else []
    assert [part["frames"][0] for part in report.get("windows", [])] == starts
    said = "seems to be cut before frame 4, counted from 0"
    assert any(said in warning for warning in report["warnings"]) == (cuts == "auto")


@pytest.mark.parametrize(
    ("name", "frames", "said"),
    [
        ("cuts", "4, 9", "Choose .* 1 to 7"),
        ("keyframes", "0, 9, 12", "Choose frames from 0 to 7"),
    ],
)
def test_frames_outside_the_clip_are_refused_before_the_model_is_loaded(
    name, frames, said
):
    said = f"^params.{name}: Frame 9 is outside the clip. {said}"
    with pytest.raises(RequestError, match=said):
        next(edit(request(params={name: frames}, model="owner/nothing")))


# --- Key frames


class Inverting:
    """A model whose latents are pictures, which it decodes to their negative."""

    frames_per_latent = 1

    def fit(self, width, height, size):
        return width, height

    def decode(self, x):
        return 255 - x.movedim(1, -1).byte().numpy()


def assembled(model, asked, given, size, draft_of):
    """What becomes of the drafts of windows of a size, by their key frames."""
    plan = make_plan((), given.keyframes, frames_of(asked.clip), size)
    assembly = Assembly(model, Placed.whole(asked, given), plan)
    for window in plan.windows:
        list(assembly.add(window, draft_of(list(window.keys))))
    return Compositor(asked, [assembly.drawn()], model).result()


def keyed(keyframes, size=32, method="fatezero", **given):
    """What becomes of drafts whose maps are the numbers of their frames."""

    def draft(keys):
        frames = moving()[keys]
        shown = torch.from_numpy(frames).movedim(-1, 1).float()
        maps = np.float32(keys)[:, None, None].repeat(4, 1).repeat(4, 2)
        return WindowResult(
            (shown,),
            {"horse": RegionAttention(maps, maps + 10)},
            reconstruction=shown,
            words=WordAttention({"horse": maps}, {"dog": maps}),
            step_areas={0: maps > 3},
            control=frames,
        )

    given = params(method, feather=0.0, keyframes=keyframes, **given)
    return assembled(Inverting(), request(method), given, size, draft)


def test_a_margin_shows_each_edit_where_it_differs_from_the_source():
    """By a matte of its own."""
    source = moving()
    change = noise(*source.shape) % np.uint8(51)
    faint = (source + change.astype(int) - 25).clip(0, 255).astype(np.uint8)
    clear = np.where(source < 128, np.uint8(255), np.uint8(0))
    asked = request(regions=(replace(HORSE, margin=8),), more_prompts=("a fox",))

    def draft(keys):
        shown = [torch.from_numpy(255 - one[keys]) for one in (faint, clear)]
        return WindowResult(tuple(one.movedim(-1, 1).float() for one in shown))

    given = check_params("videograin", {"feather": 0.0, "steady": 0.0})
    result = assembled(Inverting(), asked, given, 32, draft)
    (other,) = result.others
    assert other.prompt == "a fox, a dog"
    beside = np.stack([cv2.dilate(one, np.ones((3, 3))) > 0 for one in labels()])
    for one, drawn, shown in (
        (result, faint, beside),
        (other, clear, asked.edited_mask[:]),
    ):
        assert np.array_equal(one.matte[:], 255 * shown)
        assert np.array_equal(one.frames[:], np.where(shown[..., None], drawn, source))


def test_key_frames_are_kept_and_the_others_follow():
    result = keyed("0, 3", method="vid2vid_zero")
    negative = 255 - moving().astype(int)
    alone = result.uncomposited[:]
    keys = [0, 3, 7]
    assert np.array_equal(alone[keys], negative[keys])
    # Nearest frames, copied, are far off; what follows the motion is not.
    apart = np.abs(alone - negative).mean((1, 2, 3))
    still = np.abs(np.diff(negative, axis=0)).mean()
    assert 0 < apart.max() < 0.7 * still
    inside = (labels() == 1)[..., None]
    assert np.array_equal(result.frames[:], np.where(inside, alone, moving()))
    assert np.array_equal(result.source[:], moving())
    assert np.array_equal(result.reconstruction[:], alone)
    # Maps are those of the nearest key frame.
    near = np.array([0, 0, 3, 3, 3, 3, 7, 7])
    horse, words = result.attention["horse"], result.words
    maps = horse.before, horse.after - 10, words.source["horse"], words.edit["dog"]
    assert all(np.array_equal(one[:, 0, 0], near) for one in maps)
    assert np.array_equal(result.step_areas[0][:, 0, 0], near > 3)
    assert np.array_equal(result.control[:], moving()[near])


@pytest.mark.parametrize("size", [3, 4])
def test_windows_change_nothing_between_key_frames(size):
    whole, parts = (
        keyed("every 2", most, method="vid2vid_zero") for most in (32, size)
    )
    assert len(parts.plan.windows) > 1
    assert np.array_equal(whole.frames, parts.frames)
    assert np.array_equal(whole.reconstruction, parts.reconstruction)


@pytest.mark.parametrize("edited", [0, 1])
def test_what_controls_is_black_where_nothing_is_edited(edited):
    def draft(keys):
        if (keys[0] > 0) != edited:
            return None
        frames = moving()[keys]
        shown = torch.from_numpy(frames).movedim(-1, 1).float()
        return WindowResult((shown,), control=frames)

    given = params("fatezero", feather=0.0, keyframes="all")
    result = assembled(Inverting(), request("fatezero"), given, 4, draft)
    expected = moving()
    expected[:4] *= np.uint8(1 - edited)
    expected[4:] *= np.uint8(edited)
    assert np.array_equal(result.control[:], expected)


@pytest.mark.parametrize("flow", ["auto", "dis"])
def test_frames_between_key_frames_follow_the_flow_that_was_asked_for(
    monkeypatch, flow
):
    real, asked = interpolation.estimate_flow, set()

    def watched(frames, targets, method):
        asked.add(method)
        return real(frames, targets, "dis")

    monkeypatch.setattr(interpolation, "estimate_flow", watched)
    keyed("0, 3", method="videograin", flow=flow, steady=0.0)
    assert asked == {flow}


def test_a_region_in_no_key_frame_is_refused(small):
    given = params("videograin", keyframes="0, 7")
    masks = labels()
    masks[0] = 0
    run(small, request(masks=masks), given)
    masks[7] = 0
    said = r"params.keyframes: Region 'horse' .* Add a frame that shows it"
    with pytest.raises(RequestError, match=said):
        run(small, request(masks=masks), given)


def test_previews_show_frames_of_the_clip(small):
    given = params("videograin", keyframes="every 2", preview_every=1)
    _, events = followed(edit_clip(small, request(), given))
    shown = [event.indices for event in events if isinstance(event, Preview)]
    # two steps each of the inversion, and of the edit
    assert shown == [(0, 2, 4)] * 4 + [(6, 7)] * 4


# --- Going on


def calls_of(model, monkeypatch):
    found = []
    note_calls(monkeypatch, model, lambda *given: found.append(given))
    return found


def check_long(method, result, events, pieces):
    """What an edit of nine frames in windows of four is and says, whatever the
    method."""
    frames = result.frames[:]
    changed = (frames != moving(9)).any(-1)
    assert changed[labels(9) == 1].mean() > 0.5
    # away from the mask and its feather
    assert not changed[:, 50:, :5].any()
    if METHODS[method].anchors:
        assert [(piece.numbers, piece.breaks) for piece in pieces] == [
            ((0, 1, 2, 3), ()),
            ((0, 3, 4, 5), (1,)),
            ((0, 5, 6), (1,)),
            ((0, 6, 7, 8), (1,)),
        ]
        sizes, done = [4, 4, 3, 4], [4, 6, 7]
    elif has(method, "overlap"):  # a window begins with the last frame before it
        sizes, done = [4, 4, 3], [4, 7]
    else:
        sizes, done = [4, 4, 1], [4, 8]
    begun = [event for event in events if isinstance(event, WindowStarted)]
    assert [event.work for event in begun] == sizes
    assert [event.left for event in begun] == np.cumsum(sizes[::-1])[::-1].tolist()
    ready = [event.frames for event in events if isinstance(event, Ready)]
    assert [len(part) for part in ready] == done
    assert all(np.array_equal(part, frames[: len(part)]) for part in ready)


def edited_windows(events):
    """Number of the window, for each step of an edit that is taken."""
    number = 0
    for event in events:
        if isinstance(event, WindowStarted):
            number = event.number
        elif isinstance(event, Progress) and event.stage == "editing":
            yield number


@pytest.mark.full(but="sdedit")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_edits_long_clips_and_one_that_was_stopped_twice_ends_in_the_same_bytes(
    fitting, method, tmp_path, monkeypatch
):
    asked, given, pieces = request(method, 9), params(method), []
    whole, told = followed(edit_clip(fitting, asked, given, watched(method, pieces)))
    check_long(method, whole, told, pieces)
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "stopped"))
    for at in (2, 3):
        events = edit_clip(fitting, asked, given)
        with torch.no_grad():
            assert at in edited_windows(events)
        events.close()
    calls = calls_of(fitting, monkeypatch)
    again, told = followed(edit_clip(fitting, asked, given))
    assert np.array_equal(again.frames, whole.frames)
    assert np.array_equal(again.uncomposited, whole.uncomposited)
    for name, maps in whole.attention.items():
        assert np.array_equal(maps.after, again.attention[name].after)
    # Of the windows, the third is the first that was not finished.
    assert min(edited_windows(told)) == 3
    calls.clear()
    run(fitting, asked, given)
    assert not calls  # all windows are kept


def test_what_comes_after_the_latents_is_not_edited_anew(small, monkeypatch):
    run(small, request("sdedit"), params("sdedit"))
    calls = calls_of(small, monkeypatch)
    given = params("sdedit", feather=0.0, preview_every=1)
    result = run(small, request("sdedit"), given)
    assert not calls
    outside = labels() != 1
    assert np.array_equal(result.frames[:][outside], moving()[outside])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a cat on the beach"},
        {"negative_prompt": "grass"},
        {"regions": (replace(HORSE, strength=0.5),)},
        {"regions": (replace(HORSE, margin=3),)},
        {"masks": np.roll(labels(), 3, 2)},
    ],
    ids=lambda change: [*change][0],
)
def test_another_request_is_edited_anew(small, monkeypatch, change):
    run(small, request("sdedit"), params("sdedit"))
    calls = calls_of(small, monkeypatch)
    run(small, request("sdedit", **change), params("sdedit"))
    assert calls


def test_all_of_a_draft_is_kept(small, monkeypatch):
    asked = request("fatezero", more_prompts=("a cat on the beach",))
    asked = replace(
        asked, labels=None, regions=(), source_prompt="a horse", prompt="a cat"
    )
    given = params("fatezero", blend_latents="always", blend_self=True)
    first = run(small, asked, given)
    calls = calls_of(small, monkeypatch)
    again = run(small, asked, given)
    assert not calls
    assert first.words.source
    assert first.step_areas
    np.testing.assert_equal(maps_of(again), maps_of(first))
    for kept, made in zip(shown(again), shown(first), strict=True):
        assert np.array_equal(kept, made)


def maps_of(result):
    maps = [result.words, *(one for _, one in sorted(result.attention.items()))]
    return result.step_areas, [asdict(one) for one in maps]


def shown(result):
    """All frames that a result has."""
    yield from (result.frames, result.uncomposited, result.reconstruction)
    yield from (one.frames for one in result.others)


# --- The end of a run


@pytest.mark.full
def test_decoding_by_window_changes_no_bit(tiny):
    count = 26  # two windows of the autoencoder and a bit
    frames = noise(count, 40, 48, 3)
    masks = np.zeros(frames.shape[:3], np.uint8)
    for index, frame in enumerate(masks):
        frame[8:30, index : index + 12] = 1
    region = Region("a", 1, "a fox", margin=3)
    asked = EditRequest(ArrayClip(frames), masks, (region,), size=64)
    size = tiny.fit(48, 40, 64)
    working = working_clip(tiny, asked)
    assert np.array_equal(working.frames, resize(frames, size))
    first, back = randn(2, count, 4, *working.grid.size)
    given = check_params("vid2vid_zero", {})
    draft = WindowResult((first,), reconstruction=back)
    result = assembled(tiny, asked, given, count, lambda keys: draft)
    assert isinstance(result.uncomposited, LazyFrames)
    edited, rebuilt = (resize(tiny.decode(one), (48, 40)) for one in (first, back))
    assert np.array_equal(result.uncomposited[:], edited)
    assert np.array_equal(result.reconstruction[:], rebuilt)
    drawn = {"painted": asked.edited_inside[:], "size": size}
    expected = composite(frames, edited, asked.edited_mask[:], 2.0, **drawn)
    assert np.array_equal(result.frames[:], expected)


@pytest.mark.full(but="infedit")
@pytest.mark.parametrize("method", ["vid2vid_zero", "infedit"])
def test_a_steady_edit_is_the_average_along_the_motion_and_nothing_else(tiny, method):
    asked = request(method)
    more = {"reconstruct": True} if has(method, "reconstruct") else {}
    plain, calm = (
        run(tiny, asked, params(method, FRAMES, **more, **how))
        for how in ({}, {"steady": 2})
    )
    source = plain.source[:]
    expected = np.stack([*steady(iter(plain.uncomposited), iter(source), 2.0)])
    assert not np.array_equal(expected, plain.uncomposited)
    assert np.array_equal(calm.uncomposited, expected)
    near = [
        cv2.dilate(one.astype(np.uint8), np.ones((9, 9))) for one in asked.edited_mask
    ]
    away = np.stack(near) == 0
    assert np.array_equal(calm.frames[:][away], source[away])
    if more:
        assert np.array_equal(calm.reconstruction, plain.reconstruction)
