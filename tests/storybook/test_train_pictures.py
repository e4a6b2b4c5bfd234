"""The picture adapter of the built-in model: what it is trained on, and that what is
trained is what runs."""

import pytest
import torch
from safetensors.torch import save_file

from regrain.editing.models.files.location import PictureSpec
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.pictures.adapter import load_pictures
from storybook.training.pictures import DRAWN, PictureNet, draw_sample

pytestmark = pytest.mark.full


def net_for(unet):
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return PictureNet(
        unet, [name for name in names if unet.get_submodule(name).is_cross_attention]
    )


@torch.no_grad()
def test_what_is_trained_is_what_runs(tmp_path):
    backbone = load_backbone("storybook")
    net = net_for(backbone.unet)
    # 2 MB in half precision
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    save_file(
        {name: value.contiguous() for name, value in net.named().items()},
        tmp_path / "own.safetensors",
    )
    shown = draw_sample(1)["shown"]
    from PIL import Image

    Image.fromarray(shown[0]).save(tmp_path / "one.png")
    asked = [PictureSpec("", 0, tmp_path / "one.png", None, "picture")]
    pictures = load_pictures(str(tmp_path / "own.safetensors"), asked, backbone)
    ours = net.tokens(
        torch.from_numpy(shown[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    )
    assert (pictures.seen[0].tokens[0] - ours).abs().max() < 1e-5
    assert (
        pictures.seen[0].tokens[1] - net.tokens(torch.zeros(1, 3, DRAWN, DRAWN))
    ).abs().max() < 1e-5
    site = next(
        site
        for site in backbone.sites
        if site.kind == "cross" and site.block == "mid_block"
    )
    q = torch.randn(1, 8, 16, 32)
    wanted = net.term(q, site, ours)
    assert (pictures.term(q, site.name, "cond", 0) - wanted).abs().max() < 1e-5
