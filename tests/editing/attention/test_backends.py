"""`attention` against the formula on a materialised matrix, whatever the widths."""

import pytest
import torch

from editing.attention.backends import attention


@pytest.mark.parametrize(("dim", "width"), [(8, 8), (13, 8), (8, 11)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_equals_the_formula(dim, width, scale):
    q, k, v = torch.randn(2, 3, 5, dim), torch.randn(2, 3, 7, dim), torch.randn(2, 3, 7, width)
    expected = torch.softmax(q @ k.mT * (dim**-0.5 if scale is None else scale), dim=-1) @ v
    torch.testing.assert_close(attention(q, k, v, scale), expected, atol=1e-6, rtol=1e-5)


def test_is_plain_sdpa_bit_for_bit_at_equal_widths():
    q, k, v = torch.randn(3, 2, 4, 9, 16).unbind()
    assert torch.equal(attention(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_wide_keys_never_materialise_the_matrix():
    from torch.profiler import ProfilerActivity, profile

    q, k, v = torch.randn(1, 1, 64, 20), torch.randn(1, 1, 64, 20), torch.randn(1, 1, 64, 16)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        attention(q, k, v)
    names = {event.name for event in seen.events()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in names
    assert "aten::_scaled_dot_product_attention_math" not in names
