"""Control maps without a model, and control networks in diffusers' format with random
weights."""

import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from damaged_models import spoil
from json_files import read_json, write_json
from made_clips import noise
from made_models import randn, write_control_net
from safetensors.torch import load_file, save_file

from regrain.editing.errors import ModelError
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.unet.control_maps import CONTROL_MAPS, canny, gray_depth
from regrain.editing.models.unet.control_net import (
    ControlNets,
    _check_family,
    load_control_net,
)
from regrain.editing.params.written import read_control


def test_a_network_replaced_under_its_name_is_read_again(small, tmp_path):
    folder = write_control_net(tmp_path / "net", small.unet, 0.05, (8, 8))
    first, _ = load_control_net(str(folder), small)
    assert load_control_net(str(folder), small)[0] is first
    file = folder / "diffusion_pytorch_model.safetensors"
    save_file({name: x + 1 for name, x in load_file(file).items()}, file)
    second, _ = load_control_net(str(folder), small)
    assert torch.equal(second.conv_in.bias, first.conv_in.bias + 1)


def test_canny_draws_the_outline():
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[:, 16:48, 16:48] = 255
    edges = canny(frames)
    assert edges.shape == frames.shape
    assert edges[0, 32, 14:18].any()
    assert not edges[0, 24:40, 24:40].any()
    assert CONTROL_MAPS["canny"] is canny


def test_depth_has_one_scale_for_the_whole_clip():
    near = np.linspace(0, 1, 100).reshape(1, 10, 10)
    clip = np.concatenate([near, near / 2])
    grey = gray_depth(clip)
    assert grey[0].max() == 255
    assert (
        abs(int(grey[1].max()) - 128) < 8
    )  # the same half depth, half as bright: no scale of its own
    assert (np.diff(grey[0, ..., 0].astype(int).ravel()) >= 0).all()  # near is white


@pytest.mark.parametrize("kind", ["depth", "pose"])
def test_a_detector_that_is_not_here_is_one_line(kind):
    with pytest.raises(
        ModelError,
        match=f"^params.control: {kind} needs .*. Install them, or use canny",
    ):
        CONTROL_MAPS[kind](np.zeros((1, 64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def net_folder(tmp_path_factory, tiny):
    """A ControlNet for the tiny model."""
    return write_control_net(tmp_path_factory.mktemp("nets") / "canny", tiny.unet, 0.1)


FRAMES = noise(2, 64, 64, 3)


def test_residuals_are_the_networks_weighted_and_summed(tiny, net_folder):
    x = randn(4, 4, 8, 8)
    step, text = tiny.schedule.sampling(50)[5], tiny.embed(["", "a cat"])
    specs = read_control(f"canny={net_folder}@0.7, canny={net_folder}@0.5")
    nets = ControlNets(specs, FRAMES, tiny)
    down, middle = nets.reading(text)(x, torch.tensor(step.t))
    hint = torch.from_numpy(canny(FRAMES)).movedim(-1, 1).float() / 255
    vectors = text.vectors.repeat_interleave(2, 0)
    net, _ = load_control_net(str(net_folder), tiny)
    how = {"conditioning_scale": 1.2, "return_dict": False}
    expected, last = net(x, step.t, vectors, hint.repeat(2, 1, 1, 1), **how)
    for ours, theirs in zip([*down, middle], [*expected, last], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert nets.maps.shape == (2, 64, 128, 3)


def test_a_weight_of_0_is_the_model(tiny, net_folder):
    text = tiny.embed(["a cat"])
    given = randn(2, 4, 8, 8), tiny.schedule.sampling(50)[5], text
    plain, silent, loud = (
        tiny.predict(
            *given,
            Intervention(
                control=ControlNets(read_control(said), FRAMES, tiny).reading(text)
            ),
        )[1]
        for said in ("", f"canny={net_folder}@0", f"canny={net_folder}@1")
    )
    assert torch.equal(silent, plain)
    assert not torch.allclose(loud, plain)


OTHERS = read_json(Path(__file__).with_name("other_control.json"))
"""By what is said, other values of a configuration."""


@pytest.mark.parametrize(("message", "change"), OTHERS.items())
def test_another_family_is_one_line(tiny, net_folder, tmp_path, change, message):
    config = read_json(net_folder / "config.json")
    write_json(tmp_path / "config.json", config | change)
    with pytest.raises(ModelError, match=f"^params.control: .*{message}"):
        load_control_net(str(tmp_path), tiny)


def test_an_inpainting_model_takes_what_others_take(tiny, net_folder):
    unet = SimpleNamespace(config={**tiny.unet.config, "in_channels": 9})
    backbone = SimpleNamespace(unet=unet, factor=tiny.factor, id="it")
    _check_family(net_folder / "config.json", "net", backbone)


def test_pickles_and_missing_folders_are_refused(tiny, net_folder, tmp_path):
    (tmp_path / "config.json").write_text((net_folder / "config.json").read_text())
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"x")
    known = {
        str(tmp_path): "only pickles",
        "a.ckpt": "pickle",
        str(tmp_path / "no"): "not found",
    }
    for id, message in known.items():
        with pytest.raises(ModelError, match=f"params.control: .*{message}"):
            load_control_net(id, tiny)


def test_a_network_that_is_no_number_is_refused(tiny, net_folder, tmp_path):
    folder = shutil.copytree(net_folder, tmp_path / "net")
    spoil(folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelError, match=r"^params.control: .* has NaN or Inf in time"):
        load_control_net(str(folder), tiny)


def test_a_network_that_backbones_share_is_held_while_it_is_patched(tiny, net_folder):
    net, lock = load_control_net(str(net_folder), tiny)
    held = []

    @contextmanager
    def patch(model):
        held.append((model is net, lock.locked()))
        yield

    nets = ControlNets(read_control(f"canny={net_folder}"), FRAMES, tiny, (patch,))
    nets.reading(tiny.embed(["a cat"]))(torch.zeros(2, 4, 8, 8), torch.tensor(1))
    assert held == [(True, True)]
    assert not lock.locked()
