"""What the training scripts share: words, pictures, resuming, and several workers learning as one."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from storybook import dataset
from storybook.muon import Muon, orthogonal, shares
from storybook.tokenizer import MAX_TOKENS, build
from storybook.train_unet import begun, carry_over
from storybook.training import Run
from storybook.world import sample_scene, vocabulary

ROOT = Path(__file__).parents[2]
# Each worker sees its half of one batch, and one of them never uses one of the layers.
WORKER = """
import sys, torch
from pathlib import Path
from torch import nn
from storybook.training import Run, worker
torch.manual_seed(0)
model = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
run, x = Run(Path(sys.argv[1]), model, optimiser), torch.arange(12.0).view(4, 3)
half = x[2 * worker() : 2 * worker() + 2]
run.step((model["b"] if worker() else model["a"])(half).mean(), 2)
if not worker():
    torch.save((run.done, {k: p.data for k, p in model.named_parameters()}), sys.argv[1] + "/got.pt")
"""


@pytest.mark.slow
def test_two_workers_learn_what_one_would_from_both_batches(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, env=shared | {"RANK": str(rank)}) for rank in (0, 1)]
    try:
        # Where one fails, the other would wait for it: no time limit tells a failure from a busy machine.
        while any(process.poll() is None for process in both):
            assert not any(process.poll() for process in both)
            time.sleep(0.05)
        assert [process.returncode for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
            process.wait()
    done, got = torch.load(tmp_path / "got.pt")

    torch.manual_seed(0)
    model = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
    optimiser, x = torch.optim.SGD(model.parameters(), lr=0.1), torch.arange(12.0).view(4, 3)
    ((model["a"](x[:2]).mean() + model["b"](x[2:]).mean()) / 2).backward()
    # `Run.step` clips what each worker sends nothing of: the mean.
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    assert done == 4
    for name, p in model.named_parameters():
        assert torch.allclose(p.data, got[name], atol=1e-6), name


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    def learn(folder, steps):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        run = Run(folder, model, torch.optim.AdamW(model.parameters(), lr=0.05), ema=0.9)
        for _ in range(steps):
            torch.manual_seed(run.done)
            run.pace(0.05, 40, warm=4)
            run.step((model(torch.randn(4, 3)) - 1).square().mean(), 4)
        run.save()
        return run

    whole = learn(tmp_path / "whole", 8)
    learn(tmp_path / "parts", 3)
    parts = learn(tmp_path / "parts", 5)
    assert whole.done == parts.done == 32
    for name in whole.learnt:
        assert torch.equal(whole.learnt[name], parts.learnt[name])
        assert torch.allclose(whole.ema[name], parts.ema[name])


def test_known_words_keep_their_meaning_where_the_vocabulary_grows(tmp_path):
    few, many = (("a", "cat", "runs"), ("a", "astronaut", "cat", "on", "runs", "the"))
    tokenizers = [build(words, tmp_path / str(len(words))) for words in (few, many)]
    old, new = (begun(t, None)[1].eval() for t in tokenizers)
    carry_over(old, tokenizers[0], new, tokenizers[1])

    def states(model, tokenizer, text):
        with torch.no_grad():
            return model(torch.tensor([tokenizer(text).input_ids])).last_hidden_state

    before, after = states(old, tokenizers[0], "a cat runs"), states(new, tokenizers[1], "a cat runs")
    assert torch.allclose(before, after, atol=1e-6)
    assert states(new, tokenizers[1], "an astronaut").isfinite().all()


def test_muon_steps_are_orthogonal_inside_and_adams_at_the_ends():
    torch.manual_seed(0)
    model = nn.ModuleDict({"inner": nn.Conv2d(16, 24, 3), "conv_out": nn.Conv2d(24, 16, 3)})
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    optimiser = Muon(model, 0.1, ends=("conv_out",), decay=0.0)
    model["conv_out"](model["inner"](torch.randn(2, 16, 8, 8))).square().mean().backward()
    optimiser.step()
    moved = {k: p.detach() - before[k] for k, p in model.named_parameters()}
    turned = torch.linalg.svdvals(moved["inner.weight"].flatten(1)) / (0.1 * 0.2 * 144**0.5)
    assert turned.min() > 0.6
    assert turned.max() < 1.3
    # AdamW's first step is the learning rate, whatever the gradient.
    assert torch.allclose(moved["conv_out.weight"].abs(), torch.tensor(0.1), atol=1e-3)


def test_orthogonal_turns_neither_rows_nor_columns_away():
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(20, 50), full_matrices=False)
    for sides in ((u, v), (v.T, u.T)):
        matrix = sides[0] @ torch.diag(torch.linspace(0.1, 3, 20)) @ sides[1]
        got = orthogonal(matrix)
        along = torch.diagonal(sides[0].T @ got @ sides[1].T)
        assert along.min() > 0.6
        assert along.max() < 1.3


def test_work_is_shared_out_about_equally():
    costs = [1, 9, 2, 2, 3, 7, 1, 5]
    for count in (1, 2, 3):
        owners = shares(costs, count)
        loads = [sum(c for c, o in zip(costs, owners, strict=True) if o == who) for who in range(count)]
        assert sum(loads) == 30
        assert max(loads) - min(loads) <= 1


def test_every_word_is_one_token_and_captions_fit_and_keep_offsets(tmp_path):
    tokenizer = build(vocabulary(), tmp_path)
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word
    for seed in range(50):
        for actors in (1, 2, 3):
            caption = sample_scene(seed, actors=actors).caption
            tokens = tokenizer(caption, return_offsets_mapping=True)
            assert len(tokens.input_ids) == len(caption.split()) + 2 <= MAX_TOKENS
            spans = [caption[a:b].strip() for a, b in tokens.offset_mapping[1:-1]]
            assert spans == caption.split()


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
