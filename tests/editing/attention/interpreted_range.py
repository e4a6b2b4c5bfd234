"""Eq. 5 and 6 with ranges of logits by Triton's interpreter, against the formula.

`test_kernels.py` runs this in a process of its own: Triton asks whether it interprets
when it is imported.
"""

import torch
from triton.runtime import interpreter
from videograin_formulas import lifted

from regrain.editing.attention import regions
from regrain.editing.attention.fused_range import fused_range

_usual = interpreter._patch_lang_tensor


def _with_index(tensor, scope):
    """Let a loop end at a number: from NumPy 2.4 on, Triton 3.6 cannot read it from an
    array."""
    _usual(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def _painted(tokens, codes, fresh):
    """Paint regions over each other, and leave holes."""
    labels = torch.full((1, tokens), -1)
    for code in range(codes):
        start = int(torch.randint(tokens, (), generator=fresh))
        labels[:, start : start + tokens // 3] = code
    return labels


def main():
    """Check from 2 to 8 codes, to pixels and to words."""
    interpreter._patch_lang_tensor = _with_index
    asked = []

    def kernel(*kind):
        asked.append(kind)
        return fused_range

    regions.range_kernel = kernel
    fresh = torch.Generator().manual_seed(0)
    for codes in range(2, 9):
        for keys, dim in ((71, 40), (45, 128 if codes == 8 else 40)):
            q = torch.randn(1, 71, 2, dim, generator=fresh).transpose(1, 2)
            k, v = torch.randn(2, 1, 2, keys, dim, generator=fresh)
            labels = _painted(71, codes, fresh)
            seen = labels if keys == 71 else _painted(keys, codes, fresh)
            strength = torch.rand(1, 71, generator=fresh)
            found = regions.modulated_attention(q, k, v, labels, seen, strength)
            same = (labels[..., None] == seen[:, None]) & (labels >= 0)[..., None]
            right = lifted(q.double(), k.double(), same, strength.double())
            assert (found - right @ v.double()).abs().max() < 1e-6, (codes, keys, dim)
    assert len(asked) == 14


if __name__ == "__main__":
    main()
