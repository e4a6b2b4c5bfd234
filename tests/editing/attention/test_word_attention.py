"""Attention to words bound to regions, in blocks and without a strength."""

import torch

from regrain.editing.attention.backends import attention
from regrain.editing.attention.regions import Partition
from regrain.editing.attention.words import WordBinding, attend_to_words

WORDS = torch.tensor([-1, 1, 1, -1, 2, -1])


def case():
    g = torch.Generator().manual_seed(0)
    q = torch.randn(1, 3, 40, 8, generator=g, dtype=torch.float64)
    k, v = torch.randn(2, 1, 3, len(WORDS) + 30, 8, generator=g, dtype=torch.float64)
    for x in (k, v):
        x[:, :, len(WORDS) :] = x[:, :, -1:]
    codes = torch.randint(0, 3, (40,), generator=g)
    return q, k, v, codes, torch.rand(40, generator=g, dtype=torch.float64)


def bind(codes, strength, *how, **named):
    partition = Partition.of(codes[None], WORDS[None])
    return WordBinding(partition, strength, *how, **named)


def test_heads_go_in_blocks_to_the_same_numbers(monkeypatch):
    """The formula itself is held by `flow_regions_formulas`, on whole matrices."""
    q, k, v, codes, a = case()
    binding = bind(codes, a, 0.3)
    whole = attend_to_words(q, k, v, binding)
    monkeypatch.setattr("regrain.editing.attention.words._BLOCK", 1)
    for one, other in zip(attend_to_words(q, k, v, binding), whole, strict=True):
        torch.testing.assert_close(one, other)


def test_no_strength_is_plain_attention():
    q, k, v, codes, _ = case()
    binding = bind(codes, None, columns=0.3)
    out, before, after = attend_to_words(q, k, v, binding)
    assert torch.allclose(out, attention(q, k, v), rtol=0, atol=1e-12)
    assert torch.allclose(before, after, rtol=0, atol=1e-6)


def test_columns_of_a_region_that_fills_the_clip_stay():
    q, k, v, codes, a = case()
    kept, moved = (bind(torch.ones_like(codes), a, share) for share in (0.0, 0.3))
    expected = attend_to_words(q, k, v, kept)
    for found, one in zip(attend_to_words(q, k, v, moved), expected, strict=True):
        assert torch.equal(found, one)
