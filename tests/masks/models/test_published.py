"""Published SAM 2 and SAM 3 answer as transformers does: clicks, boxes, masks and
tracking."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from published_sam import change_config, write_sam2, write_sam3

from regrain import masks
from regrain.editing.errors import MaskError, ModelError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.writing import write_lossless
from regrain.masks.__main__ import main
from regrain.masks.models import checkpoints, cost, finders, sam, sam2
from regrain.masks.track import sam2_track

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


@pytest.fixture(scope="module")
def direct(shelf):
    """Networks and processors of transformers, loaded without our code: for pictures
    and for video."""

    def load(name, kind):
        return tuple(
            getattr(t, kind + part).from_pretrained(shelf / name)
            for part in ("Model", "Processor")
        )

    model3, _ = video3 = load(SAM3, "Sam3TrackerVideo")
    # Sam3TrackerModel.from_pretrained leaves out most of what is published
    # (transformers 5.23).
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    config = t.Sam3TrackerConfig(
        **{part: getattr(model3.config, part).to_dict() for part in parts}
    )
    picture3 = t.Sam3TrackerModel(config).eval()
    assert (
        picture3.load_state_dict(model3.state_dict(), strict=False).missing_keys == []
    )
    still3 = picture3, t.Sam3TrackerProcessor.from_pretrained(shelf / SAM3)
    return {SAM2: (load(SAM2, "Sam2"), load(SAM2, "Sam2Video")), SAM3: (still3, video3)}


def ask(network, multimask, points=None, box=None, mask=None):
    """A picture's masks and their quality from transformers."""
    model, processor = network
    places = [[[[*p[:2]] for p in points]]] if points else None
    given = {"input_points": places, "input_boxes": [[box]] if box else None}
    given["input_labels"] = [[[p[2] for p in points]]] if points else None
    inputs = processor(images=IMAGE, return_tensors="pt", **given)
    sizes = inputs.pop("original_sizes")
    if mask is not None:
        grid = model.prompt_encoder.mask_input_size
        small = torch.nn.functional.interpolate(
            torch.from_numpy(mask)[None, None].float(), grid, mode="area"
        )
        inputs["input_masks"] = torch.where(small > 0.5, 8.0, -8.0)
    with torch.no_grad():
        answer = model(**inputs, multimask_output=multimask)
    found = processor.post_process_masks(answer.pred_masks, sizes)[0][0].numpy()
    return found, answer.iou_scores[0, 0].numpy()


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_a_first_click_takes_the_largest_of_three_good_masks(name, direct, monkeypatch):
    found, quality = ask(direct[name][0], True, [(30, 20, 1)])
    # none is much worse, so the largest is the whole thing
    assert np.ptp(quality) < 0.12
    largest = found[found.sum((1, 2)).argmax()]
    assert 0 < largest.sum() < largest.size
    assert (masks.segment(IMAGE, [(30, 20)], [1], method=name) == largest).all()
    monkeypatch.setattr("regrain.masks.segmentation.click._MOST", 1)
    doubts = []
    for trusted in (-9, 9):
        monkeypatch.setattr(sam2, "TRUSTED", trusted)
        masks.segment(
            IMAGE,
            [(30, 20)],
            [1],
            method=name,
            doubt=lambda trusted=trusted: doubts.append(trusted),
        )
    assert doubts == [9]
    smallest = found[found.sum((1, 2)).argmin()]
    assert (
        masks.segment(IMAGE, [(30, 20)], [1], method=name, index=2) == smallest
    ).all()


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_points_a_box_and_an_earlier_mask_reach_the_network(name, direct):
    points, box = [(30, 20, 1), (60, 50, 0)], [5, 6, 50, 40]
    wide = np.zeros((HEIGHT, WIDTH), bool)
    wide[: HEIGHT // 2] = True  # a click confirms it, so no other is added to it
    for given in ((points,), (points, box), ([], box), (points[:1], None, wide)):
        expected = ask(direct[name][0], False, *given)[0][0]
        clicks = [p[:2] for p in given[0]], [p[2] for p in given[0]]
        assert (
            masks.segment(IMAGE, *clicks, *given[1:], method=name) == expected
        ).all()
    assert not (ask(direct[name][0], False, points[:1])[0][0] == expected).all()


def test_a_frame_is_encoded_once_however_many_click_at_once(monkeypatch):
    encoded = []
    slow = sam2._encode
    monkeypatch.setattr(
        sam2, "_encode", lambda *given: encoded.append(1) or slow(*given)
    )
    fresh = 255 - IMAGE
    with ThreadPoolExecutor(4) as four:
        list(
            four.map(
                lambda _: masks.segment(fresh, [(30, 20)], [1], method=SAM2), range(4)
            )
        )
    frame = masks.embed(fresh, SAM2)  # an embedded frame answers as its pixels do
    one, other = (
        masks.segment(given, [(9, 9)], [1], method=SAM2) for given in (frame, fresh)
    )
    assert (one == other).all()
    assert len(encoded) == 1


def test_clicks_and_tracking_share_their_weights():
    checkpoint = checkpoints.find(SAM3)
    clicks, video = (
        checkpoints.load(checkpoint, use).model for use in ("clicks", "tracking")
    )
    own = {weight.data_ptr() for weight in video.parameters()}
    assert all(weight.data_ptr() in own for weight in clicks.parameters())


def follow(network, keys, reverse, first):
    """Masks by frame and label, and how sure each is that the thing is there, from
    transformers."""
    model, processor = network
    session = processor.init_video_session(
        video=CLIP.read(0, COUNT), dtype=torch.float32
    )
    for frame, given in keys.items():
        processor.add_inputs_to_inference_session(
            session, frame, list(given), input_masks=[*given.values()]
        )
        model(session, frame_idx=frame)
    found = {}
    for out in model.propagate_in_video_iterator(
        session, start_frame_idx=first, reverse=reverse
    ):
        seen = processor.post_process_masks([out.pred_masks], [[HEIGHT, WIDTH]])[0][
            :, 0
        ].numpy()
        found[out.frame_idx] = dict(zip(out.object_ids, seen, strict=True))
    return found


@pytest.mark.parametrize("name", [SAM2, SAM3])
def test_two_regions_are_followed_both_ways_as_transformers_does(name, direct):
    # one over the other: each keeps what the network says
    keys = {4: {1: LEFT, 2: RIGHT | LEFT}}
    forwards, backwards = (
        follow(direct[name][1], keys, reverse, 4) for reverse in (False, True)
    )
    found = {
        frame: (labels, sure)
        for frame, labels, sure in masks.propagate(CLIP, keys, tracker=name)
    }
    assert list(found) == [*range(4, COUNT), *range(3, -1, -1)]
    changed = 0
    for frame, seen in (forwards | backwards).items():
        if frame == 4:
            continue
        expected = np.where(seen[1], 1, np.where(seen[2], 2, 0))
        assert (found[frame][0] == expected).all(), frame
        changed += bool(np.unique(expected).size > 1)
    assert changed == COUNT - 1  # there was something to compare
    assert (found[4][0] == np.where(LEFT, 1, np.where(RIGHT, 2, 0))).all()
    assert 0 < found[9][1].regions[1] <= 1
    assert found[4][1] == 1


def labels_by_frame(keys, **how):
    return {
        frame: labels
        for frame, labels, _ in masks.propagate(CLIP, keys, tracker=SAM2, **how)
    }


def test_corrections_stay_as_they_were_given(direct):
    keys = {0: {1: LEFT}, 10: {1: RIGHT}}
    expected, found = follow(direct[SAM2][1], keys, False, 0), labels_by_frame(keys)
    assert (found[0] == LEFT).all()
    assert (found[10] == RIGHT).all()
    for frame in (1, 9, 11, 19):
        assert (found[frame] == expected[frame][1]).all()
    assert [*labels_by_frame({6: {1: LEFT}}, start=4, stop=9)] == [
        6,
        7,
        8,
        5,
        4,
    ]  # the stretch alone


def tracked(keys, stop):
    return dict(sam2_track.track(checkpoints.find(SAM2), CLIP, keys, 0, stop))


def test_a_region_that_begins_later_is_followed_back_from_there(direct):
    back = follow(direct[SAM2][1], {8: {2: RIGHT}}, True, 8)
    found = tracked({2: {1: LEFT}, 8: {2: RIGHT}}, COUNT)
    for frame in (2, 5, 7):
        assert 0 < back[frame][2].sum() < RIGHT.size
        # what both claim goes to the surer one
        alone = back[frame][2] & ~found[frame][1].mask
        assert (found[frame][2].mask & ~found[frame][1].mask <= alone).all()
        assert found[frame][2].mask.any()


def test_what_two_regions_claim_goes_to_the_surer_one():
    for second, both in ((RIGHT, False), (LEFT | RIGHT, True)):
        seen = tracked({0: {1: LEFT, 2: second}}, 6).values()
        assert any((found[1].mask & found[2].mask).any() for found in seen) == both


def test_a_long_clip_is_read_in_windows_and_forgotten(monkeypatch):
    """What a session holds does not grow with the clip."""
    read, held = [], []

    class Watched(ArrayClip):
        def read(self, start, stop):
            read.append(stop - start)
            return super().read(start, stop)

    forget = sam2_track._forget

    def watch(network, session, frame):
        forget(network, session, frame)
        held.append(len(session.output_dict_per_obj[0]["non_cond_frame_outputs"]))

    monkeypatch.setattr(sam2_track, "_forget", watch)
    long = Watched(np.repeat(CLIP.read(0, 1), 50, 0), Fraction(8))
    assert len(list(masks.propagate(long, {0: {1: LEFT}}, tracker=SAM2))) == 50
    assert max(read) <= 16
    assert max(held) == held[-1] == 16


def test_what_is_at_hand_is_listed_and_the_usual_one_chosen(
    shelf, tmp_path, monkeypatch
):
    (shelf / "another-model").mkdir(exist_ok=True)
    (shelf / "another-model" / "config.json").write_text('{"model_type": "clip"}')
    known = finders.finders()
    assert list(known) == ["sam", "cuts", SAM2, SAM3]
    assert (known[SAM2].title, known[SAM3].title) == ("SAM 2.1 tiny", "SAM 3")
    assert known[SAM3].takes == ("points", "box", "mask")
    assert known[SAM2].follows
    assert "first click" in known[SAM2].cost()
    assert known["sam"].cost() == ""
    assert "strokes" in known["cuts"].takes
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sam, "missing", lambda: None)
    assert finders.usual(drawn=True).name == "sam"
    assert finders.usual(drawn=False).name == SAM2
    assert [finders.usual_tracker(drawn) for drawn in (True, False)] == ["cuts"] * 2
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    assert [finders.usual(drawn).name for drawn in (True, False)] == ["sam", "cuts"]
    assert [finders.usual_tracker(drawn) for drawn in (True, False)] == ["cuts"] * 2
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"")
    assert finders.usual(drawn=False).name == "sam_vit_b_01ec64"
    with pytest.raises(
        MaskError, match=r"method: 'sam3' was not found. .*Choose from sam, cuts"
    ):
        masks.segment(IMAGE, [(1, 1)], [1], method="sam3")
    with pytest.raises(MaskError, match="tracker: 'sam' was not found"):
        list(masks.propagate(CLIP, {0: {1: LEFT}}, tracker="sam"))
    with pytest.raises(MaskError, match="tracker: 'flow' was not found. Choose from"):
        list(masks.propagate(CLIP, {0: {1: LEFT}}, tracker="flow"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_are_read_as_windows_writes_them(shelf, tmp_path, monkeypatch, encoding):
    folder = shutil.copytree(shelf / SAM2, tmp_path / "sam2_windows")
    for file in folder.glob("*.json"):
        file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    found = masks.segment(IMAGE, [(20, 20)], [1], method="sam2_windows")
    monkeypatch.setenv("REGRAIN_MODELS", str(shelf))
    assert (found == masks.segment(IMAGE, [(20, 20)], [1], method=SAM2)).all()


WEIGHTS = "model.safetensors"
NO_CONFIG, NO_WEIGHTS = (
    "no config.json with a model_type",
    "has no .safetensors weights",
)
NO_PROCESSOR, UNFIT = (
    "lacks files of its processor",
    "cannot be loaded|lacks .* weights",
)


def cut(folder, end):
    """Leaves the beginning of the weights."""
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:end])


