"""vace: pictures bound to their regions, areas, what things keep, pieces of long clips,
and what is refused."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import BASES
from flow_regions_formulas import codes
from made_clips import noise
from PIL import Image
from running import finish, note_calls
from wiring import drive, near, requested, scores

from regrain.editing import ArrayClip, edit
from regrain.editing.attention.averages import RegionAttention
from regrain.editing.diffusion.blending import matched
from regrain.editing.errors import ModelError, RequestError
from regrain.editing.media.labels import fill_labels
from regrain.editing.methods.vace import Shown, kept_frames, run, subjects_of
from regrain.editing.models.wan.condition import condition, cut_out, on_canvas
from regrain.editing.models.wan.keep import kept_of
from regrain.editing.params.registry import check_params, resolve_params
from regrain.editing.recipe.events import Preview
from regrain.editing.recipe.region_words import TokenRegions, WordAttending
from regrain.editing.recipe.window import working_clip
from regrain.editing.request.runnable import check_runnable

pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")
HEIGHT, WIDTH = 32, 48


BASE = BASES["vace"] | {"self_strength": 0.0}


def params(**given):
    return check_params("vace", BASE | given)


@pytest.fixture
def picture(tmp_path):
    """Write a picture of one colour, and return its path."""

    def write(color):
        path = tmp_path / f"{color}.png"
        Image.new("RGB", (20, 12), color).save(path)
        return str(path)

    return write


def pictured(left="", right="", whole="", frames=3, **more):
    """Two regions, with pictures."""
    asked = requested("vace", frames=frames)
    pictures = zip(asked.regions, (left, right), strict=True)
    regions = [replace(region, picture=one, **more) for region, one in pictures]
    return replace(asked, regions=tuple(regions), picture=whole)


def latents_of(model, asked, **given):
    return finish(run(model, asked, params(**given))).edits[0]


# --- Pictures are kept apart


@pytest.mark.parametrize("binding", [1.0, 0.7])
def test_pictures_are_apart_in_all_blocks_and_both_halves(
    vace, picture, tmp_path, binding
):
    """Beside the whole matrix: pairs of a picture and of another region's tokens count
    by a factor."""
    asked = pictured(picture("red"), picture("blue"))
    found = drive(vace, asked, tmp_path, **BASE | {"picture_binding": binding})
    own = codes(drive(vace, pictured(), tmp_path, **BASE)).unflatten(0, (2, -1))
    beside = torch.tensor([[1], [2]]).expand(2, own.shape[1])
    every = torch.cat([beside, own]).flatten()
    is_picture = torch.arange(len(every)) < beside.numel()
    pairs = (every[:, None] != every) & (every[:, None] > 0) & (every > 0)
    pairs &= is_picture[:, None] | is_picture
    assert pairs.any()
    weaker = torch.where(pairs, torch.tensor(1 - binding).log(), 0)
    for call in found.of("editing")[:2]:
        layers = [one for one in call.layers if one.site.kind == "self"]
        assert [one.site.block[:6] for one in layers] == ["vace_b"] * 2 + ["blocks"] * 3
        for layer in layers:
            maps = (scores(layer.q, layer.k) + weaker).softmax(-1)
            layer.gives(maps @ layer.v, atol=1e-4)


def test_a_picture_belongs_to_its_region_or_to_the_whole_clip(picture):
    asked = pictured(right=picture("red"), whole=picture("blue"))
    assert [one.code for one in subjects_of(asked)] == [0, 2]


def test_a_call_has_pictures_ahead_of_the_clip_and_drops_them(vace, picture, tmp_path):
    asked = pictured(left=picture("red"), whole=picture("blue"), picture_scale=0.5)
    found = drive(vace, asked, tmp_path, **BASE)
    bare = drive(vace, pictured(), tmp_path, **BASE)
    call, plain = (one.of("editing")[0] for one in (found, bare))
    assert len(call.x) == 2 + len(plain.x)
    assert torch.equal(call.x[2:], plain.x)  # a picture leaves the clip's noise
    assert not torch.equal(call.x[0], call.x[1])
    context = call.change.context
    assert torch.equal(context[2:], plain.change.context)
    assert not context[:2, 16:].any()
    # the whole clip's picture first, on white
    for place, color in enumerate(((0, 0, 255), (255, 0, 0))):
        canvas = np.full((1, HEIGHT, WIDTH, 3), color, np.uint8)
        high = int(WIDTH / 20 * 12)
        canvas[:, : (HEIGHT - high) // 2] = canvas[:, (HEIGHT + high) // 2 :] = 255
        near(context[place, :16], vace.encode(canvas)[0], atol=1e-4)
    tokens = call.change.token_scale.unflatten(0, (4, -1))
    assert tokens.unique(dim=1).flatten().tolist() == [1.0, 0.5, 1.0, 1.0]
    assert plain.change.token_scale is None
    assert found.result.attention["left"].after.shape[0] == found.frames


def test_pictures_are_denoised_along_and_leave_the_noise_of_the_clip(
    vace, picture, tmp_path
):
    given = BASE | {"solver": "lcm", "guidance_scale": 1.0}

    def second(asked, **more):
        """The latents and the fresh noise of the second call."""
        before, call, *_ = drive(vace, asked, tmp_path, **given, **more).of("editing")
        own = call.x - (1 - call.step.noise) * before.x0
        return call.x, own / call.step.noise

    asked = pictured(left=picture("red"))
    (free, noise), (kept, _) = (second(asked, blend=blend) for blend in (False, True))
    assert torch.equal(kept[0], free[0])
    assert not torch.equal(kept[1:], free[1:])
    near(noise[1:], second(pictured(), blend=False)[1], atol=1e-4)


def test_tokens_of_a_picture_have_the_mean_term_of_their_region(vace):
    asked = requested("vace")
    working = working_clip(vace, asked)
    regions = TokenRegions(vace, asked, working, [2, 0])
    plain = TokenRegions(vace, asked, working)
    assert regions.codes[:2].unique(dim=1).flatten().tolist() == [2, 0]
    assert torch.equal(regions.codes[2:], plain.codes)
    assert torch.equal(regions.size_term[2:], plain.size_term)
    for row, code in enumerate((2, 0)):
        expected = plain.size_term[plain.codes == code].mean()
        near(regions.size_term[row], expected.expand(regions.codes.shape[1]))


def test_maps_of_frames_are_not_those_of_pictures():
    maps = np.arange(4.0)[:, None, None]
    heat = SimpleNamespace(maps=lambda _: {"a": RegionAttention(maps, -maps)})
    words = SimpleNamespace(heat=heat, _regions=SimpleNamespace(pictures=2))
    one = WordAttending.maps(words, {}, (0, 1, 1))["a"]
    assert one.before.ravel().tolist() == [2, 3, 3]
    assert one.after.ravel().tolist() == [-2, -3, -3]


def test_a_picture_is_cut_out_on_white():
    picture = np.zeros((6, 8, 4), np.uint8)
    picture[2:5, 3:7] = (10, 20, 30, 255)
    picture[2, 3, 3] = 0
    picture[4, 6] = (10, 20, 30, 51)
    found = cut_out(picture)
    assert found.shape == (3, 4, 3)
    assert found[1, 1].tolist() == [10, 20, 30]
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[2, 3].tolist() == [206, 208, 210]
    assert np.array_equal(cut_out(picture * np.uint8([1, 1, 1, 0])), picture[..., :3])


# --- What is drawn anew, and what it keeps


def test_an_area_is_the_hull_or_the_box_of_a_mask():
    labels = np.zeros((1, 12, 14), np.uint8)
    labels[0, 2:9, 2:4] = labels[0, 7:9, 2:9] = 1  # an angle
    labels[0, 4, 5] = 2
    labels[0, 2, 8] = 3  # edited by nobody
    box = fill_labels(labels, [1, 2], "box")
    assert set(np.unique(box[0, 2:9, 2:9])) == {1, 2, 3}
    assert (box[0, 4, 5], box[0, 2, 8], box[0, 3, 8]) == (2, 3, 1)
    assert (box == 1).sum() == 7 * 7 - 2
    hull = fill_labels(labels, [1, 2], "hull")
    assert (hull[0, 6, 6], hull[0, 3, 7], hull[0, 4, 5]) == (1, 0, 2)
    assert not box[0, 9:].any()


# Of the channels of the mask, one for each pixel of a cell, that of (3, 7).
CORNER = 32 + 8 * 3 + 7


@pytest.mark.parametrize(("mask", "corner"), [("exact", 0), ("hull", 0), ("box", 1)])
def test_the_area_of_a_region_is_what_is_drawn_anew(vace, tmp_path, mask, corner):
    """Of a region whose box has a corner that is not in its hull."""
    asked = requested("vace")
    labels = np.array(asked.labels)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    labels[(labels == 1) & (ys + xs < 16)] = 0
    asked = replace(asked, labels=labels, params={"mask": mask})
    found = drive(vace, asked, tmp_path, **BASES["vace"] | {"mask": mask})
    assert np.asarray(asked.edited_mask)[1, 3, 7] == corner
    assert found.of("editing")[0].change.context[0, CORNER, 0, 0] == corner


def test_what_is_not_edited_keeps_nothing(vace):
    asked = requested("vace")
    left, right = asked.regions
    asked = replace(asked, regions=(left, replace(right, prompt="")))
    assert asked.edited == (left,)
    working = working_clip(vace, asked)
    kept = kept_frames(asked, working, params(keep="layout"))
    expected = kept_of(working.frames, [asked.areas == left.label], "layout")
    assert np.array_equal(kept, expected)


def test_pictures_are_apart_by_what_is_edited(vace, picture):
    asked = pictured(left=picture("red"))
    left, right = asked.regions
    asked = replace(asked, regions=(left, replace(right, prompt="")))
    subjects = subjects_of(asked)
    regions = TokenRegions(vace, asked, working_clip(vace, asked), [1])
    shown = Shown.of(torch.zeros(1), subjects, regions, asked, params())
    assert regions.codes.unique().tolist() == [0, 1, 2]
    assert shown.codes.unique().tolist() == [0, 1]


def test_a_picture_lies_in_the_middle_or_a_pixel_higher():
    canvas = on_canvas(np.zeros((13, 20, 3), np.uint8), (32, 48))
    assert canvas[..., 0].max(1).tolist() == [0.0] * 31 + [255.0]


def test_a_thing_keeps_its_outline_or_its_motion():
    frames = noise(3, 32, 48, 3, seed=1)
    mask = np.zeros((3, 32, 48), bool)
    mask[:2, 4:20, 6:30] = True
    layout = kept_of(frames, [mask], "layout")
    assert (layout[0, 4, 6:30] == 0).all()
    black = (layout[1] == 0).all(-1)
    assert [*np.flatnonzero(black.any(1))] == [*range(3, 21)]
    assert [*np.flatnonzero(black.any(0))] == [*range(5, 31)]
    assert not black[6:18, 8:28].any()
    assert (layout[2] == 255).all()
    moving = np.stack([np.roll(frames[0], 2 * at, 1) for at in range(3)])
    flow = kept_of(moving, [], "flow")
    assert np.array_equal(flow[0], flow[1])
    assert flow[1, 16, 24, 0] > flow[1, 16, 24, 2]  # to the right is red
    assert (kept_of(frames[:1], [], "flow") == 255).all()


# --- Runs


def test_the_whole_clip_is_drawn_anew_without_regions(vace, tmp_path):
    asked = requested("vace", prompt="a fox on the grass")
    found = drive(vace, asked, tmp_path, **BASE)
    context = found.of("editing")[0].change.context
    grey = np.full((3, HEIGHT, WIDTH, 3), np.float32(127.5))
    near(context[:, :16], vace.encode(grey), atol=1e-4)
    assert (context[:, 32:] == 1).all()
    assert "fox" in found.result.attention


@pytest.mark.parametrize(
    ("kind", "package"),
    [("depth", "transformers"), ("pose", "controlnet_aux"), ("depth", "")],
)
def test_weights_that_are_missing_are_said_of_what_was_set(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=f"^params.keep: {kind} needs the .* missing"):
        kept_of(noise(1, 16, 16, 3), [], kind)


@pytest.mark.parametrize("preset", ["authors", "diffusers"])
def test_presets_of_others_leave_the_latents_alone(preset):
    params, _ = resolve_params("vace", {"preset": preset}, {})
    assert (params.blend, params.match, params.cross_strength) == (False, False, 0)


def test_none_of_the_schedule_keeps_the_clip(vace):
    asked = requested("vace")
    source = vace.encode(asked.clip.read(0, 3))
    assert torch.equal(latents_of(vace, asked, strength=0.0), source)


def test_pieces_have_the_pictures_of_all(vace, picture, monkeypatch):
    asked = pictured(picture("red"), picture("red"))
    labels = np.repeat(np.asarray(asked.labels)[:1], 9, 0)
    clip = ArrayClip(noise(9, HEIGHT, WIDTH, 3, seed=1), fps=8)
    asked = replace(asked, clip=clip, labels=labels)
    seen = []
    note_calls(monkeypatch, vace, lambda *given: seen.append(given))
    latents_of(vace, asked, span=5, steps=1)  # 3 latents, 2 at once
    assert [len(x) for x, *_ in seen] == [4] * 4
    (one, *_, change), (other, *_, later) = seen[:2]
    assert torch.equal(one[:2], other[:2])
    assert torch.equal(one[3], other[2])
    assert torch.equal(change.context[3], later.context[2])


@pytest.mark.parametrize("place", ["left", "whole"])
def test_a_new_picture_of_the_same_name_is_seen_in_a_kept_window(
    vace, picture, monkeypatch, place
):
    """Windows are kept by what their pictures show."""
    red = picture("red")
    asked = pictured(**{place: red}, frames=5)
    asked = replace(asked, params=BASE | {"window": 3, "overlap": 1})
    calls = []
    note_calls(monkeypatch, vace, lambda *_: calls.append(1))
    counts = []
    for color in ("red", "red", "blue"):
        Image.new("RGB", (20, 12), color).save(red)
        list(edit(asked, vace))
        counts.append(len(calls))
    assert 0 < counts[0] == counts[1] < counts[2]


# --- What is refused


LEVELS = "^params.levels: Expected even, diffusers"
OVERLAP = "^params.overlap: Expected 0, or a multi"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"picture_colors": 0.5}, "^params.picture_colors: It is for picture"),
        ({"levels": "1000, 757, 522"}, "^params.steps: Expected 3, since so many"),
        ({"levels": "757, 1000"}, LEVELS),
        ({"levels": "1001, 3"}, LEVELS),
        ({"levels": "1000, nan"}, LEVELS),
        ({"levels": "many"}, LEVELS),
        ({"overlap": 4}, OVERLAP),
        ({"overlap": 9, "window": 9}, OVERLAP),
        ({"window": 5}, OVERLAP),
    ],
)
def test_other_values_are_refused(given, said):
    with pytest.raises(RequestError, match=said):
        resolve_params("vace", given, {})


def test_what_does_not_go_with_pictures_is_refused(vace, picture):
    asked = pictured(picture("red"), picture("blue"))
    said = "^picture_adapter: vace sees pictures without"
    with pytest.raises(RequestError, match=said):
        check_runnable(replace(asked, picture_adapter="ip"))
    said = "^params.self_strength: Regions with pictures cannot be kept apart"
    with pytest.raises(RequestError, match=said):
        latents_of(vace, asked, self_strength=0.5)
    latents_of(vace, asked, self_strength=0.5, picture_binding=0.0)


# --- Long clips


def long_request():
    """A clip of noise that needs several windows; two regions stay where they are."""
    asked = requested("vace")
    labels = np.repeat(np.asarray(asked.labels)[:1], 14, 0)
    clip = ArrayClip(noise(14, HEIGHT, WIDTH, 3, seed=1), fps=8)
    params = BASE | {"window": 9, "overlap": 5, "cuts": "none"}
    return replace(asked, clip=clip, labels=labels, params=params)


def given_before(found, start):
    """Five finished frames: what was drawn, over the source."""
    part = slice(start, start + 5)
    drawn = np.asarray(found.result.uncomposited)[part]
    mask = np.asarray(found.request.edited_mask)[part]
    return np.where(mask[..., None], drawn, found.request.clip.read(start, start + 5))


def test_a_later_window_begins_with_finished_frames(vace, tmp_path):
    """They are given whole, nothing of them is drawn anew; outside they are the
    source's, and so is everything in the end."""
    asked = long_request()
    found = drive(vace, asked, tmp_path, **asked.params)
    alone = np.asarray(found.result.uncomposited)
    source = asked.clip.read(0, 14)
    mask = np.asarray(asked.edited_mask)
    contexts = [call.change.context for call in found.of("editing")[::8]]
    assert [len(one) for one in contexts] == [3, 3, 3]  # of 9, 9 and 6 frames
    for context, start in zip(contexts[1:], (4, 8), strict=True):
        shown = source[start : start + 9].copy()
        shown[:5] = given_before(found, start)
        anew = mask[start : start + 9].copy()
        anew[:5] = False
        seen = np.where(anew[..., None], np.float32(127.5), shown)
        near(context, condition(vace.encode, seen, np.float32(anew)), atol=1e-4)
    latents = found.decoded[1]
    given = vace.encode(np.concatenate([given_before(found, 4), source[9:13]]))
    near(latents[:2], given[:2], atol=1e-4)  # of five frames
    assert np.array_equal(alone[9:13], vace.decode(latents)[5:9])
    frames = np.asarray(found.result.frames)
    away = np.asarray(found.result.matte) == 0
    assert np.array_equal(frames[away], source[away])
    assert found.result.attention["left"].after.shape[0] == 14


