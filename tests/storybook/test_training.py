"""Training: words, pictures, resuming, several workers learning as one; what learns
alone fits the rest."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from made_clips import noise
from made_models import seeded
from safetensors.torch import load_file
from torch import nn

import storybook
from regrain.editing import load_backbone
from regrain.editing.models.unet.control_net import load_control_net
from regrain.editing.models.unet.motion_modules import between_frames, load_motion
from storybook.rendering import render_frames
from storybook.tokenizer import MAX_TOKENS, build
from storybook.training import autoencoder as train_autoencoder, motion as train_motion
from storybook.training.control import copied, edges, predict
from storybook.training.pool import read_truth, truth_of
from storybook.training.runs import Run
from storybook.training.ship import ASSETS, ship_decoder
from storybook.training.unet import (
    noised,
)
from storybook.world import KINDS, sample_scene, vocabulary

pytestmark = pytest.mark.full

ROOT, WEIGHTS = Path(__file__).parents[2], "diffusion_pytorch_model.safetensors"
# Each worker sees its half of one batch, and one of them never uses one of the layers.
WORKER = """
import sys, torch
from pathlib import Path
from torch import nn
from storybook.training.runs import Run, worker
torch.manual_seed(0)
model = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
run, x = Run(Path(sys.argv[1]), model, optimiser), torch.arange(12.0).view(4, 3)
half = x[2 * worker() : 2 * worker() + 2]
run.step((model["b"] if worker() else model["a"])(half).mean(), 2)
if not worker():
    torch.save((run.done, {k: p.data for k, p in model.named_parameters()}), sys.argv[1] + "/got.pt")
"""


def test_two_workers_learn_what_one_would_from_both_batches(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=shared | {"RANK": str(rank)})
        for rank in (0, 1)
    ]
    try:
        # Where one fails, the other would wait for it: no time limit tells a failure
        # from a busy machine.
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
    optimiser, x = (
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.arange(12.0).view(4, 3),
    )
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
        run = Run(
            folder, model, torch.optim.AdamW(model.parameters(), lr=0.05), ema=0.9
        )
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


def test_a_decoder_that_learns_alone_ships_with_the_encoder_and_scale_there_were(
    tmp_path, monkeypatch
):
    held_out = train_autoencoder.held_out_pictures
    few = lambda seeds: held_out([*seeds][:2])  # noqa: E731
    monkeypatch.setattr(train_autoencoder, "held_out_pictures", few)
    pictures = noise(4, 128, 128, 3)
    np.save(tmp_path / "pictures_00000.npy", pictures)
    command = ["train", "--decoder", "--samples", "4"]
    command += [
        "--data",
        str(tmp_path),
        "--run",
        str(tmp_path / "run"),
        "--init",
        str(ASSETS / "vae"),
    ]
    monkeypatch.setattr(sys, "argv", command)
    train_autoencoder.main()
    shutil.copytree(ASSETS / "vae", tmp_path / "shipped" / "vae")
    ship_decoder(tmp_path / "run" / "vae", tmp_path / "shipped")

    before, after = (
        load_file(ASSETS / "vae" / WEIGHTS),
        load_file(tmp_path / "shipped" / "vae" / WEIGHTS),
    )
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    same = {name for name in before if before[name].equal(after[name])}
    assert {name for name in before if name.startswith("encoder.")} <= same
    learnt = load_file(tmp_path / "run" / "vae" / WEIGHTS)
    assert any(not learnt[name].equal(before[name].float()) for name in before)
    config = "vae/config.json"
    assert (tmp_path / "shipped" / config).read_text() == (ASSETS / config).read_text()


def test_edges_begin_as_nothing_and_are_shipped(tmp_path):
    model = load_backbone("storybook")
    net = copied(model.unet)
    hint = edges(
        np.stack([render_frames(sample_scene(s), 128, (0,))[0] for s in (0, 1)])
    )
    assert set(hint.unique().tolist()) == {0.0, 1.0}
    rng = seeded(0)
    abar = torch.tensor(model.schedule.alphas_cumprod, dtype=torch.float32)
    x, t, _ = noised(torch.randn(2, 16, 16, 16, generator=rng), abar, rng)
    text = model.embed(["a cat walks", "a dog walks"]).vectors
    with torch.no_grad():
        alone = model.unet(x, t, text).sample
    first = predict(net, model.unet, x, t, text, hint)
    assert torch.allclose(
        first, alone, atol=0.1
    )  # half precision, where the processor computes in it
    net.half().save_pretrained(tmp_path / "canny")
    taken, _ = load_control_net(str(tmp_path / "canny"), model)
    # bytes as shipped
    assert 2 * sum(p.numel() for p in taken.parameters()) < 8 * 2**20


def test_motion_begins_as_nothing_and_is_shipped(tmp_path):
    model = load_backbone("storybook")
    motion = train_motion.Motion(model.unet)
    rng = seeded(0)
    clips, t = torch.randn(1, 4, 16, 16, 16, generator=rng), torch.tensor([500])
    text = model.embed(["a cat walks"]).vectors
    with torch.no_grad():
        alone, first = (
            train_motion.predict(m, model.unet, clips, t, text) for m in (None, motion)
        )
    assert torch.allclose(first, alone, atol=0.1)  # half precision, and another kernel
    for own in motion.parameters():
        own.data += 0.1 * torch.randn(own.shape, generator=rng)
    train_motion.ship(motion, tmp_path / "motion")
    taken = load_motion(str(tmp_path / "motion"), model)
    assert taken.positions == train_motion.POSITIONS
    weights = {
        name: {k: w.float() for k, w in own.items()}
        for name, own in taken.modules.items()
    }
    with torch.no_grad(), between_frames(weights, taken.heads, 4)(model.unet):
        shipped = train_motion.predict(None, model.unet, clips, t, text)
    assert (shipped - alone).abs().max() > 0.2
    with torch.no_grad():
        assert torch.allclose(
            shipped, train_motion.predict(motion, model.unet, clips, t, text), atol=0.05
        )


def truth(seed=7, frame=3):
    scene = storybook.sample_scene(seed, frames=8, actors=2)
    kept = {
        key: torch.from_numpy(value[None])
        for key, value in truth_of(scene, frame).items()
    }
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
