"""Published SAM 2 and SAM 3 answer as transformers does: clicks, boxes, masks and
tracking."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from damaged_models import damage
from json_files import read_json
from published_sam import change_config, write_sam2, write_sam3
from safetensors.torch import load_file

from regrain import masks
from regrain.editing.errors import MaskError, ModelError
from regrain.editing.media.clip import ArrayClip
from regrain.masks.models import checkpoints, cost, finders, sam, sam2
from regrain.masks.segmentation import click
from regrain.masks.track import propagate, sam2_track

SAM2, SAM3 = "sam2.1-hiera-tiny", "sam3"
WIDTH, HEIGHT, COUNT = 80, 60, 20
NOISE = np.random.default_rng(0)
IMAGE = NOISE.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
CLIP = ArrayClip(
    NOISE.integers(0, 255, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8), Fraction(8)
)
LEFT, RIGHT = np.zeros((2, HEIGHT, WIDTH), bool)
LEFT[10:30, 10:30] = RIGHT[25:50, 45:70] = True


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    write_sam2(folder / SAM2)
    write_sam3(folder / SAM3)
    return folder


@pytest.fixture(autouse=True)
def _models(shelf, monkeypatch):
    monkeypatch.setenv("REGRAIN_MODELS", str(shelf))
    # Untrained networks answer with specks, which are compared as they are.
    monkeypatch.setattr(click, "_tidied", lambda mask, prompts: mask)
    monkeypatch.setattr(propagate, "_together", lambda mask: mask)


@pytest.fixture(scope="module")
def direct(shelf):
    """Networks and processors of transformers, loaded without our code: for pictures
    and for video."""

    def load(name, kind):
        parts = (getattr(t, kind + part) for part in ("Model", "Processor"))
        return tuple(part.from_pretrained(shelf / name) for part in parts)

    model3, _ = video3 = load(SAM3, "Sam3TrackerVideo")
    # Sam3TrackerModel.from_pretrained leaves out most of what is published
    # (transformers 5.23).
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    configs = {part: getattr(model3.config, part).to_dict() for part in parts}
    picture3 = t.Sam3TrackerModel(t.Sam3TrackerConfig(**configs)).eval()
    loaded = picture3.load_state_dict(model3.state_dict(), strict=False)
    assert loaded.missing_keys == []
    still3 = picture3, t.Sam3TrackerProcessor.from_pretrained(shelf / SAM3)
    return {SAM2: (load(SAM2, "Sam2"), load(SAM2, "Sam2Video")), SAM3: (still3, video3)}


def ask(network, multimask, points=(), labels=(), box=None, mask=None):
    """A picture's masks and their quality from transformers."""
    model, processor = network
    given = {"input_boxes": [[box]] if box else None}
    if points:
        given["input_points"] = [[[[*point] for point in points]]]
        given["input_labels"] = [[[*labels]]]
    inputs = processor(images=IMAGE, return_tensors="pt", **given)
    sizes = inputs.pop("original_sizes")
    if mask is not None:
        grid = model.prompt_encoder.mask_input_size
        large = torch.from_numpy(mask)[None, None].float()
        small = torch.nn.functional.interpolate(large, grid, mode="area")
        inputs["input_masks"] = torch.where(small > 0.5, 8.0, -8.0)
    with torch.no_grad():
        answer = model(**inputs, multimask_output=multimask)
    found = processor.post_process_masks(answer.pred_masks, sizes)[0][0].numpy()
    return found, answer.iou_scores[0, 0].numpy()


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_a_first_click_takes_the_largest_of_three_good_masks(name, direct):
    click = [(30, 20)], [1]
    found, quality = ask(direct[name][0], True, *click)
    # none is much worse, so the largest is the whole thing
    assert np.ptp(quality) < 0.12
    smallest, _, largest = sorted(found, key=np.sum)
    assert 0 < largest.sum() < largest.size
    assert (masks.segment(IMAGE, *click, method=name) == largest).all()
    assert (masks.segment(IMAGE, *click, method=name, index=2) == smallest).all()


