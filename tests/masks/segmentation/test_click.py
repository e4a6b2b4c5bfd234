import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_models import reweighted
from json_files import read_json
from safetensors.torch import save_file

from regrain.editing.errors import MaskError, ModelError
from regrain.masks.draw import BrushStroke, iou
from regrain.masks.models import finders, sam, single_files
from regrain.masks.models.embedded import PRIOR, Embedded, encoded_frames
from regrain.masks.models.single_files import FILE
from regrain.masks.models.tiny_sam import WIDTH, build_tiny_sam
from regrain.masks.segmentation import click
from storybook.training.sam import save_tiny_sam

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
Y, X = np.mgrid[:90, :120]


def disc(x, y, radius):
    return np.hypot(X - x, Y - y) <= radius


class Circles:
    """A predictor that sees circles: of 10, 5 and 2 pixels around one click, one around
    all else."""

    asked: list = []  # noqa: RUF012

    def __init__(self, sam):
        self.model, self.features, self.input_size = sam, None, (192, 256)

    def set_image(self, image):
        self.features = torch.zeros(1, WIDTH, 32, 32)

    def predict(self, points, labels, box, mask_input, multimask_output):
        self.asked.append((points, labels, box, mask_input))
        given = box.reshape(2, 2) if points is None else points[labels == labels.max()]
        radii = (10, 5, 2) if multimask_output else (8,)
        masks = np.stack([disc(*given.mean(0), radius) for radius in radii])
        return masks, np.linspace(0.9, 0.8, len(masks)), None


@pytest.fixture
def circles(monkeypatch):
    monkeypatch.setattr("segment_anything.SamPredictor", Circles)
    encoder = types.SimpleNamespace(img_size=256)
    prompts = types.SimpleNamespace(mask_input_size=(128, 128))
    network = types.SimpleNamespace(image_encoder=encoder, prompt_encoder=prompts)
    monkeypatch.setattr(sam, "load_sam", lambda model=None: network)
    monkeypatch.setattr(sam, "missing", lambda: None)
    monkeypatch.setattr(sam, "_frames", encoded_frames())
    monkeypatch.setattr(Circles, "asked", [])
    return network


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    save_tiny_sam(build_tiny_sam(), folder)
    return folder


@pytest.mark.parametrize(("index", "radius"), [(None, 10), (0, 10), (1, 5), (2, 2)])
def test_a_first_click_means_the_whole_thing_or_a_part(circles, index, radius):
    found = click.segment(IMAGE, [(50, 40)], [1], index=index)
    assert (found == disc(50, 40, radius)).all()


def test_more_clicks_mean_what_fits_them(circles):
    found = click.segment(IMAGE, [(40, 40), (60, 40), (9, 9)], [1, 1, 0])
    assert (found == disc(50, 40, 8)).all()


@pytest.mark.parametrize(("last", "radius"), [(0.85, 10), (0.5, 5)])
def test_published_models_do_not_order_their_masks(circles, monkeypatch, last, radius):
    circles.image_encoder.img_size = 1024
    masks = np.stack([disc(50, 40, radius) for radius in (2, 5, 10)])
    answer = masks, np.array([0.9, 0.9, last]), None
    monkeypatch.setattr(Circles, "predict", lambda *_, **__: answer)
    assert (click.segment(IMAGE, [(50, 40)], [1]) == disc(50, 40, radius)).all()


@pytest.mark.parametrize(
    ("quality", "radius", "more", "told"),
    [
        (0.6, 10, {}, True),
        (0.7, 10, {}, False),
        (0.6, 10, {"box": (40, 30, 60, 50)}, False),
        (0.6, 10, {"previous": disc(50, 40, 20)}, False),
        (0.7, 60, {}, True),  # most of the picture
    ],
)
@pytest.mark.parametrize("side", [256, 1024])  # built in, and published
def test_a_click_of_which_a_network_is_not_sure_is_doubted(
    circles, monkeypatch, quality, radius, more, told, side
):
    circles.image_encoder.img_size = side
    answer = (disc(50, 40, radius)[None].repeat(3, 0), np.array([quality, 0, 0]), None)
    monkeypatch.setattr(Circles, "predict", lambda *_, **__: answer)
    doubts = []
    click.segment(IMAGE, [(50, 40)], [1], doubt=lambda: doubts.append(1), **more)
    assert bool(doubts) == told


