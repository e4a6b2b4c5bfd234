"""Every training, as small as it can be: its steps, what it reports, and how it goes on."""

import json
import os
import sys
from argparse import Namespace
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from made_clips import noise
from safetensors.torch import load_file

from storybook import dataset
from storybook.training import autoencoder as train_autoencoder, edits, muon, pool, runs
from storybook.training.pool import Pool
from storybook.training.sam import held_out
from storybook.training.ship import ASSETS

pytestmark = pytest.mark.full

FEW = range(500, 502)
# By script: its options, and what is smaller than usual.
SMALL = {
    "autoencoder": ("--data DATA", {}),
    "unet": (
        "--vae VAE --batch 2 --report 1",
        {"HELD_OUT": FEW, "PROBES": (300,), "Pool": partial(Pool, shards=2)},
    ),
    "control": (
        "--data DATA --batch 2 --report 1",
        {"HELD_OUT": FEW, "PROBES": (300,)},
    ),
    "motion": (
        "--shards 1 --report 1",
        {
            "HELD_OUT": FEW,
            "PROBES": (300,),
            "ROWS": 8,
            "SHARD": 1,
            "LENGTHS": {1: 0.0, 8: 1.0},
            "SHARED": {"falling": 1.0},
        },
    ),
    "pictures": (
        "--batch 2 --report 1",
        {"SHARD": 2, "SHARDS": 1, "PROBES": (0, 300)},
    ),
    "fast": (
        "--report 1 --rows 4 --held 8",
        {"HELD_OUT": FEW[:2], "WHOLES": 0.5, "STEPS": 2},
    ),
    "reader": ("--batch 8 --report 1", {"SHARD": 2, "SHARDS": 1}),
    "sam": (
        "--batch 2 --small 1 --small-size 64 --first 0 --every 1",
        {"held_out": lambda sam, _: held_out(sam, 1, 64)},
    ),
}
SAMPLES = {"autoencoder": 4, "fast": 4, "motion": 8, "reader": 8}  # of a step; else 2


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run a training for so many steps in all, in single precision."""
    drawn = noise(2, 128, 128, 3)
    np.save(tmp_path / "pictures_00000.npy", drawn)
    monkeypatch.setattr(dataset, "SHARD", 2)
    monkeypatch.setattr(pool, "SHARD", 2)
    monkeypatch.setattr(edits, "SHARD", 1)
    monkeypatch.setattr(edits, "BEFORE", 1)
    few = train_autoencoder.held_out_pictures
    monkeypatch.setattr(
        train_autoencoder, "held_out_pictures", lambda seeds: few([*seeds][:2])
    )
    for module in (runs, muon):
        monkeypatch.setattr(module, "dtype_of", lambda _: torch.float32)

    def train(name, run, steps, *more):
        script = import_module(f"storybook.training.{name}")
        given, smaller = SMALL[name]
        for constant, value in smaller.items():
            monkeypatch.setattr(script, constant, value)
        options = given.replace("DATA", str(tmp_path))
        options = options.replace("VAE", str(ASSETS / "vae")).split()
        count = steps * SAMPLES.get(name, 2)
        command = ["train", "--run", str(run), "--samples", str(count), "--jobs", "1"]
        monkeypatch.setattr(sys, "argv", [*command, *options, *more])
        script.main()
        lines = (run / "curve.jsonl").read_text().splitlines()
        return load_file(run / "state.safetensors"), [*map(json.loads, lines)]

    return train


@pytest.mark.parametrize("name", SMALL)
def test_a_training_learns_reports_and_goes_on(name, train, tmp_path):
    first, _ = train(name, tmp_path / "run", 1)
    then, curve = train(name, tmp_path / "run", 2)
    assert int(first["done"]) == SAMPLES.get(name, 2)
    assert int(then["done"]) == curve[-1]["samples"] == 2 * SAMPLES.get(name, 2)
    learnt = [key for key in first if key.startswith("m/")]
    moved = [k for k in learnt if not first["w/" + k[2:]].equal(then["w/" + k[2:]])]
    assert moved
    for line in curve:
        assert np.isfinite([*line.values()]).all(), line


def test_other_processes_draw_what_this_one_draws(monkeypatch):
    monkeypatch.setattr(pool, "SHARD", 3)
    asked = Namespace(jobs=2, device=torch.device("cpu"))
    each = runs.in_jobs(asked)
    assert each is not map
    here, there = (pool.draw_shard(7, torch.from_numpy, how) for how in (map, each))
    assert here.keys() == there.keys()
    for name, drawn in here.items():
        assert drawn.equal(there[name]), name


def test_where_the_processor_trains_it_draws_alone(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    for device, jobs in (("cpu", None), ("cuda", 1), ("cuda", None)):
        asked = Namespace(jobs=jobs, device=torch.device(device))
        assert runs.in_jobs(asked) is map