@pytest.mark.parametrize(("trusted", "told"), [(-9, False), (9, True)])
def test_a_first_click_below_what_is_trusted_is_doubted(monkeypatch, trusted, told):
    monkeypatch.setattr("regrain.masks.segmentation.click._MOST", 1)
    monkeypatch.setattr(sam2, "TRUSTED", trusted)
    doubts = []
    doubt = lambda: doubts.append(1)  # noqa: E731
    masks.segment(IMAGE, [(30, 20)], [1], method=SAM2, doubt=doubt)
    assert bool(doubts) == told


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_points_a_box_and_an_earlier_mask_reach_the_network(name, direct):
    points, box = ([(30, 20), (60, 50)], [1, 0]), [5, 6, 50, 40]
    one = [(30, 20)], [1]
    wide = np.zeros((HEIGHT, WIDTH), bool)
    wide[: HEIGHT // 2] = True  # a click confirms it, so no other is added to it
    for given in (points, (*points, box), ([], [], box), (*one, None, wide)):
        expected = ask(direct[name][0], False, *given)[0][0]
        assert (masks.segment(IMAGE, *given, method=name) == expected).all()
    assert not (ask(direct[name][0], False, *one)[0][0] == expected).all()


def test_clicks_and_tracking_share_their_weights():
    checkpoint = checkpoints.find(SAM3)
    clicks, video = (
        checkpoints.load(checkpoint, use).model for use in ("clicks", "tracking")
    )
    own = {weight.data_ptr() for weight in video.parameters()}
    assert {weight.data_ptr() for weight in clicks.parameters()} <= own


def test_a_frame_is_encoded_once_however_many_click_at_once(watched):
    encoded = watched(sam2, "_encode")
    fresh = 255 - IMAGE
    click = partial(masks.segment, fresh, [(30, 20)], method=SAM2)
    with ThreadPoolExecutor(4) as four:
        first, *others = four.map(click, [[1]] * 4)
    frame = masks.embed(fresh, SAM2)  # an embedded frame answers as its pixels do
    again = masks.segment(frame, [(30, 20)], [1], method=SAM2)
    assert all((one == first).all() for one in (*others, again))
    assert len(encoded) == 1


def follow(network, keys, reverse, first):
    """Masks by frame and label from transformers."""
    model, processor = network
    frames = CLIP.read(0, COUNT)
    session = processor.init_video_session(video=frames, dtype=torch.float32)
    for frame, given in keys.items():
        processor.add_inputs_to_inference_session(
            session, frame, list(given), input_masks=[*given.values()]
        )
        model(session, frame_idx=frame)
    found = {}
    how = {"start_frame_idx": first, "reverse": reverse}
    for out in model.propagate_in_video_iterator(session, **how):
        (seen,) = processor.post_process_masks([out.pred_masks], [[HEIGHT, WIDTH]])
        found[out.frame_idx] = dict(
            zip(out.object_ids, seen[:, 0].numpy(), strict=True)
        )
    return found


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_two_regions_are_followed_both_ways_as_transformers_does(name, direct):
    # one over the other: each keeps what the network says
    keys = {4: {1: LEFT, 2: RIGHT | LEFT}}
    expected = {}
    for reverse in (False, True):
        expected |= follow(direct[name][1], keys, reverse, 4)
    expected[4] = {1: LEFT, 2: RIGHT}
    found = {frame: one for frame, *one in masks.propagate(CLIP, keys, tracker=name)}
    assert list(found) == [*range(4, COUNT), *range(3, -1, -1)]
    for frame, seen in expected.items():
        labels = np.where(seen[1], 1, np.where(seen[2], 2, 0))
        assert (found[frame][0] == labels).all(), frame
        assert np.ptp(labels) > 0  # there is something to compare
    assert 0 < found[9][1].regions[1] <= 1
    assert found[4][1] == 1


def labels_by_frame(keys, **how):
    found = masks.propagate(CLIP, keys, tracker=SAM2, **how)
    return {frame: labels for frame, labels, _ in found}


def test_corrections_stay_as_they_were_given(direct):
    keys = {0: {1: LEFT}, 10: {1: RIGHT}}
    found = labels_by_frame(keys)
    expected = {
        frame: one[1] for frame, one in follow(direct[SAM2][1], keys, False, 0).items()
    }
    expected |= {0: LEFT, 10: RIGHT}
    for frame in (0, 1, 9, 10, 11, 19):
        assert (found[frame] == expected[frame]).all()
    # the stretch alone
    assert [*labels_by_frame({6: {1: LEFT}}, start=4, stop=9)] == [6, 7, 8, 5, 4]


def tracked(keys, stop):
    return dict(sam2_track.track(checkpoints.find(SAM2), CLIP, keys, 0, stop))


def test_a_region_that_begins_later_is_followed_back_from_there(direct):
    back = follow(direct[SAM2][1], {8: {2: RIGHT}}, True, 8)
    found = tracked({2: {1: LEFT}, 8: {2: RIGHT}}, COUNT)
    for frame in (2, 5, 7):
        first, second = (found[frame][label].mask for label in (1, 2))
        assert 0 < back[frame][2].sum() < RIGHT.size
        # what both claim goes to the surer one
        assert not (second & ~first & ~back[frame][2]).any()
        assert second.any()


def test_what_two_regions_claim_goes_to_the_surer_one():
    for second, both in ((RIGHT, False), (LEFT | RIGHT, True)):
        seen = tracked({0: {1: LEFT, 2: second}}, 6).values()
        assert any((found[1].mask & found[2].mask).any() for found in seen) == both


def test_a_long_clip_is_read_in_windows_and_forgotten(monkeypatch):
    """What a session holds does not grow with the clip."""
    read, held = [], []
    frames = np.repeat(CLIP.read(0, 1), 50, 0)

    class Watched(ArrayClip):
        def read(self, start, stop):
            read.append(stop - start)
            return super().read(start, stop)

    forget = sam2_track._forget

    def watch(network, session, frame):
        forget(network, session, frame)
        held.append(len(session.output_dict_per_obj[0]["non_cond_frame_outputs"]))

    monkeypatch.setattr(sam2_track, "_forget", watch)
    found = masks.propagate(Watched(frames, Fraction(8)), {0: {1: LEFT}}, tracker=SAM2)
    assert len(list(found)) == 50
    assert max(read) <= 16
    assert max(held) == held[-1] == 16


def test_what_is_at_hand_is_listed(shelf):
    (shelf / "another-model").mkdir(exist_ok=True)
    (shelf / "another-model" / "config.json").write_text('{"model_type": "clip"}')
    known = finders.finders()
    assert list(known) == ["sam", "cuts", SAM2, SAM3]
    assert (known[SAM2].title, known[SAM3].title) == ("SAM 2.1 tiny", "SAM 3")
    assert known[SAM3].takes == ("points", "box", "mask")
    assert known[SAM2].follows


def test_the_usual_one_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sam, "missing", lambda: None)

    def usual():
        """For drawn clips, and for others."""
        assert [finders.usual_tracker(drawn) for drawn in (True, False)] == ["cuts"] * 2
        return [finders.usual(drawn).name for drawn in (True, False)]

    assert usual() == ["sam", SAM2]
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    assert usual() == ["sam", "cuts"]
    with open(tmp_path / "sam_vit_b_01ec64.pth", "wb") as file:
        file.truncate(375_042_382)  # a byte is missing
        assert usual() == ["sam", "cuts"]
        file.truncate(375_042_383)
    assert usual() == ["sam", "sam_vit_b_01ec64"]
    with pytest.raises(MaskError, match=r"method: 'sam3' was .*Choose from sam, cuts"):
        masks.segment(IMAGE, [(1, 1)], [1], method="sam3")
    for name in ("sam", "flow"):
        said = f"tracker: '{name}' was not found. Choose from"
        with pytest.raises(MaskError, match=said):
            list(masks.propagate(CLIP, {0: {1: LEFT}}, tracker=name))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_are_read_as_windows_writes_them(shelf, tmp_path, monkeypatch, encoding):
    click = {"points": [(20, 20)], "point_labels": [1]}
    expected = masks.segment(IMAGE, **click, method=SAM2)
    folder = shutil.copytree(shelf / SAM2, tmp_path / "sam2_windows")
    for file in folder.glob("*.json"):
        file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    found = masks.segment(IMAGE, **click, method="sam2_windows")
    assert (found == expected).all()