THING, HOLE = disc(50, 40, 10), (X == 46) & (Y == 40)
PARTS = {
    "thing": THING,
    "thing but its hole": THING & ~HOLE,
    "speck": disc(50, 53, 1),
    "far": disc(90, 40, 8),
    "near": disc(65, 40, 3),
}
PIECES = read_json(Path(__file__).with_name("pieces.json"))
"""Marks, a box or an earlier mask, and what is left of all parts."""


def joined(*names):
    return np.any([PARTS[name] for name in names], axis=0)


@pytest.mark.parametrize("kind", PIECES)
@pytest.mark.parametrize("method", ["sam", "cuts"])
def test_a_mask_is_the_pieces_that_are_clicked_and_those_that_touch_them(
    circles, monkeypatch, kind, method
):
    """A thing hidden in its middle has two, as its earlier mask."""
    answer = joined("thing but its hole", "near", "far", "speck")[None].repeat(3, 0)
    monkeypatch.setattr(Circles, "predict", lambda *_, **__: (answer, np.ones(3), None))
    monkeypatch.setattr(click, "_by_cuts", lambda *_: answer[0])
    how = dict(PIECES[kind])
    left, marks = joined(*how.pop("left")), how.pop("marks")
    if "previous" in how:
        how["previous"] = joined(*how["previous"])
    points, labels = [mark[:2] for mark in marks], [mark[2] for mark in marks]
    found = click.segment(IMAGE, points, labels, method=method, **how)
    assert (found == left).all()


def test_an_earlier_mask_goes_back_on_the_models_grid(circles):
    click.segment(IMAGE, [(50, 40)], [1], previous=X < 60)
    prompt = Circles.asked[-1][3]
    expected = np.full((1, 128, 128), -PRIOR)
    expected[0, :96, :64] = PRIOR  # nothing beyond the frame
    assert np.array_equal(prompt, expected)


def test_cuts_take_away_from_an_earlier_mask(circles):
    """A network would find something else."""
    held = X < 30
    mask = held | (X > 60)
    left = click.segment(IMAGE, [(15, 40), (80, 40)], [1, 0], previous=mask)
    assert Circles.asked == []
    assert iou(left, held) > 0.95


def test_strokes_are_asked_as_clicks(circles):
    line = BrushStroke(((20, 20), (30, 20), (40, 20)), 2)
    dot = BrushStroke(((80, 80),), 2, erase=True)
    click.segment(IMAGE, [], [], strokes=[line, dot])
    points, labels = Circles.asked[-1][:2]
    assert labels.tolist() == [1, 1, 1, 0]
    assert points[-1].tolist() == [80, 80]


def test_the_same_pixels_are_embedded_once_and_few_frames_are_kept(
    untrained, monkeypatch
):
    two = 5_000_000  # bytes: a picture and its features take 2.1 million
    monkeypatch.setattr(sam, "_frames", encoded_frames(two))
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones(
        (20, 30, 3), np.uint8
    )
    frames = [sam.embed(image, untrained) for image in images]
    assert sam.embed(images[2].copy(), untrained) is frames[2]
    assert sam.embed(images[0], untrained) is not frames[0]
    assert sam.embed(images[2], untrained) is frames[2]  # of two, the one used last
    assert len(sam._frames._found) <= 2


