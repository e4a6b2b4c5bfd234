"""The drawn world keeps its promises: names, repeatability, ground truth."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import storybook
from storybook.__main__ import grown, main
from storybook.examples import TABLE, scene_of
from storybook.rendering import cast_of as primitives, owners, surface_ids
from storybook.world import Actor, Scene, from_dict, vocabulary

pytestmark = pytest.mark.full

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
MOTIONS = ("walk", "run", "jump", "stand")


def one(motion, kind="cat", pan=0.0, speed=0.01, accessory=None, facing=1):
    """A scene with one actor in the middle."""
    actor = Actor(
        kind, None, accessory, "a", 0.5, 0.9, 0.45, facing, speed, 0.7, motion
    )
    return Scene(3, 8, (actor,), "city", "storybook", 0, pan)


def warped(frame, flow):
    """What the frame before `frame` looks like according to the forward flow."""
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(np.float32)
    return cv2.remap(
        frame,
        x + flow[0],
        y + flow[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def test_examples_are_scenes_of_this_world_and_a_seed_decides_a_scene():
    for path in EXAMPLES.glob("*/scene.json"):
        scene = from_dict(json.loads(path.read_text()))
        assert scene == scene_of(TABLE[path.parent.name], scene.seed), path
    scene = storybook.sample_scene(3)
    assert scene == storybook.sample_scene(3) != storybook.sample_scene(4)
    json.dumps(dataclasses.asdict(scene))
    assert np.array_equal(
        storybook.render(scene, 64).frames, storybook.render(scene, 64).frames
    )


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_each_phrase_stands_once_in_the_caption_in_order(actors):
    for seed in range(150):
        scene = storybook.sample_scene(seed, actors=actors)
        same = {"kind": scene.actors[0].kind, "color": None, "accessory": None}
        scene = storybook.replace(scene, actor=actors - 1, **same)
        places = [scene.caption.index(a.phrase) for a in scene.actors]
        assert places == sorted(places)
        assert all(scene.caption.count(a.phrase) == 1 for a in scene.actors), (
            scene.caption
        )


def test_captions_use_known_words_only_and_all_of_them():
    scenes = [
        storybook.sample_scene(s, actors=a) for s in range(1000) for a in (1, 2, 3)
    ]
    used = {word for scene in scenes for word in scene.caption.split()}
    # Two of a kind are made by an exchange alone.
    assert used == set(vocabulary()) - {"another", "third"}
    # "An" stands before a vowel, and only there.
    scene = one("walk", "astronaut")
    assert scene.actors[0].phrase == "an astronaut"
    assert (
        storybook.replace(scene, actor=0, color="red").actors[0].phrase
        == "a red astronaut"
    )


def test_places_in_captions_are_true_in_every_frame():
    """Left of, right of, in front of, behind: of where actors stand, by the truth."""
    seen = set()
    for seed in range(150):
        for actors in (2, 3):
            scene = storybook.sample_scene(seed, actors=actors)
            named = dict(
                zip([a.phrase for a in scene.actors], scene.actors, strict=True)
            )
            words = scene.caption
            for order in ("on the left", "in the middle", "on the right"):
                words = words.replace(order, f"#{order.split()[-1]}")
            said = [p.split()[0] for p in words.split("#")[1:]]
            for frame in (0, 7):
                feet = {p: a.x + a.facing * a.speed * frame for p, a in named.items()}
                rank = sorted(named, key=lambda p: feet[p])
                sides = (
                    ["left", "right"] if actors == 2 else ["left", "middle", "right"]
                )
                assert said in ([], [sides[rank.index(p)] for p in named]), (
                    seed,
                    scene.caption,
                )
            first, second = scene.actors[:2]
            for word, true in (
                ("in front of", first.y > second.y),
                (" behind ", first.y < second.y),
            ):
                assert word not in scene.caption or true
                seen |= {word} if word in scene.caption else set()
            seen |= set(said)
    assert seen == {"left", "middle", "right", "in front of", " behind "}


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_every_actor_covers_two_percent_of_every_frame(actors):
    for seed in range(40):
        scene = storybook.sample_scene(seed, actors=actors)
        cast = primitives(scene)
        for frame in range(scene.frames):
            labels = owners(cast)[0][surface_ids(scene, cast, 64, frame)]
            for i in range(actors):
                assert (labels == i + 1).mean() >= 0.02, (seed, frame, i)


def test_replace_keeps_the_motion_and_what_is_not_named():
    scene = storybook.sample_scene(8)
    edited = storybook.replace(scene, actor=0, kind="robot", color="green")
    assert edited.actors[1] == scene.actors[1]
    assert edited.actors[0].accessory == scene.actors[0].accessory
    assert (edited.actors[0].x, edited.actors[0].speed) == (
        scene.actors[0].x,
        scene.actors[0].speed,
    )
    before, after = storybook.render(scene, 96), storybook.render(edited, 96)
    outside = (
        ((before.labels != 1) & (after.labels != 1)).astype(np.uint8).transpose(1, 2, 0)
    )
    outside = cv2.erode(outside, np.ones((9, 9))).transpose(2, 0, 1) > 0
    assert np.array_equal(before.frames[outside], after.frames[outside])
    assert storybook.replace(scene, background="beach").background == "beach"
    with pytest.raises(ValueError, match="kind: 'unicorn'"):
        storybook.replace(scene, actor=0, kind="unicorn")


@pytest.mark.parametrize("kind", ["cat", "car", "astronaut"])
@pytest.mark.parametrize("motion", MOTIONS)
def test_the_next_frame_warped_by_the_flow_is_this_frame(motion, kind):
    """On the actor and on what is far behind it; a flow half a pixel off is clearly
    worse, none far worse."""
    drawn = storybook.render(one(motion, kind, pan=0.02, speed=0.03), 128)
    sky = np.mgrid[:128, :128][0] < 76  # shadows, which are the ground's, lie below

    def error(t, region, off):
        back = warped(
            drawn.frames[t + 1], drawn.flow[t] + np.float32(off).reshape(2, 1, 1)
        )
        return np.abs(back.astype(int) - drawn.frames[t])[region].mean()

    errors = {}
    for t in range(7):
        seen = (
            warped(drawn.labels[t + 1].astype(np.float32), drawn.flow[t])
            == drawn.labels[t]
        )
        seen = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
        for name, region in (
            ("actor", drawn.labels[t] == 1),
            ("ground", (drawn.labels[t] == 0) & sky),
        ):
            for off in ((0, 0), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
                errors.setdefault((name, off), []).append(error(t, region & seen, off))
            still = np.abs(drawn.frames[t + 1].astype(int) - drawn.frames[t])[
                region & seen
            ].mean()
            errors.setdefault((name, "none"), []).append(still)
    for name in ("actor", "ground"):
        exact, *others, still = (
            np.mean(e) for (who, _), e in errors.items() if who == name
        )
        assert exact < min(others) / 1.4
        assert exact < still / 2


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("pan", [-0.013, 0.021])
def test_a_moving_camera_shifts_the_background_by_its_flow(pan, size):
    drawn = storybook.render(one("stand", pan=pan, speed=0.0), size)
    way = 0.0
    for t in range(7):
        ground = drawn.flow[t][:, drawn.labels[t] == 0]
        assert (ground == ground[:, :1]).all()
        assert ground[1, 0] == 0
        way -= float(ground[0, 0])
        assert abs(way - pan * size * (t + 1)) <= 0.25 + 1e-6


def test_parts_lie_in_their_actor_and_depth_orders_actors():
    drawn = storybook.render(storybook.sample_scene(11, actors=2), 128)
    assert np.array_equal(drawn.parts > 0, drawn.labels > 0)
    assert {1, 2, 3} <= set(np.unique(drawn.parts))
    assert 0 <= drawn.depth.min() <= drawn.depth.max() <= 1
    assert drawn.depth[drawn.labels > 0].max() < drawn.depth[:, 0].min()


def test_grown_masks_keep_the_nearest_label():
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 10, 5], labels[0, 10, 14] = 1, 2
    wide = grown(labels, 8)
    assert (wide[0, 10, 8], wide[0, 10, 11], wide[0, 0, 19]) == (1, 2, 0)


def test_clip_command_makes_a_project_that_loads(tmp_path):
    from regrain.editing import load_project

    options = ["--seed", "7", "--frames", "3", "--size", "64", "--become", "0=a panda"]
    assert main(["clip", *options, "-o", str(tmp_path / "p")]) == 0
    request = load_project(tmp_path / "p")
    scene = storybook.sample_scene(7, 3)
    assert request.source_prompt == scene.caption
    assert request.regions[0].prompt == "a panda"
    assert np.array_equal(request.labels, storybook.render(scene, 64).labels)


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_actor_is_where_it_was_in_the_middle_of_the_clip(seed):
    scene = storybook.sample_scene(seed, 9, 1, plain=True)
    small = storybook.shrink(scene, 0.2)
    heights, middles = [], []
    for one in (scene, small):
        rows, _ = np.nonzero(storybook.render(one, 256).labels[4])
        heights.append(np.ptp(rows))
        (actor,) = one.actors
        middles.append(actor.x + 4 * actor.facing * actor.speed)
    share = 0.2 / scene.actors[0].height
    assert heights[1] == pytest.approx(share * heights[0], rel=0.1)
    assert middles[1] == pytest.approx(middles[0])
    assert small.caption == scene.caption
    # It makes as many steps.
    speeds = [one.actors[0].speed / one.actors[0].height for one in (scene, small)]
    assert speeds[1] == pytest.approx(speeds[0])
