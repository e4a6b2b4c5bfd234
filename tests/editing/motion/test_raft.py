"""RAFT equals torchvision's own call, and a network whose answer is known; other files
are refused."""

import hashlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_small

from regrain.editing.errors import ModelError
from regrain.editing.motion import raft
from regrain.editing.motion.flow import estimate_flow, follow


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return raft_small(weights=None).eval()


@pytest.fixture
def shelf(tmp_path, own_models):
    return tmp_path


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (1, height, width, 3), dtype=np.uint8
    )


def test_it_is_torchvisions_own_call_on_padded_frames(network, shelf):
    save_file(network.state_dict(), shelf / "raft_small.safetensors")
    here, there = noise(130, 140), noise(130, 140, 1)
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


class Exact(torch.nn.Module):
    """Answers as RAFT does, in its units and direction, by DIS on the pictures it is
    shown."""

    def forward(self, here, there):
        assert all(side % 8 == 0 and side >= 128 for side in here.shape[-2:])
        assert -1 <= here.min() < -0.9
        assert 0.9 < here.max() <= 1
        grey = [((x[0].mean(0) + 1) * 127.5).byte().numpy() for x in (here, there)]
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
            *grey, None
        )
        return [
            torch.zeros(1, 2, *here.shape[-2:]),
            torch.from_numpy(flow).permute(2, 0, 1)[None],
        ]


@pytest.mark.parametrize("size", [(100, 132), (40, 56)])
def test_pixels_of_the_frame_and_the_way_there(size):
    height, width = size
    large = np.kron(noise(40, 48)[0], np.ones((4, 4, 1), np.uint8))
    here, there = (
        large[8 : 8 + height, 8 : 8 + width],
        large[6 : 6 + height, 5 : 5 + width],
    )
    flow = raft.estimate_raft_flow(Exact(), here[None], there[None])
    assert flow.shape == (1, 2, height, width)
    middle = flow[0, :, 8:-8, 8:-8].flatten(1).median(1)[0]
    assert torch.allclose(middle, torch.tensor([3.0, 2.0]), atol=0.3)


def test_without_weights_flow_is_dis_and_raft_is_refused_in_a_line(shelf):
    here, there = noise(64, 64), noise(64, 64, 1)
    assert raft.find_raft() is None
    assert torch.equal(estimate_flow(here, there), estimate_flow(here, there, "dis"))
    missing = r"^flow: The weights of RAFT are missing. Put raft_large.safetensors"
    with pytest.raises(ModelError, match=missing):
        estimate_flow(here, there, "raft")
    with pytest.raises(ModelError, match=missing):
        follow(np.concatenate([here, there]), (8, 8), "raft")


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
    for name in ("raft_large", "raft_small"):
        with pytest.raises(
            ModelError, match=f"^flow: '{name}.safetensors' has no weights of {name}."
        ):
            raft.load_raft(shelf / f"{name}.safetensors")
