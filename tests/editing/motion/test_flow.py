import numpy as np
import pytest
import torch
from made_clips import noise
from made_models import seeded
from made_motion import constant
from torch.nn.functional import grid_sample

from regrain.editing.motion import known_flows
from regrain.editing.motion.flow import (
    estimate_both,
    estimate_flow,
    follow,
    nearest_track,
    occlusion,
    trajectories,
    warp,
)


def texture():
    return noise(32, 40, 3).repeat(4, 0).repeat(4, 1)


def test_warp_shifts_bilinearly_and_clamps_to_the_border_or_fades_to_zero():
    x = torch.rand(2, 3, 12, 16)
    assert torch.allclose(warp(x, constant(0, 0, 2)), x, atol=1e-6)
    shifted = warp(x, constant(3, -2, 2))
    assert torch.allclose(shifted[:, :, 2:, :-3], x[:, :, :-2, 3:], atol=1e-5)
    x = torch.arange(16.0).expand(1, 1, 12, 16)
    assert torch.allclose(
        warp(x, constant(0.25, 0))[..., :15], x[..., :15] + 0.25, atol=1e-5
    )
    assert torch.allclose(warp(x, constant(100, 100)), torch.full((1, 1, 12, 16), 15.0))
    out = warp(torch.ones(1, 1, 12, 16), constant(2.25, 0), "zero")[0, 0, 3]
    assert torch.allclose(out, torch.tensor([1.0] * 13 + [0.75, 0, 0]), atol=1e-5)


def test_warp_keeps_the_type_and_one_pixel_grids_and_refuses_what_does_not_fit():
    assert warp(torch.rand(1, 2, 12, 16).half(), constant(1, 0)).dtype == torch.float16
    assert torch.equal(
        warp(torch.ones(1, 1, 1, 1), constant(0, 0, 1, 1, 1)), torch.ones(1, 1, 1, 1)
    )
    for shape in ((2, 3, 12, 16), (1, 3, 12, 15)):
        # TypeError where annotations are checked, as in these tests.
        with pytest.raises((ValueError, TypeError)):
            warp(torch.rand(shape), constant(0, 0))


@pytest.mark.parametrize("size", [(96, 128), (40, 56)])
def test_flow_finds_a_shift(size):
    height, width = size
    large = texture()
    here = large[None, 8 : 8 + height, 8 : 8 + width]
    there = large[None, 6 : 6 + height, 5 : 5 + width]
    flow, back = estimate_both(here, there)
    assert torch.equal(flow, estimate_flow(here, there))
    assert torch.equal(back, estimate_flow(there, here))
    assert flow.shape == (1, 2, height, width)
    middle = flow[0, :, 8:-8, 8:-8].flatten(1).median(1)[0]
    assert torch.allclose(middle, torch.tensor([3.0, 2.0]), atol=0.3)


def test_occlusion_is_where_the_flows_do_not_cancel_or_leave_the_frame():
    forward, backward = constant(2, 0), constant(-2, 0)
    backward[:, :, 4:6, 6:8] = 9
    hidden = occlusion(forward, backward)[0]
    expected = torch.zeros(12, 16, dtype=torch.bool)
    expected[:, 14:] = True
    expected[4:6, 4:6] = True
    assert torch.equal(hidden, expected)


def followed(flow, lost, height, width):
    """`trajectories`, track by track: of each cell how far off its track is, its
    number, and its place."""
    size = torch.tensor([width, height])
    zoom = size / torch.tensor(flow.shape[:1:-1])
    cells = [*np.ndindex(height, width)]
    tracks = {
        cell: (0.0, number, torch.tensor(cell[::-1]))
        for number, cell in enumerate(cells)
    }
    begun = len(cells)
    out = [[tracks[cell][1] for cell in cells]]
    for field in torch.cat([flow, lost[:, None].float()], 1):
        after = {}
        for _, number, place in tracks.values():
            at = (2 * (place + 0.5) / size - 1).view(1, 1, 1, 2)
            found = grid_sample(field[None], at, "bilinear", "border", False).flatten()
            if found[2] > 0.5:
                continue
            place = place + found[:2] * zoom
            nearest = (place + 0.5).floor()
            off = float((place - nearest).square().sum())
            cell = tuple(nearest.int().tolist()[::-1])
            if cell in tracks and (off, number) < after.get(cell, (9.0,))[:2]:
                after[cell] = off, number, place
        for cell in cells:
            if cell not in after:
                after[cell] = 0.0, begun, torch.tensor(cell[::-1])
                begun += 1
        tracks = after
        out.append([tracks[cell][1] for cell in cells])
    return torch.tensor(out).view(len(out), height, width)


@pytest.mark.parametrize("grid", [(6, 8), (5, 7), (12, 16)])
def test_trajectories_equal_following_cell_by_cell(grid):
    generator = seeded(0)
    coarse = torch.randn(5, 2, 4, 5, generator=generator) * 3
    flow = torch.nn.functional.interpolate(coarse, (12, 16), mode="bilinear")
    lost = torch.rand(5, 12, 16, generator=generator) < 0.1
    for occluded in (lost, torch.zeros_like(lost)):
        ids = trajectories(flow, occluded, grid)
        assert torch.equal(ids, followed(flow, occluded, *grid))
        assert all(len(frame.unique()) == grid[0] * grid[1] for frame in ids)
        assert torch.equal(ids.unique(), torch.arange(int(ids.max()) + 1))


def test_a_cell_goes_to_the_nearest_track_or_the_oldest_in_a_tie():
    target, off = (
        torch.tensor([4, 1, 4, 1, 1, 2]),
        torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1, 9.0]),
    )
    winner, taken = nearest_track(target, off, torch.tensor([0, 1, 2, 8, 5, 3]), 6)
    assert winner.tolist() == [4, 5, 2]
    assert taken.tolist() == [False, True, True, False, True, False]
    none = target[:0]
    assert not nearest_track(none, off[:0], none, 6)[1].any()


def test_one_frame_has_no_tracks():
    assert follow(noise(1, 8, 8, 3), (2, 2)) is None


def test_large_flows_are_kept_by_size_until_there_are_many(monkeypatch):
    sizes = [(255, 512), (256, 512), (512, 256), (512, 512)]
    estimated = []

    def estimate(frame, _):
        estimated.append(frame.shape[:2])
        return np.zeros((2, *estimated[-1]), np.float32)

    known_flows.forget()
    monkeypatch.setattr(known_flows, "_MOST", 2 * 2 * 4 * 256 * 512)
    for size in 2 * sizes:
        black = np.zeros((*size, 3), np.uint8)
        assert known_flows.once((black, black), estimate).shape[1:] == size
    assert estimated == [*sizes, sizes[0], sizes[3]]
    known_flows.forget()