BROKEN = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), NO_WEIGHTS),
    "a pickle": (
        lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"),
        NO_WEIGHTS,
    ),
    "cut off": (lambda folder: cut(folder, 5000), "is damaged"),
    "half": (lambda folder: cut(folder, -50000), "is damaged"),
    "no processor": (
        lambda folder: (folder / "processor_config.json").unlink(),
        NO_PROCESSOR,
    ),
    "other sizes": (
        lambda folder: change_config(folder, memory_fuser_embed_dim=64),
        UNFIT,
    ),
    "another model": (
        lambda folder: change_config(folder, model_type="clip"),
        NO_CONFIG,
    ),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), NO_CONFIG),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_one_line(how, shelf, tmp_path, own_models):
    do, said = BROKEN[how]
    folder = tmp_path / "mine"
    shutil.copytree(shelf / SAM2, folder)
    do(folder)
    with pytest.raises(ModelError, match=f"^model: 'mine'.*{said}") as error:
        masks.segment(IMAGE, [(1, 1)], [1], method="mine")
    assert str(error.value).endswith("again.")


def test_what_a_checkpoint_is_not_made_for_is_said(shelf, tmp_path, monkeypatch):
    shutil.copytree(shelf / SAM2, tmp_path / "mine")
    change_config(tmp_path / "mine", model_type="sam2")
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="is not made for tracking"):
        checkpoints.load(checkpoints.find("mine"), "tracking")


