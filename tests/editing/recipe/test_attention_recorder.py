"""Heat is averaged over what it should be."""

import numpy as np
import pytest
import torch
from made_models import SCHEDULER

from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    scaled,
)


def sites(*strides):
    return tuple(
        AttentionLayer(f"s{n}", "cross", "mid_block", (1, n, n)) for n in strides
    )


def steps(total):
    return Schedule.from_config(SCHEDULER).sampling(total)


def scope():
    return HeatScope(frozenset([(1, 1, 1)]), (8, 8))


def test_heat_peaks_at_one():
    maps = scaled(torch.tensor([[[0.0, 0.1]], [[0.05, 0.2]]]))
    assert maps.dtype == np.float32
    assert maps.max() == 1
    assert np.allclose(maps[0, 0], [0, 0.5])


def test_a_scope_chooses_layers_of_up_to_1024_cells():
    grid, layers = Grid(3, 64, 96), sites(1, 2, 4, 8)
    assert HeatScope.choose(grid, layers).strides == {(1, 4, 4), (1, 8, 8)}
    assert HeatScope.choose(grid, layers).size == (16, 24)
    # None is small enough: the coarsest.
    assert HeatScope.choose(Grid(3, 256, 256), sites(1, 2, 4)).size == (64, 64)


@pytest.mark.parametrize(
    ("size", "read"), [((64, 96), 4), ((60, 96), 2), ((96, 32), 2), ((12, 12), 1)]
)
def test_words_are_read_on_the_coarsest_grid_with_sixteen_cells_a_side(size, read):
    known = (AttentionLayer("", "self", ""), *sites(8, 4, 2, 1))
    assert HeatScope.of(Grid(3, *size), known).strides == {(1, read, read)}


def recorded(total):
    """Maps of steps whose mass is their number, and 10 more after the change."""
    heat = AttentionRecorder(scope())
    for step in steps(total):
        heat.begin(step)
        mass = torch.full((3, 64, 1), float(step.index))
        heat.add(mass, mass + 10)
    return heat.maps({"left": (0,)})["left"]


def test_heat_is_also_kept_by_thirds_of_the_schedule():
    found = recorded(6)
    means = {
        part: (maps.before.mean(), maps.after.mean())
        for part, maps in found.parts.items()
    }
    assert means == {"early": (0.5, 10.5), "middle": (2.5, 12.5), "late": (4.5, 14.5)}
    assert np.allclose(found.before, 2.5)
    assert recorded(1).parts == {}  # one third has no parts


def test_a_step_has_its_own_mean_and_columns_add_up():
    heat = AttentionRecorder(scope())
    for step in steps(2):
        heat.begin(step)
        for layer in (1.0, 3.0):
            heat.add(torch.full((3, 64, 3), layer + step.index))
    assert np.allclose(heat.step(), 3.0)
    assert np.allclose(heat.means()[0], 2.5)
    assert np.allclose(heat.maps({"two": (0, 2)})["two"].before, 5.0)
    assert heat.now({"two": (0, 2)}, (0, 2))["two"].shape == (2, 8, 8)
