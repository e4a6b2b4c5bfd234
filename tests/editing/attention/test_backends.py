"""`attention` against the formula on a materialised matrix, whatever the widths."""

import pytest
import torch
from made_models import randn

from regrain.editing.attention import backends
from regrain.editing.attention.backends import (
    RunLengths,
    attention,
    attention_in_runs,
    uses_xformers,
)


@pytest.mark.parametrize(("dim", "width"), [(8, 8), (13, 8), (8, 11)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_equals_the_formula(dim, width, scale):
    q, k, v = (
        torch.randn(2, 3, 5, dim),
        torch.randn(2, 3, 7, dim),
        torch.randn(2, 3, 7, width),
    )
    expected = (
        torch.softmax(q @ k.mT * (dim**-0.5 if scale is None else scale), dim=-1) @ v
    )
    torch.testing.assert_close(
        attention(q, k, v, scale), expected, atol=1e-6, rtol=1e-5
    )


def test_wide_keys_never_materialise_the_matrix():
    from torch.profiler import ProfilerActivity, profile

    q, k, v = (
        torch.randn(1, 1, 64, 20),
        torch.randn(1, 1, 64, 20),
        torch.randn(1, 1, 64, 16),
    )
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        attention(q, k, v)
    names = {event.name for event in seen.events()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in names
    assert "aten::_scaled_dot_product_attention_math" not in names


RUNS = torch.tensor([3, 1, 3, 5, 1, 4])


def runs_one_by_one(q, k, v):
    """Attention of each run on its own."""
    split = [x.split(RUNS.tolist(), 1) for x in (q, k, v)]
    rows = (
        attention(*(part.transpose(1, 2) for part in parts))
        for parts in zip(*split, strict=True)
    )
    return torch.cat([out.transpose(1, 2) for out in rows], 1)


@pytest.mark.parametrize("at_once", [1, 4096])
def test_runs_see_themselves_alone(at_once, monkeypatch):
    monkeypatch.setattr(backends, "_RUNS_AT_ONCE", at_once)
    q, k, v = randn(3, 2, int(RUNS.sum()), 4, 16).unbind()
    torch.testing.assert_close(
        attention_in_runs(q, k, v, RunLengths(RUNS, q.device)), runs_one_by_one(q, k, v)
    )


def test_xformers_is_left_alone_without_a_gpu():
    assert not uses_xformers(torch.device("cpu"), torch.float16)
    assert not uses_xformers(torch.device("cuda"), torch.float32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_xformers_computes_runs_in_one_call():
    """Tracks of unequal length, each row of the batch with its own tokens."""
    assert uses_xformers(torch.device("cuda"), torch.float16)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(3, 2, int(RUNS.sum()), 4, 40, generator=generator)
        .cuda()
        .half()
        .unbind()
    )
    expected = runs_one_by_one(*(x.float().cpu() for x in (q, k, v)))
    found = attention_in_runs(q, k, v, RunLengths(RUNS, q.device)).float().cpu()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_keys_wider_than_values_need_no_matrix_on_a_gpu():
    """PyTorch's memory-efficient kernel takes them; the fallback would hold queries x
    keys."""
    q, k = (
        torch.randn(1, 8, 4096, 48, device="cuda", dtype=torch.float16)
        for _ in range(2)
    )
    v = torch.randn(1, 8, 4096, 40, device="cuda", dtype=torch.float16)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = attention(q, k, v)
    assert torch.cuda.max_memory_allocated() - before < 4 * out.numel() * 4
    expected = torch.softmax(q.float() @ k.float().mT * 48**-0.5, -1) @ v.float()
    torch.testing.assert_close(out.float(), expected, atol=5e-3, rtol=5e-3)