@pytest.mark.parametrize("shape", [(90, 120), (200, 70), (256, 256), (600, 400)])
def test_the_real_network_answers_at_the_frames_size(untrained, shape):
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8)
    frame = sam.embed(image, untrained)
    assert frame.features.shape[2:] == (32, 32)
    one = click.segment(frame, [(5, 6)], [1])
    more = {"box": (1, 2, 60, 50), "previous": np.ones(shape, bool)}
    two = click.segment(frame, [(5, 6), (20, 30)], [1, 0], **more)
    for found in (one, two):
        assert (found.shape, found.dtype) == (shape, bool)
    assert (click.segment(image, [(5, 6)], [1], model=untrained) == one).all()
    # of weights that fit the page
    assert (untrained / FILE).stat().st_size <= 4_000_000


def test_without_weights_cuts_answer_and_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(sam, "BUILT_IN_SAM", tmp_path)
    image = np.full((90, 120, 3), 100, np.uint8)
    image[disc(50, 40, 12)] = (220, 40, 40)
    with pytest.warns(UserWarning, match="SAM weights are missing"):
        got = click.segment(image, [(50, 40)], [1])
    assert (got ^ disc(50, 40, 12)).sum() < 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (click.segment(image, [(50, 40)], [1], method="cuts") == got).all()


def test_only_published_pickles_are_opened(tmp_path, monkeypatch):
    monkeypatch.delenv("REGRAIN_MODELS", raising=False)
    with pytest.raises(ModelError, match="'nothing.pth' was not found"):
        click.segment(IMAGE, [(5, 5)], [1], model="nothing.pth")

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(Evil(), tmp_path / "sam_vit_b_01ec64.pth")
    with pytest.raises(ModelError, match="not a published checkpoint"):
        click.segment(IMAGE, [(5, 5)], [1], model=tmp_path / "sam_vit_b_01ec64.pth")
    assert not (tmp_path / "ran").exists()


def test_a_published_checkpoint_is_known_by_its_content(
    tmp_path, monkeypatch, own_models
):
    import hashlib

    import segment_anything

    torch.manual_seed(0)
    path = tmp_path / "renamed.pth"
    torch.save(build_tiny_sam().state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(sam.PUBLISHED, digest, ("vit_b", "sam_vit_b_01ec64.pth", 1))
    monkeypatch.setitem(
        segment_anything.sam_model_registry, "vit_b", lambda: build_tiny_sam().eval()
    )
    assert click.segment(IMAGE, [(5, 5)], [1], model="renamed.pth").shape == (90, 120)


def test_a_first_sam_in_a_folder_is_known_by_its_tensors(
    tmp_path, monkeypatch, own_models
):
    import segment_anything

    torch.manual_seed(0)
    tiny = build_tiny_sam().eval()
    (tmp_path / "mine").mkdir()
    save_file(tiny.state_dict(), tmp_path / "mine" / FILE)
    monkeypatch.setattr(single_files, "_FIRST_WIDTH", "image_encoder.coarse.weight")
    monkeypatch.setattr(single_files, "_FIRST", {WIDTH: "vit_b"})
    monkeypatch.setattr(
        single_files, "_KNOWN", single_files._KNOWN + r"|mask_decoder.mix|image_encoder"
    )
    registry = segment_anything.sam_model_registry
    monkeypatch.setitem(registry, "vit_b", lambda: build_tiny_sam().eval())
    assert single_files.first_sams() == {"mine": "vit_b"}
    found = click.segment(IMAGE, [(5, 5)], [1], method="mine")
    network = sam.load_sam("mine")
    for name, weight in network.state_dict().items():
        assert (weight == tiny.state_dict()[name]).all()
    assert found.shape == (90, 120)
    token = "mask_decoder.iou_token.weight"
    others = {
        "'mine' is damaged. Download it again.": {"less": "*iou_token*"},
        "has 'mask_decoder.hf_token.weight', which .* HQ-SAM, or tuned. Use sam_vit": {
            "more": {"mask_decoder.hf_token.weight": "1 9"}
        },
        f"'mine' has NaN or Inf in {BUFFER}": {"more": {BUFFER: "2 64 nan"}},
        f"'mine' has NaN or Inf in {token}": {"more": {token: "1 128 nan"}},
    }
    for said, other in others.items():
        weights = reweighted(tiny.state_dict(), **other)
        save_file(weights, tmp_path / "mine" / FILE)
        # What is another kind is not chosen for anybody.
        assert bool(single_files.first_sams()) == ("HQ" not in said)
        with pytest.raises(ModelError, match=said):
            click.segment(IMAGE, [(6, 6)], [1], method="mine")


BUFFER = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
FIRST = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 1, 1)}
"""What tells a first SAM from others."""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"image_encoder.pos_embed": "1 16 16 1"}, "has 'positions of 256 pixels', wh"),
        ({"image_encoder.pos_embed": "1 32 32 1"}, "has 'positions of 512 pixels', wh"),
        ({"image_encoder.blocks.0.Adapter.norm.weight": "1"}, "0.Adapter.norm.weight'"),
        ({"image_encoder.pos_embed": "1 64 64 1"}, ""),
    ],
)
def test_a_first_sam_that_cannot_be_loaded_is_no_finder(
    more, said, tmp_path, own_models
):
    (tmp_path / "mine").mkdir()
    save_file(reweighted(FIRST, more), tmp_path / "mine" / FILE)
    assert ("mine" in finders.finders()) == (not said)
    if said:
        with pytest.raises(ModelError, match=f"^model: 'mine' .*{said}.*Use sam_vit"):
            finders.find_finder("mine")


