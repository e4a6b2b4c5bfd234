"""The choice of a device, and what is known of one, on devices made of memory."""

from types import SimpleNamespace

import pytest
import torch
from commands import command
from simulated_device import KINDS, SimulatedDevice

from regrain.editing.__main__ import main
from regrain.editing.errors import RequestError, ResourceError
from regrain.editing.models.turns import TurnTaking
from regrain.editing.models.weights.tensors import sums_of
from regrain.editing.storage import memory
from regrain.editing.storage.devices import VARIABLE, choose_device, device_name, on_gpu

call = command(main)


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    """What one command sets is not kept for the next test."""
    monkeypatch.setenv(VARIABLE, "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_graphics_card_is_chosen_where_there_is_one(kind, monkeypatch):
    assert choose_device().type == "cpu"
    with SimulatedDevice(kind, memory=1 << 30).at():
        device = choose_device()
        assert device.type == kind
        assert on_gpu()
        assert device_name(device) != "CPU"
        assert memory.free_memory(device) == 1 << 30
        assert memory.weights_dtype(device, 1, 1 << 30) == torch.float16
        memory.reset_peak(device)
        assert memory.peak_memory(device) == 0
        monkeypatch.setenv(VARIABLE, "cpu")
        assert choose_device().type == "cpu"
        assert choose_device(kind).type == kind


def test_weights_on_two_devices_are_added_up_one_by_one():
    with SimulatedDevice().at():
        there = torch.ones(3, device="cuda")
        with pytest.raises(RuntimeError, match="on the same device"):
            torch.stack([there.sum(), torch.tensor(2.0)])
        assert sums_of([torch.ones(2), there]) == [2, 3]


def test_parts_do_not_take_turns_where_memory_is_shared():
    parts = {"unet": 3 << 20, "vae": 3 << 20}
    assert memory.takes_turns(torch.device("xpu"), parts, 8 << 20)
    assert not memory.takes_turns(torch.device("mps"), parts, 8 << 20)
    with pytest.raises(ResourceError, match=r"^model: .* run on the CPU \(REGRAIN_DEV"):
        memory.takes_turns(torch.device("mps"), parts, 2 << 20)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "Expected cuda, mps, xpu or cpu, got 'gpu'"),
        ("meta", "Expected cuda, mps, xpu or cpu, got 'meta'"),
        ("xpu", "This machine has no xpu, .* Use one of: cpu"),
        ("cpu:1", "This machine has no cpu:1, .* Use one of: cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, said, monkeypatch):
    with pytest.raises(RequestError, match=f"^device: {said}"):
        choose_device(name)
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(RequestError, match=f"^device: {said}"):
        choose_device()


def test_doctor_tells_device_and_precision(capsys):
    with SimulatedDevice("mps").at():
        assert call("doctor") == 0
    assert "Apple GPU (mps), float16" in capsys.readouterr().out
    with SimulatedDevice("mps").at():
        assert call("doctor", "--device", "cpu") == 0
    assert "CPU (cpu), float32" in capsys.readouterr().out


def test_an_operation_that_a_mac_lacks_is_named():
    model = SimpleNamespace(device=torch.device("mps"))
    with (
        pytest.raises(ResourceError, match=r"^device: PyTorch has no aten::_dirichlet"),
        TurnTaking._memory(model, 1, (8, 8)),
    ):
        raise NotImplementedError("The operator 'aten::_dirichlet' is not implemented")
