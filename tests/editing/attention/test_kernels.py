"""What a graphics card computes otherwise, on one that is made of memory."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import simulated_device
import torch
from made_models import loaded, randn, write_small_model
from simulated_device import SimulatedDevice

from regrain.editing.attention import backends, regions
from regrain.editing.attention.backends import attention
from regrain.editing.attention.regions import Partition, merged
from regrain.editing.models.loading import load

FUSED = "regrain.editing.attention.fused_range"


@pytest.fixture
def card(monkeypatch):
    """A device whose flash kernels take whatever they are given."""
    monkeypatch.setattr(backends, "can_use_flash_attention", lambda _: True)
    # put back last, after what a simulated device answers
    monkeypatch.setattr(backends, "can_use_cudnn_attention", None)
    checked = (regions.range_kernel, backends.cudnn_works)
    for kept in checked:
        kept.cache_clear()
    with SimulatedDevice("cuda").at():
        yield
    for kept in checked:
        kept.cache_clear()


@pytest.mark.full
def test_ranges_by_triton_are_those_of_the_formula():
    # older ones cannot interpret it
    pytest.importorskip("triton", minversion="3.5")
    script = Path(__file__).with_name("interpreted_range.py")
    given = {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, script], env=os.environ | given, check=True)


# Kernels, $REGRAIN_KERNELS, calls (three of which check the kernel), lines in the log.
KERNELS = {
    "right": (regions.blockwise_range, "1", 5, 0),
    "turned off": (regions.blockwise_range, "0", 0, 0),
    "wrong": (lambda q, k: regions.blockwise_range(q, k) * 1.01, "1", 1, 1),
    "absent": (None, "1", 0, 1),
}


@pytest.mark.parametrize(
    ("kernel", "said", "called", "lines"), KERNELS.values(), ids=KERNELS
)
def test_ranges_by_a_kernel_are_checked_once(
    card, kernel, said, called, lines, monkeypatch, caplog
):
    calls = []

    def fused_range(q, k):
        calls.append(q.dtype)
        return kernel(q, k)

    module = SimpleNamespace(fused_range=fused_range) if kernel else None
    monkeypatch.setitem(sys.modules, FUSED, module)
    monkeypatch.setenv("REGRAIN_KERNELS", said)
    q, k = randn(2, 1, 2, 70, 40).half().to("cuda")
    for _ in range(2):
        found = regions.row_range(q, k)
    assert torch.equal(found.cpu(), regions.blockwise_range(q, k).cpu())
    assert (len(calls), len(caplog.records)) == (called, lines)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_device_reads_logits_once_to_the_same_numbers(card, dtype, monkeypatch):
    q, k = randn(2, 2, 3, 70, 40).to(dtype)
    expected = regions.blockwise_range(q, k)
    monkeypatch.setattr(torch.Tensor, "amax", None)
    found = regions.blockwise_range(q.to("cuda"), k.to("cuda"))
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("said", ["0", "1"])
def test_values_are_as_wide_as_keys_where_flash_kernels_want_it(
    card, said, monkeypatch
):
    monkeypatch.setenv("REGRAIN_KERNELS", said)
    usual = torch.nn.functional.scaled_dot_product_attention
    widths = []

    def watched(q, k, v, *args, **kwargs):
        widths.append(v.shape[-1])
        return usual(q, k, v, *args, **kwargs)

    monkeypatch.setattr(backends.F, "scaled_dot_product_attention", watched)
    q, k, v = randn(3, 1, 2, 70, 48).half()
    found = attention(*(x.to("cuda") for x in (q, k, v[..., :40])))
    expected = torch.softmax(q.double() @ k.double().mT * 48**-0.5, -1)
    assert widths == [48 if said == "1" else 40]
    right = expected @ v[..., :40].double()
    torch.testing.assert_close(found.cpu().double(), right, atol=2e-3, rtol=2e-3)


# Capability of a card, if it has flash kernels, what differs in a call, what cuDNN's
# answers are multiplied by, and if it is used.
CUDNN = {
    "Hopper": ((9, 0), True, {}, 1, True),
    "Blackwell": ((10, 0), True, {}, 1, True),
    "Ada": ((8, 9), True, {}, 1, False),
    "Ada on Windows": ((8, 9), False, {}, 1, True),
    "few keys": ((9, 0), True, {"keys": 1023}, 1, False),
    "masked": ((9, 0), True, {"mask": torch.ones(1, 1, 1, 1, dtype=bool)}, 1, False),
    "wider values": ((9, 0), True, {"width": 56}, 1, False),
    "float32": ((9, 0), True, {"dtype": torch.float32}, 1, False),
    "trained": ((9, 0), True, {"learns": True}, 1, False),
    "turned off": ((9, 0), True, {"said": "0"}, 1, False),
    "not taken": ((9, 0), True, {"taken": False}, 1, False),
    "wrong": ((9, 0), True, {}, 1.02, False),
}


@pytest.mark.parametrize(
    ("capability", "flash", "given", "factor", "used"), CUDNN.values(), ids=CUDNN
)
def test_cudnn_attends_where_it_is_known_to_be_faster(
    card, capability, flash, given, factor, used, monkeypatch
):
    monkeypatch.setenv("REGRAIN_KERNELS", given.get("said", "1"))
    monkeypatch.setattr(backends, "can_use_flash_attention", lambda _: flash)
    taken = given.get("taken", True)
    monkeypatch.setattr(backends, "can_use_cudnn_attention", lambda _: taken)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    calls = []

    def cudnn(q, k, v, bias, sums, scale=None):
        calls.append((k.shape[2], v.shape[-1]))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
        return out * factor, out, out, out, 0, 0, out, out, out

    op = torch.ops.aten._scaled_dot_product_cudnn_attention
    monkeypatch.setitem(simulated_device._INSTEAD, op, cudnn)
    keys = given.get("keys", 1024)
    q, k, v = randn(3, 1, 2, keys, 48)
    values = v.repeat(1, 1, 1, 2)[..., : given.get("width", 40)]
    there = [x.to(given.get("dtype", torch.half)).to("cuda") for x in (q, k, values)]
    there[0].requires_grad_(given.get("learns", False))
    mask = given.get("mask")
    if mask is not None:
        mask = mask.to("cuda")
    found = attention(*there, scale=0.1, mask=mask).detach().cpu().double()
    exact = torch.softmax(q.double() @ k.double().mT * 0.1, -1) @ values.double()
    torch.testing.assert_close(found, exact, atol=4e-3, rtol=4e-3)
    assert ((keys, 48) in calls) == used


@pytest.mark.parametrize("said", ["0", "1"])
def test_wide_heads_are_merged_by_the_sums_of_a_flash_kernel(card, said, monkeypatch):
    calls = []

    def flash(q, k, v, scale):
        calls.append(q.shape)
        out = simulated_device._efficient(q, k, v, None, True, scale=scale)
        found, sums, none, _ = out
        return found, sums, none, none, 0, 0, none, none, none

    op = torch.ops.aten._scaled_dot_product_flash_attention
    monkeypatch.setitem(simulated_device._INSTEAD, op, flash)
    monkeypatch.setenv("REGRAIN_KERNELS", said)
    q, k, v = randn(3, 1, 2, 90, 128).half()
    labels = torch.arange(90)[None] % 4 - 1
    strength = randn(1, 90).sigmoid().half()
    exact = (x.double() for x in (q, k, v, strength))
    *values, a = exact
    right = merged(*values, Partition.of(labels, labels), a)
    there = (x.to("cuda") for x in (q, k, v, labels, strength))
    *values, labels, a = there
    found = merged(*values, Partition.of(labels, labels), a).cpu().double()
    torch.testing.assert_close(found, right, atol=5e-3, rtol=5e-3)
    assert bool(calls) == (said == "1")


@pytest.mark.full
def test_the_kernel_of_ranges_is_checked_when_a_model_is_loaded(tmp_path, monkeypatch):
    path = write_small_model(tmp_path / "model")
    monkeypatch.setattr(load, "_loaded", OrderedDict())
    regions.range_kernel.cache_clear()
    with SimulatedDevice("cuda").at():
        loaded(path, dtype=torch.float16)
    assert regions.range_kernel.cache_info().misses == 1
