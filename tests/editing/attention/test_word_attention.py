"""Attention to words bound to regions, against the formula written out with all the
padding."""

import pytest
import torch

from regrain.editing.attention.backends import attention
from regrain.editing.attention.regions import Partition
from regrain.editing.attention.words import WordBinding, attend_to_words

WORDS = torch.tensor([-1, 1, 1, -1, 2, -1])


def case(pads, seed=0):
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(1, 3, 40, 8, generator=g, dtype=torch.float64)
    k, v = (
        torch.randn(1, 3, len(WORDS) + pads, 8, generator=g, dtype=torch.float64)
        for _ in range(2)
    )
    for x in (k, v):
        x[:, :, len(WORDS) :] = x[:, :, -1:]
    codes = torch.randint(0, 3, (40,), generator=g)
    return q, k, v, codes, torch.rand(40, generator=g, dtype=torch.float64)


def written_out(q, k, v, codes, a, columns):
    """Query by query and word by word."""
    s = (q @ k.mT / 8**0.5)[0]
    n, out = len(WORDS), s.clone()
    for head in range(len(s)):
        for i in range(s.shape[1]):
            high, low = s[head, i, :n].max(), s[head, i, :n].min()
            for j in range(s.shape[2]):
                own = j < n and WORDS[j] >= 0 and WORDS[j] == codes[i]
                if j < n:
                    out[head, i, j] += a[i] * ((high if own else low) - s[head, i, j])
        rows = out[head].clone()
        for j in range(n if columns else 0):
            if WORDS[j] >= 0:
                inside = codes == WORDS[j]
                target = torch.where(
                    inside, rows[inside, j].max(), rows[~inside, j].min()
                )
                out[head, :, j] = rows[:, j] + columns * (target - rows[:, j])
    given = out.softmax(-1)
    return (given @ v[0])[None], s.softmax(-1)[..., :n].mean(0), given[..., :n].mean(0)


def bind(codes, strength, *how, **named):
    partition = Partition.of(codes[None], WORDS[None])
    return WordBinding(partition, strength, *how, **named)


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize("pads", [0, 1, 30])
@pytest.mark.parametrize("columns", [0.0, 0.3])
def test_maps_follow_the_formula_and_padding_is_folded(
    monkeypatch, columns, pads, block
):
    monkeypatch.setattr("regrain.editing.attention.words._BLOCK", block)
    q, k, v, codes, a = case(pads)
    found = attend_to_words(q, k, v, bind(codes, a, columns))
    for one, other in zip(found, written_out(q, k, v, codes, a, columns), strict=True):
        assert torch.allclose(
            one.double(), other, rtol=0, atol=1e-12 if one.ndim == 4 else 1e-6
        )


def test_no_strength_is_plain_attention():
    q, k, v, codes, _ = case(30)
    binding = bind(codes, None, columns=0.3)
    out, before, after = attend_to_words(q, k, v, binding)
    assert torch.allclose(out, attention(q, k, v), rtol=0, atol=1e-12)
    assert torch.allclose(before, after, rtol=0, atol=1e-6)