def test_a_window_after_one_without_regions_begins_with_the_source(vace, tmp_path):
    asked = long_request()
    labels = np.asarray(asked.labels).copy()
    labels[:9] = 0
    asked = replace(asked, labels=labels)
    found = drive(vace, asked, tmp_path, **asked.params)
    first = found.of("editing")[0].change.context
    source = asked.clip.read(4, 13)
    anew = np.asarray(asked.edited_mask)[4:13]
    assert not anew[:5].any()
    seen = np.where(anew[..., None], np.float32(127.5), source)
    near(first, condition(vace.encode, seen, np.float32(anew)), atol=1e-4)


def test_a_cut_starts_afresh_as_without_an_overlap(vace, tmp_path):
    asked = long_request()
    cut, own = (
        drive(vace, asked, tmp_path, **asked.params | given)
        for given in ({"cuts": "9"}, {"overlap": 0})
    )
    contexts = [call.change.context for call in cut.of("editing")[::8]]
    assert [len(context) for context in contexts] == [3, 2]
    near(own.of("editing")[8].change.context, contexts[1])


def test_a_window_is_drawn_again_when_what_it_was_handed_is_another(vace, monkeypatch):
    """The frames of a later window are the same, those that were finished are not."""
    asked = long_request()
    frames = asked.clip.read(0, 14).copy()
    frames[0] = 255 - frames[0]
    calls = []
    note_calls(monkeypatch, vace, lambda *_: calls.append(1))
    list(edit(asked, vace))
    once = len(calls)
    list(edit(replace(asked, clip=ArrayClip(frames, fps=8)), vace))
    assert len(calls) == 2 * once


