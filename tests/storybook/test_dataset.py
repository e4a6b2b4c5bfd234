"""Shards of training pictures: whole, repeatable, kept where they stand."""

import numpy as np

from storybook import dataset


def test_a_shard_holds_its_scenes_and_is_not_rendered_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD", 3)
    for shard in (0, 1):
        assert dataset.write_shard(shard, tmp_path, 32) == shard
    maps = dataset.load(tmp_path)
    assert [m.shape for m in maps] == [(3, 32, 32, 3)] * 2
    assert np.array_equal(maps[1], dataset.render_shard(dataset.FIRST_TRAINING_SEED + 3, 3, 32))

    kept = np.zeros((3, 32, 32, 3), np.uint8)
    np.save(tmp_path / "pictures_00001.npy", kept)
    dataset.write_shard(1, tmp_path, 32)
    assert np.array_equal(dataset.load(tmp_path)[1], kept)