@pytest.mark.parametrize("said", ["has NaN or Inf in", "is damaged. Download it"])
def test_a_small_sam_that_cannot_work_is_refused(tmp_path, own_models, said):
    weights = dict(build_tiny_sam().state_dict())
    name, last = weights.popitem()
    if "NaN" in said:
        weights[name] = last * torch.nan
    (tmp_path / "mine").mkdir()
    save_file(weights, tmp_path / "mine" / FILE)
    with pytest.raises(ModelError, match=f"'mine' {said}"):
        click.segment(IMAGE, [(6, 6)], [1], model="mine")


REFUSED = read_json(Path(__file__).with_name("refused.json"))
"""What does not fit, beside a point inside; of several things the first."""


@pytest.mark.parametrize("change", REFUSED)
def test_what_does_not_fit_is_refused_by_name(change):
    given = {"points": [(5, 5)], "point_labels": [1]} | change
    if "previous" in given:
        given["previous"] = np.array(given["previous"])
    with pytest.raises(MaskError) as caught:
        click.segment(IMAGE, **given)
    assert caught.value.field == [*change][0]


@pytest.mark.parametrize(
    ("points", "labels", "asked"),
    [
        ([[50, 20]], [1], [[20, 20], [50, 20]]),
        # not where it would contradict what is taken away
        ([[20, 20]], [0], [[15, 15], [20, 20]]),
        # nor where a click already confirms the mask
        ([[12, 12], [50, 20]], [1, 0], [[12, 12], [50, 20]]),
    ],
)
def test_a_lone_correction_confirms_the_middle_of_what_it_corrects(
    watched, monkeypatch, points, labels, asked
):
    mask = np.zeros((40, 60), bool)
    mask[10:31, 10:31] = True
    monkeypatch.setattr(sam, "predict", lambda *_: mask)
    monkeypatch.setattr(sam, "load_sam", lambda _: None)
    seen = watched(sam, "predict")
    frame = Embedded(np.zeros((40, 60, 3), np.uint8), "", None, (40, 60))
    click.segment(frame, points, labels, previous=mask)
    (((_, _, given, *_), _),) = seen
    assert given.points.tolist() == asked
    assert given.labels.tolist() == [1, *labels][-len(asked) :]