def test_the_size_is_read_from_the_header(shelf):
    header = (shelf / SAM2 / "model.safetensors").read_bytes()
    entries = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    total = sum(
        int(np.prod(entry["shape"]))
        for key, entry in entries.items()
        if key != "__metadata__"
    )
    checkpoint = checkpoints.find(SAM2)
    assert (checkpoint.parameters, checkpoint.side) == (total, 128)


def test_what_a_click_takes_is_estimated_then_measured(monkeypatch):
    monkeypatch.setattr(cost, "_measured", {})
    monkeypatch.setattr(cost, "on_gpu", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(cost.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cost, "is_loaded", lambda _: True)
    published = checkpoints.Checkpoint(
        SAM2, Path(SAM2), checkpoints.KINDS["sam2_video"], 1024, 38_962_498
    )
    guess = cost.cost(published)
    assert 2 < guess.first < 5  # two cores need about 3 s for what one does in 5.7
    first, then = (
        "about 3 s for the first click on a frame",
        "about 6 s to follow a frame",
    )
    assert guess.in_words() == f"{first}, then less than a second; {then}"
    now = iter([10.0, 17.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(now))
    with cost.timing(published, "encode"):
        pass
    told = cost.cost(published)
    assert told.first == pytest.approx(7.075)


def test_the_command_line_uses_them(tmp_path, capsys):
    write_lossless(tmp_path / "clip.mkv", CLIP)
    asked = [
        "track",
        str(tmp_path / "clip.mkv"),
        "--click",
        "1:2,30,20",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main([*asked, "--finder", SAM2, "--tracker", SAM2, "--frames", "5"]) == 0
    image = CLIP.read(2, 3)[0]
    first = masks.segment(image, [(30, 20)], [1], method=SAM2)
    expected = labels_by_frame({2: {1: first}})
    written = masks.read_labels(tmp_path / "out", 5, (WIDTH, HEIGHT))
    assert (written[2] == first).all()
    assert (written[4] == expected[4]).all()
    capsys.readouterr()
    for option in ("--finder", "--tracker"):
        assert main([*asked, option, "sam9"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(
            f"error: {option}: 'sam9' was not found. Did you mean 'sam"
        )
