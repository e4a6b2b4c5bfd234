"""A decoder that learns alone: what a UNet knows of latents stays true."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from storybook.ship import ASSETS, ship_decoder

ROOT, WEIGHTS = Path(__file__).parents[2], "diffusion_pytorch_model.safetensors"


@pytest.mark.slow
def test_a_decoder_that_learns_alone_ships_with_the_encoder_and_scale_there_were(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
    np.save(tmp_path / "pictures_00000.npy", pictures)
    command = [sys.executable, "-m", "storybook.train_autoencoder", "--decoder", "--samples", "4"]
    command += ["--data", str(tmp_path), "--run", str(tmp_path / "run"), "--init", str(ASSETS / "vae")]
    subprocess.run(command, cwd=ROOT, check=True)
    shutil.copytree(ASSETS / "vae", tmp_path / "shipped" / "vae")
    ship_decoder(tmp_path / "run" / "vae", tmp_path / "shipped")

    before, after = load_file(ASSETS / "vae" / WEIGHTS), load_file(tmp_path / "shipped" / "vae" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    same = {name for name in before if before[name].equal(after[name])}
    assert {name for name in before if name.startswith("encoder.")} <= same
    learnt = load_file(tmp_path / "run" / "vae" / WEIGHTS)
    assert any(not learnt[name].equal(before[name].float()) for name in before)
    config = "vae/config.json"
    assert (tmp_path / "shipped" / config).read_text() == (ASSETS / config).read_text()
