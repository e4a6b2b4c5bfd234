"""Key frames, for every method: the recipe sees them alone, and the frames between follow the motion."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from editing import ArrayClip, EditRequest, Finished, Region, edit
from editing.errors import RequestError
from editing.events import EditResult, Preview, Progress, RegionAttention, WordAttention
from editing.keyed import Picked, edit_keys, find_cuts, pick
from editing.params import MethodParams
from editing.spool import frames_of

FRAMES, SIZE = 8, 64


def moving(frames=FRAMES, seed=0):
    """Blocks that drift to the right, a pixel a frame."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    wide = np.repeat(np.repeat(cells, 8, 0), 8, 1)
    return np.stack([wide[:, 60 - t : 60 - t + SIZE] for t in range(frames)])


def labels():
    found = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for t in range(FRAMES):
        found[t, 10:40, 10 + t : 40 + t] = 1
    return found


def request(**changes):
    given = {"source_prompt": "a horse on the beach", "seed": 7, "method": "sdedit"}
    regions = (Region("horse", 1, prompt="a dog", source="a horse"),)
    return EditRequest(ArrayClip(moving(), fps=Fraction(24)), labels(), regions, **(given | changes))


def inverted(backbone, request, params):
    """A recipe without a model: colours are inverted; everything that a result may hold is there."""
    frames = np.asarray(frames_of(request.clip))
    count = len(frames)
    yield Preview(frames[:2], (0, count - 1), {})
    yield Progress("editing", 1, 1, None)
    maps = np.arange(count, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    return EditResult(
        255 - frames,
        255 - frames,
        frames_of(request.clip),
        request.edited_mask,
        {"horse": RegionAttention(maps, maps + 10)},
        reconstruction=frames,
        control=frames,
        words=WordAttention({"horse": maps}, {"dog": maps}),
        step_areas={0: maps > 1},
    )


def run(asked, keyframes):
    events, found = edit_keys(inverted, None, asked, MethodParams(keyframes=keyframes, feather=0.0)), []
    while True:
        try:
            found.append(next(events))
        except StopIteration as stop:
            return stop.value, found


def test_all_frames_are_the_recipes_own():
    result, _ = run(request(), "all")
    assert isinstance(result.frames, np.ndarray)
    assert np.array_equal(result.frames, 255 - moving())


def test_key_frames_are_kept_and_the_others_follow():
    asked = request()
    result, events = run(asked, "0, 3")
    alone, frames = np.asarray(result.uncomposited), np.asarray(result.frames)
    assert frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.array_equal(alone[[0, 3, 7]], 255 - moving()[[0, 3, 7]])
    # Nearest frames, copied, are far off; what follows the motion is not.
    off = np.abs(alone.astype(int) - (255 - moving().astype(int))).mean((1, 2, 3))
    still = np.abs(np.diff(moving().astype(int), axis=0)).mean()
    assert 0 < off.max() < 0.7 * still
    outside = ~np.asarray(asked.edited_mask)
    assert np.array_equal(frames[outside], moving()[outside])
    assert np.array_equal(frames[~outside], alone[~outside])
    assert np.array_equal(np.asarray(result.source), moving())
    assert [e.done for e in events if isinstance(e, Progress) and e.stage == "decoding"] == list(range(1, 9))
    (preview,) = (e for e in events if isinstance(e, Preview))
    assert preview.indices == (0, 7)


def test_maps_are_those_of_the_nearest_key_frame():
    result, _ = run(request(), "0, 3")
    near = [0, 0, 1, 1, 1, 1, 2, 2]
    assert result.attention["horse"].before[:, 0, 0].tolist() == near
    assert result.attention["horse"].after[:, 0, 0].tolist() == [10 + n for n in near]
    assert result.words.source["horse"][:, 0, 0].tolist() == near
    assert result.step_areas[0][:, 0, 0].tolist() == [n > 1 for n in near]
    assert np.array_equal(result.control[1:3], moving()[[0, 3]])
    assert len(result.reconstruction) == FRAMES


def test_the_recipe_sees_key_frames_and_their_masks_alone():
    some = pick(request(), (0, 3, 7))
    assert np.array_equal(some.clip.read(1, 3), moving()[[3, 7]])
    assert np.array_equal(some.labels[1], labels()[3])
    assert some.clip.read(1, 1).shape == (0, SIZE, SIZE, 3)
    assert (some.clip.size, some.clip.fps) == ((SIZE, SIZE), Fraction(24))


def test_a_region_in_no_key_frame_is_refused():
    masks = labels()
    masks[[0, 7]] = 0
    asked = replace(request(), labels=masks)
    with pytest.raises(RequestError, match=r"params.keyframes: Region 'horse' .* add one that shows it"):
        pick(asked, (0, 7))


def test_a_frame_outside_the_clip_is_refused_before_the_model_is_loaded():
    with pytest.raises(RequestError, match=r"params.keyframes: Frame 9 is outside the clip"):
        next(edit(request(params={"keyframes": "0, 9"}, model="owner/nothing")))


def test_cuts_are_sought_in_the_whole_clip():
    clip = ArrayClip(np.concatenate([moving(3, 1), moving(5, 2)]))
    assert find_cuts(clip) == ((3,), (3,))
    assert find_cuts(Picked(clip, (0, 2, 5, 7))) == ((3,), (2,))
    assert find_cuts(Picked(clip, (0, 3, 7))) == ((3,), (1,))


@pytest.mark.parametrize("method", ["videograin", "fatezero", "vid2vid_zero", "fresco", "sdedit"])
def test_every_method_has_key_frames(tiny, method, tmp_path, monkeypatch):
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path))
    given = {"steps": 2, "keyframes": "every 4", "preview_every": 0}
    given |= {"inner_steps": 1} if method == "vid2vid_zero" else {}
    *_, last = edit(request(method=method, params=given), tiny)
    assert isinstance(last, Finished)
    frames = np.asarray(last.result.frames)
    assert frames.shape == (FRAMES, SIZE, SIZE, 3)
    assert (frames != moving()).any((1, 2, 3)).all()
    assert np.array_equal(frames[:, 50:, :5], moving()[:, 50:, :5])  # away from the mask and its feather
    assert last.report["params"]["keyframes"] == {"value": "every 4", "source": "given"}
