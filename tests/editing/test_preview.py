"""The linear preview recovers what is linear, and heat is scaled to its strongest pixel."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import SCHEDULER

from editing import ArrayClip, EditRequest, Region
from editing.attention.frames import all_frames, own_frame, sparse_causal
from editing.attention.layout import Layout
from editing.diffusion import Schedule
from editing.errors import RequestError
from editing.preview import HeatMaps, HeatScope, LatentPreview, PixelHeat, heat


def test_preview_recovers_colours_that_depend_linearly_on_latents():
    latents = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = (latents * 200 + 20).round().byte().movedim(1, -1).numpy().repeat(8, 1).repeat(8, 2)
    preview = LatentPreview(latents, frames, zoom=1)
    assert np.abs(preview(latents).astype(int) - frames[:, ::8, ::8].astype(int)).max() <= 4


def test_heat_peaks_at_one():
    maps = heat(torch.tensor([[[0.0, 0.1]], [[0.05, 0.2]]]))
    assert maps.dtype == np.float32
    assert maps.max() == 1
    assert np.allclose(maps[0, 0], [0, 0.5])


def layout_of(frames=3, size=32, grid=(8, 8)):
    labels = np.zeros((frames, size, size), np.uint8)
    labels[:, :, : size // 2] = 1
    clip = ArrayClip(np.zeros((frames, size, size, 3), np.uint8), fps=Fraction(8))
    request = EditRequest(clip, labels, (Region("left", 1, prompt="a fox"),))
    return Layout(request, grid, torch.tensor([-1, 1, -1]))


def steps(total):
    return Schedule.from_config(SCHEDULER).sampling(total)


def test_a_scope_counts_the_steps_it_touches_and_reads_the_grids_it_names():
    taken = [step.index for step in steps(10) if HeatScope(0.25, 0.5).counts(step)]
    assert taken == [2, 3, 4]
    assert any(HeatScope(0.5, 0.51).counts(step) for step in steps(3))
    assert HeatScope().grids((64, 96)) == ((16, 24), (8, 12))
    assert HeatScope(coarsest=16).grids((64, 96)) == ((16, 24), (8, 12), (4, 6))
    assert HeatScope(coarsest=4).grids((256, 256)) == ((64, 64),)  # none is small enough: the coarsest
    assert HeatScope(divisors=(4, 1)).grids((64, 96)) == ((64, 96), (16, 24))


def test_heat_is_averaged_over_the_steps_and_grids_asked_for_alone():
    maps = HeatMaps(layout_of(), scope=HeatScope(0.25, 0.75, (2,)))
    assert maps.reads(16)
    assert not maps.reads(64)
    for step in steps(4):
        maps.begin(step)
        maps.add(torch.full((3, 16, 1), float(step.index)), torch.full((3, 16, 1), 10.0 + step.index), False)
    mean = maps.mean()["left"]
    assert mean.before.shape == (3, 4, 4)
    assert np.allclose(mean.before, 1.5)
    assert np.allclose(mean.after, 11.5)


def test_modulated_steps_alone_are_averaged_where_there_are_any():
    maps = HeatMaps(layout_of())
    for step in steps(4):
        maps.begin(step)
        maps.add(*[torch.full((3, 64, 1), float(step.index))] * 2, step.index < 2)
    assert np.allclose(maps.mean()["left"].before, 0.5)


def test_maps_of_steps_that_modulate_nothing_are_kept():
    """A step may be within the window and have nothing to modulate: strength 0, or no layer that is."""
    maps = HeatMaps(layout_of())
    for step in steps(3):
        maps.begin(step)
        maps.add(*[torch.full((3, 64, 1), float(step.index))] * 2, False)
    assert np.allclose(maps.mean()["left"].before, 1.0)


def test_grids_the_model_does_not_have_are_refused():
    with pytest.raises(RequestError, match=r"^params.heat_grids: 16 was given; this model has 1, 2, 4;"):
        HeatScope(divisors=(16,), coarsest=4).grids((16, 16))


def test_a_grid_no_layer_has_is_refused_after_a_step():
    maps = HeatMaps(layout_of(), scope=HeatScope(divisors=(8,)))
    first, second = steps(2)
    maps.begin(first)
    with pytest.raises(RequestError, match=r"^params.heat_grids: 8 given, but no layer of the model has"):
        maps.begin(second)


@pytest.mark.parametrize("see", [all_frames, sparse_causal, own_frame])
def test_a_pixel_looks_where_its_row_of_attention_says(see):
    layout = layout_of()
    q, k = torch.randn(2, 3, 2, 64, 8, generator=torch.Generator().manual_seed(0))
    look = PixelHeat(layout, (1, 13.0, 20.0), HeatScope(divisors=(1,)))
    look.maps.begin(steps(1)[0])

    def attend(a, b, v):
        look.add(a, b, 64, see, None)
        return a

    see(q, k, k, 3, attend=attend)
    place = 5 * 8 + 3  # y 20 and x 13 of 32 pixels, on 8 x 8 cells
    seen = {all_frames: [0, 1, 2], sparse_causal: [0, 0], own_frame: [1]}[see]
    keys = torch.cat([k[frame] for frame in seen], 1)
    row = (q[1, :, place, None] @ keys.transpose(1, 2) / 8**0.5).softmax(-1)[:, 0].mean(0)
    expected = torch.zeros(3, 64)
    for frame, share in zip(seen, row.split(64), strict=True):
        expected[frame] += share
    found = look.maps.mean()["frame 1 at 13,20"]
    assert np.allclose(found.before, expected.view(3, 8, 8), atol=1e-6)
    assert np.array_equal(found.before, found.after)


def test_a_pixel_of_a_coarse_layer_is_spread_over_the_cells_it_covers():
    layout = layout_of()
    look = PixelHeat(layout, (0, 0.0, 0.0), HeatScope(divisors=(1, 2)))
    look.maps.begin(steps(1)[0])
    q, k = torch.randn(2, 3, 2, 16, 8, generator=torch.Generator().manual_seed(0))
    all_frames(q, k, k, 3, attend=lambda a, b, v: (look.add(a, b, 16, all_frames, None), a)[1])
    found = look.maps.mean()["frame 0 at 0,0"].before
    assert found.shape == (3, 8, 8)
    assert found.sum() == pytest.approx(1, abs=0.05)
