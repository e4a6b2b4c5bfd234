"""The built-in reader: that it loads as any CLIP does, and tells what is drawn."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from running import finish
from safetensors.torch import save_file
from transformers import CLIPForImageClassification, CLIPModel, CLIPProcessor

from regrain import load_project
from regrain.editing.media.reading import open_clip
from regrain.editing.recipe.events import EditResult
from regrain.editing.verdict.answers import seen
from regrain.editing.verdict.crop_reader import CropReader
from regrain.editing.verdict.looked import look_at
from storybook import render, sample_scene
from storybook.rendering import render_frames
from storybook.training import clear
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


EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
CPU = torch.device("cpu")


def test_drawings_are_clear_and_what_a_blur_leaves_of_them_is_not():
    drawn = []
    for seed in range(600, 620):
        scene = render(sample_scene(seed, 8, 2), 128)
        for number in (1, 2):
            mask = scene.labels[3] == number
            drawn.append(cut(scene.frames[3], box_of(mask), 48))
    soft = [cv2.GaussianBlur(crop, (0, 0), 3) for crop in drawn]
    reader = CropReader("storybook/reader")

    rule = reader.rule
    shown = [reader.clear([crop], CPU) or 0 for crop in drawn]
    blurred = [reader.clear([crop], CPU) or 1 for crop in soft]
    assert np.mean(np.array(shown) >= rule.clear) >= 0.8
    assert np.mean(np.array(blurred) < rule.mush) >= 0.8


def test_a_critic_learns_which_crops_are_clean(tmp_path, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (16, 48, 48, 3), generator=rng, dtype=torch.uint8)
    flat = noise[:, :1, :1].expand_as(noise)
    data = {"crops": torch.cat([noise, flat]), "clear": torch.arange(32) < 16}
    data["clear"] = data["clear"].float()
    save_file(data, tmp_path / "crops.safetensors")
    options = ["--crops", str(tmp_path / "crops.safetensors"), "--steps", "12"]
    monkeypatch.setattr(
        sys, "argv", ["clear", *options, "--out", str(tmp_path / "clear")]
    )
    clear.main()
    critic = CLIPForImageClassification.from_pretrained(tmp_path / "clear")
    shown = data["crops"].movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        found = critic.float()(shown).logits[:, 0]
    assert found[:16].min() > found[16:].max()


def test_the_example_by_pictures_is_there():
    folder = EXAMPLES / "03_like_a_picture"
    frames = open_clip(folder / "result" / "edited.mp4")
    frames = frames.read(0, len(frames))
    result = EditResult(frames, frames, frames, frames[..., 0] > 0, {})
    backbone = SimpleNamespace(id="storybook", device=CPU)
    (report,) = finish(look_at(load_project(folder), result, backbone))
    assert seen({"looked_at": report}) == [True, True]
