"""The drawn world keeps its promises: names, repeatability, ground truth."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

import storybook
from storybook.__main__ import grown, main
from storybook.world import vocabulary

SEEDS = range(40)


def test_same_seed_same_scene_and_json():
    scene = storybook.sample_scene(3)
    assert scene == storybook.sample_scene(3) != storybook.sample_scene(4)
    json.dumps(dataclasses.asdict(scene))
    assert np.array_equal(storybook.render(scene, 64).frames, storybook.render(scene, 64).frames)


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_each_phrase_stands_once_in_the_caption_in_order(actors):
    for seed in SEEDS:
        scene = storybook.sample_scene(seed, actors=actors)
        scene = storybook.replace(
            scene, actor=actors - 1, kind=scene.actors[0].kind, color=None, accessory=None
        )
        places = [scene.caption.index(a.phrase) for a in scene.actors]
        assert places == sorted(places)
        assert all(scene.caption.count(a.phrase) == 1 for a in scene.actors), scene.caption


def test_captions_use_known_words_only():
    known = set(vocabulary())
    for seed in SEEDS:
        for actors in (1, 2, 3):
            assert set(storybook.sample_scene(seed, actors=actors).caption.split()) <= known


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_every_actor_covers_two_percent_of_every_frame(actors):
    for seed in SEEDS:
        labels = storybook.render(storybook.sample_scene(seed, actors=actors), 64).labels
        for i in range(actors):
            assert (labels == i + 1).mean((1, 2)).min() >= 0.02, (seed, i)


def test_replace_keeps_the_motion_and_what_is_not_named():
    scene = storybook.sample_scene(5)
    edited = storybook.replace(scene, actor=0, kind="robot", color="green")
    assert edited.actors[1] == scene.actors[1]
    assert edited.actors[0].accessory == scene.actors[0].accessory
    assert (edited.actors[0].x, edited.actors[0].speed) == (scene.actors[0].x, scene.actors[0].speed)
    outside = (storybook.render(scene, 96).labels != 1) & (storybook.render(edited, 96).labels != 1)
    outside = cv2.erode(outside.astype(np.uint8).transpose(1, 2, 0), np.ones((9, 9))).transpose(2, 0, 1) > 0
    assert np.array_equal(
        storybook.render(scene, 96).frames[outside], storybook.render(edited, 96).frames[outside]
    )
    assert storybook.replace(scene, background="beach").background == "beach"
    with pytest.raises(ValueError, match="kind: 'unicorn'"):
        storybook.replace(scene, actor=0, kind="unicorn")


def test_flow_carries_labels_to_the_next_frame():
    for seed in (1, 2, 3):
        drawn = storybook.render(storybook.sample_scene(seed, actors=1), 128)
        y, x = np.nonzero(drawn.labels[0])
        dx, dy = drawn.flow[0][:, y, x]
        to_y, to_x = (y + dy).round().astype(int), (x + dx).round().astype(int)
        inside = (to_x >= 0) & (to_x < 128) & (to_y >= 0) & (to_y < 128)
        assert (drawn.labels[1][to_y[inside], to_x[inside]] == 1).mean() > 0.97
        assert np.abs(drawn.flow[0][:, drawn.labels[0] == 0]).max() == 0


def test_parts_lie_in_their_actor_and_depth_orders_actors():
    drawn = storybook.render(storybook.sample_scene(11, actors=2), 128)
    assert np.array_equal(drawn.parts > 0, drawn.labels > 0)
    assert {1, 2, 3} <= set(np.unique(drawn.parts))
    assert drawn.depth.min() >= 0
    assert drawn.depth.max() <= 1
    assert drawn.depth[drawn.labels > 0].max() < drawn.depth[:, 0].min()


def test_grown_masks_keep_the_nearest_label():
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 10, 5], labels[0, 10, 14] = 1, 2
    wide = grown(labels, 8)
    assert wide[0, 10, 8] == 1
    assert wide[0, 10, 11] == 2
    assert wide[0, 0, 19] == 0


def test_clip_command_makes_a_project_that_loads(tmp_path):
    from editing import load_project

    assert (
        main(
            [
                "clip",
                "--seed",
                "7",
                "--frames",
                "3",
                "--size",
                "64",
                "--become",
                "0=a panda",
                "-o",
                str(tmp_path / "p"),
            ]
        )
        == 0
    )
    request = load_project(tmp_path / "p")
    scene = storybook.sample_scene(7, 3)
    assert request.source_prompt == scene.caption
    assert request.regions[0].prompt == "a panda"
    assert np.array_equal(request.labels, storybook.render(scene, 64).labels)
