import json
import sys

import numpy as np
import pytest
import torch
from segment_anything.modeling import MaskDecoder

from regrain.masks.models import tiny_sam
from storybook import click_pictures, render, sample_scene
from storybook.click_pictures import scene_levels, training_picture
from storybook.training import sam as trained_sam

pytestmark = pytest.mark.full


def test_levels_agree_with_the_worlds_truth():
    scene = sample_scene(5, 1, 3)
    drawn, levels = render(scene, 128), scene_levels(scene, 128, 0)
    assert (levels[0] == drawn.labels[0]).all()
    assert (
        levels[1]
        == np.where(drawn.labels[0] > 0, 5 * drawn.labels[0] + drawn.parts[0], 0)
    ).all()


@pytest.mark.parametrize("index", range(6))
def test_levels_nest(index):
    """Every part lies in one whole, every part of a part in one part; nothing lies in
    the padding."""
    picture = training_picture(0, index, 96)
    whole, part, shape = picture.levels
    for inner, outer in ((part, whole), (shape, part)):
        for number in np.unique(inner):
            assert len(np.unique(outer[inner == number])) == 1
    width, height = picture.frame
    assert not picture.levels[:, height:].any()
    assert not picture.image[:, width:].any()
    # A sample depends on seed and number alone.
    one, two, other = (training_picture(seed, 3, 64) for seed in (0, 0, 1))
    assert (one.image == two.image).all()
    assert not (one.image == other.image).all()
    assert click_pictures.FIRST_TRAINING_SEED > 200  # scenes below are held out


def test_without_edges_the_decoder_is_the_librarys():
    """Several pictures at once, two prompts each, against one prompt at a time."""
    torch.manual_seed(0)
    sam = tiny_sam.build_tiny_sam().eval()
    torch.nn.init.zeros_(sam.mask_decoder.mix[2].weight)
    torch.nn.init.zeros_(sam.mask_decoder.mix[2].bias)
    features = torch.cat(
        [torch.randn(2, tiny_sam.WIDTH, 32, 32), torch.zeros(2, 384, 32, 32)], 1
    )
    points, labels = (
        torch.rand(4, 2, 2) * tiny_sam.SIZE,
        torch.tensor([[1.0, 0], [1, 1], [0, 1], [1, 1]]),
    )
    sparse, dense = sam.prompt_encoder(
        (points, labels), None, torch.randn(4, 1, 128, 128)
    )
    masks, quality = trained_sam.decode(sam, features, (sparse, dense))
    place = sam.prompt_encoder.get_dense_pe()
    for i in range(4):
        embedding, one = (
            features[i // 2 : i // 2 + 1, : tiny_sam.WIDTH],
            np.s_[i : i + 1],
        )
        wanted = MaskDecoder.predict_masks(
            sam.mask_decoder, embedding, place, sparse[one], dense[one]
        )
        assert torch.allclose(masks[i], wanted[0][0], atol=1e-4)
        assert torch.allclose(quality[i], wanted[1][0], atol=1e-4)


def test_edges_come_back_where_they_were_seen():
    """What the encoder folds into channels, the decoder unfolds at the same pixels."""
    torch.manual_seed(0)
    encoder = tiny_sam.build_tiny_sam().image_encoder.eval()
    seen = {}
    encoder.edges.register_forward_hook(lambda _module, _x, out: seen.update(edges=out))
    encoder.near.register_forward_hook(lambda _module, _x, out: seen.update(near=out))
    embedding, near, edges = tiny_sam.unfolded(encoder(torch.randn(1, 3, 64, 64)))
    assert embedding.shape == (1, tiny_sam.WIDTH, 8, 8)
    assert (near == seen["near"][:, : tiny_sam.EDGES[0]]).all()
    assert (edges == seen["edges"]).all()


def test_corrections_point_at_mistakes():
    target, answer = torch.zeros(2, 32, 32), torch.zeros(2, 32, 32, dtype=torch.bool)
    target[:, 8:20, 8:20], answer[0, 8:20, 8:30] = 1, True
    points, labels = trained_sam.correct(target, answer, np.random.default_rng(0))
    assert labels.tolist() == [[0], [1]]
    assert points[0, 0, 0] >= 40
    assert all(16 <= c <= 40 for c in points[1, 0].tolist())


def test_half_precision_weights_come_back(tmp_path):
    torch.manual_seed(0)
    sam = tiny_sam.build_tiny_sam()
    trained_sam.set_size(sam, 128)
    trained_sam.save_tiny_sam(sam, tmp_path)
    again = tiny_sam.load_tiny_sam(tmp_path)
    assert again.image_encoder.img_size == tiny_sam.SIZE
    for name, value in again.state_dict().items():
        assert torch.allclose(value, sam.state_dict()[name], atol=1e-3, rtol=1e-3)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_sam, "BLOCK", 4)
    monkeypatch.setattr(trained_sam, "held_out", lambda sam, scenes: {"actor": 0.0})

    def train(run, samples):
        trained_sam._picture.cache_clear()
        options = f"--run {tmp_path / run} --samples 8 --batch 2 --every 1 --small 1 --small-size 64".split()
        monkeypatch.setattr(
            sys, "argv", ["train_sam", *options, "--until", str(samples)]
        )
        trained_sam.main()

    train("whole", 8)
    train("parts", 4)
    train("parts", 8)
    whole, parts = (
        (tmp_path / run / "state.safetensors").read_bytes()
        for run in ("whole", "parts")
    )
    assert whole == parts
    curve = [
        json.loads(line)
        for line in (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()
    ]
    assert [line["samples"] for line in curve] == [2, 4, 6, 8]


def test_masks_that_leak_are_clicked_where_they_leak_most():
    wanted, asked = np.zeros((40, 60), bool), []
    wanted[10:31, 5:26] = True
    leak = np.zeros_like(wanted)
    leak[10:31, 26:57] = True

    def ask(points, labels, previous=None):
        asked.append((points, labels, previous))
        return wanted | leak if len(points) < 3 else wanted

    assert trained_sam.taken_away(ask, wanted) == pytest.approx([21 / 52, 21 / 52, 1])
    points, labels, previous = asked[2]
    assert labels == [1, 0, 0]
    assert points[0] == (15, 20)
    assert points[1:] == [points[1]] * 2
    assert leak[points[1][::-1]]
    assert (previous == (wanted | leak)).all()
    assert trained_sam.taken_away(lambda *_, **__: wanted, wanted) is None
    for *ious, count in trained_sam.remove_clicks(1).values():  # by sam and by cuts
        assert len(ious) == 3
        assert 0 <= ious[0] < ious[1] <= 1
        assert count > 0