# --- Colours around a region


def test_a_cast_is_taken_away_by_what_is_around():
    """A cast of half a hundred levels is gone to one; nothing is changed where there is
    none."""
    source = np.random.default_rng(1).integers(40, 200, (3, 40, 60, 3), dtype=np.uint8)
    inside = np.zeros((3, 40, 60), bool)
    inside[:, 12:28, 20:40] = True
    drawn = source.copy()
    drawn[inside] = 90
    assert np.array_equal(matched(drawn, source, inside), drawn)
    cast = np.rint(drawn * [0.85, 1.1, 1.0] + [20, -15, 8]).astype(np.uint8)
    found = matched(cast, source, inside).astype(int)
    assert np.abs(found - drawn).max() <= 1
    # what no factor of a model is, and what says no factor
    far = np.rint(drawn * 0.3).astype(np.uint8)
    assert matched(far, source, inside).std() < 0.5 * drawn.std()
    flat = np.where(inside[..., None], source, np.uint8(100))
    assert np.array_equal(matched(flat + np.uint8(9), flat, inside), flat)
    assert np.array_equal(matched(cast, source, np.ones_like(inside)), cast)


def test_previews_show_the_clip_and_no_picture(vace, picture):
    """With one step, its maps are those of the run; beside the regions is the clip."""
    corners = []
    for whole in ("", picture("blue")):
        asked = pictured(left=picture("red"), whole=whole)
        asked = replace(asked, params=BASE | {"steps": 1, "preview_every": 1})
        *events, last = edit(asked, vace)
        (preview,) = (event for event in events if isinstance(event, Preview))
        kept = last.result.attention["left"]
        shown, kept = preview.attention["left"], kept.after[[*preview.indices]]
        np.testing.assert_allclose(shown, kept / kept.max(), atol=1e-6)
        corners.append(preview.frames[:, -1, 0])
    np.testing.assert_allclose(*np.int16(corners), atol=2)
