"""RAFT equals torchvision's own call; other files are refused."""

import hashlib
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from damaged_models import spoil
from made_clips import noise
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_large, raft_small

from regrain.editing.errors import ModelError
from regrain.editing.motion import raft
from regrain.editing.motion.flow import estimate_flow


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return raft_small(weights=None).eval()


@pytest.fixture
def shelf(tmp_path, own_models):
    return tmp_path


def test_it_is_torchvisions_own_call_on_padded_frames(network, shelf):
    save_file(network.state_dict(), shelf / "raft_small.safetensors")
    here, there = noise(1, 130, 140, 3), noise(1, 130, 140, 3, seed=1)
    images = [
        torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (here, there)
    ]
    with torch.no_grad():
        expected = network(*(F.pad(x, (0, 4, 0, 6), mode="replicate") for x in images))[
            -1
        ]
    found = estimate_flow(here, there, "raft")
    torch.testing.assert_close(found, expected[..., :130, :140], atol=1e-4, rtol=1e-4)
    assert torch.equal(estimate_flow(here, there), found)
    assert not torch.allclose(estimate_flow(there, here), found, atol=0.1)


class Constant(torch.nn.Module):
    """Answers with 16 pixels everywhere."""

    def forward(self, here, there):
        return [torch.full((1, 2, *here.shape[-2:]), 16.0)]


def test_the_flow_of_enlarged_frames_is_in_their_own_pixels():
    frames = noise(1, 40, 56, 3)  # enlarged to 128 x 179
    flow = raft.estimate_raft_flow(Constant(), frames, frames)
    torch.testing.assert_close(flow, torch.full((1, 2, 40, 56), 5.0), atol=0.01, rtol=0)


def test_without_weights_flow_is_dis_and_raft_is_refused_in_a_line(shelf):
    here, there = noise(1, 64, 64, 3), noise(1, 64, 64, 3, seed=1)
    assert raft.find_raft() is None
    assert torch.equal(estimate_flow(here, there), estimate_flow(here, there, "dis"))
    missing = r"^flow: The weights of RAFT are missing. Put raft_large.safetensors"
    with pytest.raises(ModelError, match=missing):
        estimate_flow(here, there, "raft")


def test_a_large_network_comes_before_a_small_one_and_other_files_are_passed_over(
    shelf,
):
    for name in (
        "raft_small.safetensors",
        "raft_small_C_T_V2-01064c6d.pth",
        "raft.onnx",
        "notes.txt",
    ):
        (shelf / name).touch()
    assert raft.find_raft() == shelf / "raft_small.safetensors"
    (shelf / "raft_large_C_T_SKHT_V2-ff5fadd5.pth").touch()
    assert raft.find_raft() == shelf / "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


def test_only_pickles_that_torchvision_published_and_weights_of_raft_are_opened(
    network, shelf
):
    path = shelf / "raft_small_C_T_V2-01064c6d.pth"
    torch.save(network.state_dict(), path)
    with pytest.raises(
        ModelError,
        match=r"^flow: 'raft_small_.*' is not one of torchvision's checkpoints",
    ):
        raft.load_raft(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    published = [
        SimpleNamespace(url=f"https://example.org/raft_small_C_T_V2-{digest[:8]}.pth")
    ]
    raft._check_published(path, published)
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ModelError):
        raft._check_published(path, published)
    save_file(network.state_dict(), shelf / "raft_large.safetensors")
    (shelf / "raft_small.safetensors").write_bytes(b"no safetensors")
    save_file(network.state_dict(), shelf / "raft_small_nan.safetensors")
    spoil(shelf / "raft_small_nan.safetensors")
    for name in ("raft_large", "raft_small", "raft_small_nan"):
        with pytest.raises(
            ModelError, match=f"^flow: '{name}.safetensors' has no weights of raft_"
        ):
            raft.load_raft(shelf / f"{name}.safetensors")


def test_nan_in_what_is_no_parameter_is_refused(shelf):
    weights = raft_large(weights=None).state_dict()
    for name in ("running_mean", "running_var"):
        name = f"context_encoder.convnormrelu.1.{name}"
        broken = {**weights, name: weights[name] * torch.nan}
        save_file(broken, file := shelf / "raft_large.safetensors")
        with pytest.raises(ModelError, match=r"^flow: 'raft_large.safetensors' has no"):
            raft.load_raft(file)