WEIGHTS = "model.safetensors"
BROKEN = read_json(Path(__file__).with_name("broken.json"))
"""Damages to a SAM 2, and what is said of each."""


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_one_line(how, shelf, tmp_path, own_models):
    said = BROKEN[how]["said"]
    folder = tmp_path / "mine"
    shutil.copytree(shelf / SAM2, folder)
    damage(folder, BROKEN[how]["damage"])
    with pytest.raises(ModelError, match=f"^model: 'mine'.*{said}") as error:
        masks.segment(IMAGE, [(1, 1)], [1], method="mine")
    assert str(error.value).endswith(("again.", "model.", ".pth."))


def test_what_a_checkpoint_is_not_made_for_is_said(shelf, tmp_path, own_models):
    shutil.copytree(shelf / SAM2, tmp_path / "mine")
    change_config(tmp_path / "mine", model_type="sam2")
    with pytest.raises(ModelError, match="is not made for tracking"):
        checkpoints.load(checkpoints.find("mine"), "tracking")


def test_the_size_is_read_from_the_header(shelf):
    weights = load_file(shelf / SAM2 / WEIGHTS).values()
    checkpoint = checkpoints.find(SAM2)
    assert checkpoint.parameters == sum(weight.numel() for weight in weights)
    assert checkpoint.side == 128


def test_what_a_click_takes_is_estimated_then_measured(monkeypatch):
    for name, value in (
        ("_measured", {}),
        ("on_gpu", lambda: False),
        ("is_loaded", lambda _: True),
        ("os.cpu_count", lambda: 8),
    ):
        monkeypatch.setattr(f"regrain.masks.models.cost.{name}", value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    kind = checkpoints.KINDS["sam2_video"]
    published = checkpoints.Checkpoint(SAM2, Path(SAM2), kind, 1024, 38_962_498)
    # two cores need about 3 s for what one does in 5.7
    said = "about 3 s for the first click on a frame, then less than a second; "
    assert cost.cost(published).in_words() == f"{said}about 6 s to follow a frame"
    now = iter([10.0, 17.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(now))
    with cost.timing(published, "encode"):
        pass
    assert cost.cost(published).first == pytest.approx(7.075)
