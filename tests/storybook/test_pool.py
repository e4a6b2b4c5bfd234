"""Drawings made on the way of a training, and the truth that a head reads."""

import numpy as np
import torch

import storybook
from storybook.pool import SHARD, USES, Pool, read_truth, truth_of
from storybook.reading_head import ReadingHead, reading_loss
from storybook.train_unet import UNET, UNet2DConditionModel
from storybook.world import KINDS


def truth(seed=7, frame=3):
    scene = storybook.sample_scene(seed, frames=8, actors=2)
    kept = {key: torch.from_numpy(value[None]) for key, value in truth_of(scene, frame).items()}
    return scene, read_truth(kept, torch.arange(1))


def test_truth_is_that_of_the_drawing():
    scene, told = truth()
    drawn = storybook.render(scene, 128)
    labels, parts = (a[3, 4::8, 4::8] for a in (drawn.labels, drawn.parts))
    kinds = np.array([0, *[1 + KINDS.index(actor.kind) for actor in scene.actors]])
    assert np.array_equal(told.kind[0].numpy(), kinds[labels])
    assert np.array_equal(told.part[0].numpy(), parts)
    assert np.array_equal(told.outline[0, 0].numpy() > 0, labels > 0)
    x = np.nonzero(drawn.labels[3] == 1)[1].mean()
    row, column = np.argwhere(labels == 1)[0]
    assert abs(told.middle[0, 0, row, column] * 128 - (x - (8 * column + 4))) < 1


def test_the_oldest_drawings_give_way(tmp_path):
    pool = Pool(tmp_path, lambda _: torch.empty(0), lambda _: {}, shards=6)
    assert pool.wanted(0) == range(6)
    assert pool.wanted(2 * USES * SHARD - 1) == range(6)
    assert pool.wanted(2 * USES * SHARD) == range(2, 8)


def test_the_head_teaches_the_middle_of_the_network():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET)
    head = ReadingHead(unet)
    unet(torch.randn(1, 16, 16, 16), torch.tensor([500]), torch.randn(1, 4, 128))
    reading_loss(head(), truth()[1]).backward()
    assert unet.mid_block.resnets[0].conv1.weight.grad.abs().sum() > 0
    assert head.read[1].weight.grad.abs().sum() > 0
    assert unet.conv_out.weight.grad is None
