"""Shards of training pictures: whole, repeatable, kept where they stand."""

import json

import numpy as np

from storybook import dataset


def test_a_shard_holds_its_scenes_and_is_not_rendered_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD", 3)
    for shard in (0, 1):
        assert dataset.write_shard(shard, tmp_path, 32) == shard
    maps, captions = dataset.load(tmp_path)
    assert [m.shape for m in maps] == [(3, 32, 32, 3)] * 2
    scenes = [dataset.training_scene(dataset.FIRST_TRAINING_SEED + i) for i in range(6)]
    assert captions == [scene.caption for scene in scenes]
    pictures, _ = dataset.render_shard(dataset.FIRST_TRAINING_SEED + 3, 3, 32)
    assert np.array_equal(maps[1], pictures)

    (tmp_path / "captions_00001.json").write_text(json.dumps(["kept"] * 3))
    dataset.write_shard(1, tmp_path, 32)
    assert dataset.load(tmp_path)[1][3:] == ["kept"] * 3
