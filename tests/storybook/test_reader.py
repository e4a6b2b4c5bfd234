"""The built-in reader: that it loads as any CLIP does, and tells what is drawn."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPProcessor

from storybook import render, sample_scene
from storybook.rendering import render_frames
from storybook.training.reader import (
    TARGET,
    box_of,
    cut,
)
from storybook.world import KINDS, WHERE, replace

pytestmark = pytest.mark.full

PLAIN = [f"an {kind}" if kind[0] == "a" else f"a {kind}" for kind in KINDS]


@pytest.fixture(scope="module")
def cosines():
    model = CLIPModel.from_pretrained(TARGET, dtype=torch.float32)
    processor = CLIPProcessor.from_pretrained(TARGET)

    @torch.no_grad()
    def cosines(crops, texts):
        given = processor(text=texts, images=crops, padding=True, return_tensors="pt")
        found = model(**given)
        return found.image_embeds @ found.text_embeds.T

    return cosines


def test_what_is_drawn_is_nearest_to_its_own_kind(cosines):
    crops, kinds = [], []
    for seed in range(600, 620):
        scene = sample_scene(seed, 8, 2)
        drawn = render(scene, 128)
        for number, actor in enumerate(scene.actors, 1):
            mask = drawn.labels[3] == number
            crops.append(cut(drawn.frames[3], box_of(mask), 64))
            kinds.append(KINDS.index(actor.kind))
    nearest = cosines(crops, PLAIN + [*WHERE.values()]).argmax(1)
    assert (nearest.numpy() == kinds).mean() >= 0.9


def test_bare_ground_is_nearest_to_a_place(cosines):
    crops = []
    for seed in range(600, 620):
        bare = dataclasses.replace(sample_scene(seed, 8, 1), actors=())
        crops.append(render_frames(bare, 128, (0,))[0, 70:110, 20:60])
    nearest = cosines(crops, PLAIN + [*WHERE.values()]).argmax(1)
    assert (nearest.numpy() >= len(KINDS)).mean() >= 0.9


def test_colours_are_told_apart(cosines):
    scene = sample_scene(7, 1, 1, plain=True)
    box = box_of(render(scene, 128).labels[0] == 1)
    texts = [f"a {color} {scene.actors[0].kind}" for color in ("red", "blue", "green")]
    crops = []
    for color in ("red", "blue", "green"):
        painted = render_frames(replace(scene, 0, color=color), 128, (0,))[0]
        crops.append(cut(painted, box, 64))
    assert cosines(crops, texts).argmax(1).tolist() == [0, 1, 2]


def test_a_box_is_a_square_around_the_mask_and_edges_are_repeated():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 0:4] = True
    assert box_of(mask) == (-4, 1, 12)
    picture = np.arange(20, dtype=np.uint8)[None, :, None].repeat(20, 0).repeat(3, 2)
    crop = cut(picture, box_of(mask), 12)
    assert crop[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
