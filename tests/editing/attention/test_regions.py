"""Modulated attention against the formula written out on materialised scores."""

import pytest
import torch
from videograin_formulas import lifted

from regrain.editing.attention.backends import attention
from regrain.editing.attention.regions import (
    Partition,
    clip_labels,
    grid_labels,
    merged,
    modulate,
    modulated_attention,
    row_range,
)


def written_out(q, k, v, query_label, key_label, strength):
    """The paper's formula, dense."""
    known = (query_label >= 0)[:, :, None]
    same = (query_label[:, :, None] == key_label[:, None, :]) & known
    return lifted(q, k, same, strength) @ v


def case(queries=50, keys=50, regions=3, dim=24, dtype=torch.float64, label_rows=2):
    g = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, 3, n, dim, generator=g, dtype=dtype)
        for n in (queries, keys, keys)
    )
    ql = torch.randint(-1, regions, (label_rows, queries), generator=g)
    kl = torch.randint(-1, regions, (label_rows, keys), generator=g)
    return q, k, v, ql, kl, torch.rand(label_rows, queries, generator=g, dtype=dtype)


@pytest.mark.parametrize("label_rows", [1, 2])
@pytest.mark.parametrize(
    ("queries", "keys", "regions"), [(50, 50, 3), (64, 9, 1), (40, 77, 8)]
)
def test_channel_form_equals_formula(queries, keys, regions, label_rows):
    values = case(queries, keys, regions, label_rows=label_rows)
    assert torch.allclose(
        modulated_attention(*values), written_out(*values), rtol=0, atol=1e-12
    )


def test_single_precision_is_within_1e_6():
    q, k, v, ql, kl, a = case(256, 256, dtype=torch.float32)
    wide = written_out(q.double(), k.double(), v.double(), ql, kl, a.double())
    assert (modulated_attention(q, k, v, ql, kl, a).double() - wide).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("keys", "dtype", "atol"),
    [
        (40, torch.float64, 1e-12),
        (700, torch.float64, 1e-12),
        (256, torch.float32, 1e-5),
    ],
)
def test_row_range_streams_to_the_same_numbers(keys, dtype, atol):
    q, k, *_ = case(3000, keys, dtype=dtype)
    s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    expected = s.amax(-1) - s.amin(-1)
    assert torch.allclose(row_range(q, k), expected, rtol=0, atol=atol)


def test_no_strength_is_plain_attention_bit_for_bit():
    q, k, v, ql, kl, a = case(dtype=torch.float32)
    assert torch.equal(modulated_attention(q, k, v, ql, kl, None), attention(q, k, v))
    faint = modulated_attention(q, k, v, ql, kl, torch.zeros_like(a))
    assert torch.allclose(faint, attention(q, k, v), rtol=0, atol=1e-6)


def test_grid_labels_take_the_majority_and_keep_small_regions():
    labels = torch.zeros(2, 16, 16, dtype=torch.int64)
    labels[:, :, 8:] = 1
    labels[0, 1, 1] = 2
    labels[:, ::8, ::4] = (
        1 - labels[:, ::8, ::4]
    )  # the first pixel of a cell need not be like most of it
    grid = grid_labels(labels, 2, 4, 3).view(2, 2, 4)
    assert grid[0].tolist() == [[2, 0, 1, 1], [0, 0, 1, 1]]
    assert grid[1].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_region_has_half_of_a_cell_and_a_quarter_of_a_token_that_spans_frames():
    labels = torch.zeros(1, 4, 8, dtype=torch.int64)
    labels[:, :, 2:] = 1
    assert grid_labels(labels, 1, 2, 2).tolist() == [[1, 1]]
    labels[:, :, :4] = torch.eye(4)
    latents = torch.zeros(1, dtype=torch.int64)
    assert clip_labels(labels, 1, 2, 2, latents).tolist() == [[1, 1]]
    labels[:, 0, 0] = 0
    assert clip_labels(labels, 1, 2, 2, latents).tolist() == [[0, 1]]


@pytest.mark.parametrize("label_rows", [1, 2])
def test_many_keys_on_a_cpu_go_in_blocks_to_the_same_numbers(monkeypatch, label_rows):
    values = case(70, 300, 4, dim=64, label_rows=label_rows)
    expected = written_out(*values)
    q, k, v, *rest = values
    for block in (1, 300 * 16, 1 << 20):
        monkeypatch.setattr("regrain.editing.attention.regions._LEAST_ROWS", 1)
        monkeypatch.setattr("regrain.editing.attention.regions._BLOCK", block)
        assert torch.allclose(
            modulated_attention(*values), expected, rtol=0, atol=1e-12
        )
    narrow = modulated_attention(q, k, v[..., :3], *rest)
    assert torch.allclose(narrow, expected[..., :3], rtol=0, atol=1e-12)
    learned = modulated_attention(q, k, v.requires_grad_(), *rest)
    assert learned.requires_grad
    assert torch.allclose(learned.detach(), expected, rtol=0, atol=1e-12)


def test_half_precision_holds_logits_beyond_its_numbers():
    """Stable Diffusion 2's reach 3e5 before they are scaled, half precision ends at
    65504."""
    q, k, _, ql, kl, a = case(dim=64, dtype=torch.float32)
    q, k = (60 * q).half(), (60 * k).half()
    assert not (q @ k.transpose(-1, -2)).isfinite().all()
    q2, k2 = modulate(q, k, Partition.of(ql, kl), a)
    assert q2.isfinite().all()
    got = (q2.double() @ k2.double().transpose(-1, -2) / 8).softmax(-1)
    exact = modulate(q.double(), k.double(), Partition.of(ql, kl), a)
    wanted = (exact[0] @ exact[1].transpose(-1, -2) / 8).softmax(-1)
    assert (got - wanted).abs().sum(-1).mean() < 0.05


def test_no_region_loses_its_last_cell_to_another_that_is_small_too():
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[0, 1, 1], labels[0, 2, 2] = 1, 2  # two eyes in one cell of 8 pixels
    grid = grid_labels(labels, 2, 2, 3)[0].tolist()
    assert grid.count(1) == 1  # the second has no other cell that it touches
    labels[0, 9, 2] = 2  # now it has
    assert grid_labels(labels, 2, 2, 3)[0].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-6)]
)
def test_two_calls_merged_are_the_widened_one(dtype, atol):
    q, k, v, ql, kl, a = case(80, 90, 4, dim=128, label_rows=1)
    # a region without keys of its own, and tokens of none
    ql[0, :10], kl[kl == 3] = 3, 0
    values = [x.to(dtype) for x in (q, k, v)], ql, kl, a.to(dtype)
    expected = written_out(q, k, v, ql, kl, a)
    assert torch.allclose(
        merged(*values[0], Partition.of(*values[1:3]), values[3]).double(),
        expected,
        rtol=0,
        atol=atol,
    )
    assert torch.allclose(
        modulated_attention(*values[0], *values[1:]).double(),
        expected,
        rtol=0,
        atol=atol,
    )


@pytest.mark.parametrize("width", [3, 200])
def test_wide_heads_of_one_frame_take_values_of_any_width(width):
    """Maps of words are values as wide as there are words."""
    q, k, _, ql, kl, a = case(80, 90, 4, dim=160, label_rows=1)
    v = torch.randn(*k.shape[:3], width, dtype=k.dtype)
    found = modulated_attention(q, k, v, ql, kl, a)
    assert torch.allclose(found, written_out(q, k, v, ql, kl, a), rtol=0, atol=1e-12)
