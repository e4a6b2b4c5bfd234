import numpy as np
import pytest
import torch

from editing.flow import estimate_flow, occlusion, warp


def constant(dx, dy, frames=1, height=12, width=16):
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(frames, 2, height, width).clone()


def texture(height=96, width=128, seed=0):
    coarse = np.random.default_rng(seed).integers(
        0, 256, (height // 4 + 8, width // 4 + 8, 3), dtype=np.uint8
    )
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))


def test_warp_by_whole_pixels_shifts():
    x = torch.rand(2, 3, 12, 16)
    assert torch.allclose(warp(x, constant(0, 0, 2)), x, atol=1e-6)
    shifted = warp(x, constant(3, -2, 2))
    assert torch.allclose(shifted[:, :, 2:, :-3], x[:, :, :-2, 3:], atol=1e-5)


def test_warp_is_bilinear_and_clamps_to_the_border():
    x = torch.arange(16.0).expand(1, 1, 12, 16)
    assert torch.allclose(warp(x, constant(0.25, 0))[..., :15], x[..., :15] + 0.25, atol=1e-5)
    assert torch.allclose(warp(x, constant(100, 100)), torch.full((1, 1, 12, 16), 15.0))


def test_warp_keeps_the_type_and_one_pixel_grids():
    assert warp(torch.rand(1, 2, 12, 16).half(), constant(1, 0)).dtype == torch.float16
    assert torch.equal(warp(torch.ones(1, 1, 1, 1), constant(0, 0, 1, 1, 1)), torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize("shape", [(2, 3, 12, 16), (1, 3, 12, 15)])
def test_warp_refuses_what_does_not_fit(shape):
    # TypeError where annotations are checked, as in these tests.
    with pytest.raises((ValueError, TypeError)):
        warp(torch.rand(shape), constant(0, 0))


@pytest.mark.parametrize("size", [(96, 128), (40, 56)])
def test_flow_finds_a_shift_and_warp_undoes_it(size):
    height, width = size
    large = texture()
    here, there = large[8 : 8 + height, 8 : 8 + width], large[6 : 6 + height, 5 : 5 + width]
    flow = estimate_flow(here[None], there[None])
    inner = flow[0, :, 8:-8, 8:-8]
    assert inner.shape == (2, height - 16, width - 16)
    assert torch.allclose(inner.median(-1)[0].median(-1)[0], torch.tensor([3.0, 2.0]), atol=0.3)
    back = warp(torch.from_numpy(there).float().permute(2, 0, 1)[None], flow)
    difference = (back - torch.from_numpy(here).float().permute(2, 0, 1)).abs()[..., 8:-8, 8:-8]
    assert difference.mean() < 12 < np.abs(there.astype(int) - here).mean()


def test_occlusion_is_where_the_flows_do_not_cancel_or_leave_the_frame():
    forward, backward = constant(2, 0), constant(-2, 0)
    backward[:, :, 4:6, 6:8] = 9
    hidden = occlusion(forward, backward)[0]
    expected = torch.zeros(12, 16, dtype=torch.bool)
    expected[:, 14:] = True
    expected[4:6, 4:6] = True
    assert torch.equal(hidden, expected)
