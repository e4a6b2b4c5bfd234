"""The hook: bit-equal to diffusers' own attention, reaches every layer, leaves nothing
behind."""

from copy import deepcopy

import pytest
import torch
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor2_0
from made_models import randn
from torch.nn.functional import scaled_dot_product_attention

from regrain.editing.attention.layers import Grid, install


@pytest.fixture(scope="module")
def inputs():
    return randn(3, 4, 8, 16), 501, randn(3, 77, 32, seed=1)


@pytest.fixture(scope="module")
def expected(tiny, inputs):
    unet = deepcopy(tiny.unet)
    unet.set_attn_processor(AttnProcessor2_0())
    with torch.no_grad():
        return unet(*inputs).sample


@pytest.mark.parametrize(
    "attend", [None, lambda q, k, v, site: scaled_dot_product_attention(q, k, v)]
)
def test_equals_diffusers_bit_for_bit(tiny, inputs, expected, attend):
    with torch.no_grad():
        out = tiny.unet(
            *inputs, cross_attention_kwargs=attend and {"attend": attend}
        ).sample
    assert torch.equal(out, expected)


def test_every_site_is_seen_once_in_order(tiny, inputs):
    seen = []

    def attend(q, k, v, site):
        assert q.shape[:2] == (3, 8)
        assert k.shape[2] == (77 if site.kind == "cross" else q.shape[2])
        seen.append(site)
        return scaled_dot_product_attention(q, k, v)

    with torch.no_grad():
        tiny.unet(*inputs, cross_attention_kwargs={"attend": attend})
    assert tuple(seen) == tiny.sites
    names = {f"{site.name}.processor" for site in seen}
    assert names == tiny.unet.attn_processors.keys()
    assert [site.kind for site in seen] == ["self", "cross"] * 16
    blocks = [*dict.fromkeys(site.block for site in seen)]
    down, up = ([f"{part}_blocks.{n}" for n in range(4)] for part in ("down", "up"))
    assert blocks == [*down[:3], "mid_block", *up[1:]]


def noting(seen):
    """Plain attention that notes each layer and how many tokens ask in it."""

    def attend(q, k, v, site):
        seen[site] = q.shape[2]
        return scaled_dot_product_attention(q, k, v)

    return {"attend": attend}


def test_works_on_a_control_network(tiny):
    control = ControlNetModel.from_unet(tiny.unet)
    sites, seen = install(control), {}
    x, text = torch.zeros(1, 4, 8, 8), torch.zeros(1, 77, 32)
    control(x, 1, text, torch.zeros(1, 3, 64, 64), cross_attention_kwargs=noting(seen))
    assert tuple(seen) == sites
    assert len(sites) == 14


def test_a_sites_stride_gives_its_grid(tiny):
    """The tokens that reach each layer are those of the grid said beforehand, at an
    uneven size too."""
    x, text = torch.zeros(2, 4, 24, 8), torch.zeros(2, 77, 32)
    grid, found = Grid(2, 24, 8), {}
    with torch.no_grad():
        tiny.unet(x, 1, text, cross_attention_kwargs=noting(found))
    assert all(grid.at(site).tokens == tokens for site, tokens in found.items())
    assert {site.stride for site in found} == {
        (1, 1, 1),
        (1, 2, 2),
        (1, 4, 4),
        (1, 8, 8),
    }
    assert {site.block for site in found if site.finest} == {
        "down_blocks.0",
        "up_blocks.3",
    }
    # Sides that do not divide are rounded up.
    assert Grid(5, 9, 7).over((1, 4, 4)) == (5, 3, 2)
    assert Grid(5, 9, 7).over((2, 1, 1)) == (3, 9, 7)
