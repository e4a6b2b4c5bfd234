"""The control network's trainer: it begins as nothing, learns, and what it saves is one the product takes."""

import numpy as np
import torch

from regrain.editing import load_backbone
from regrain.editing.models.control_net import load_control_net
from storybook import sample_scene
from storybook.train_control import copied, edges, predict
from storybook.train_unet import noised
from storybook.world import render_frames


def test_it_begins_as_nothing_and_learns_to_add_something(tmp_path):
    model = load_backbone("storybook")
    net = copied(model.unet)
    hint = edges(np.stack([render_frames(sample_scene(s), 128, (0,))[0] for s in (0, 1)]))
    assert set(hint.unique().tolist()) == {0.0, 1.0}
    rng = torch.Generator().manual_seed(0)
    abar = torch.tensor(model.schedule.alphas_cumprod, dtype=torch.float32)
    x, t, v = noised(torch.randn(2, 16, 16, 16, generator=rng), abar, rng)
    text = model.embed(["a cat walks", "a dog walks"]).vectors
    with torch.no_grad():
        alone = model.unet(x, t, text).sample
    first = predict(net, model.unet, x, t, text, hint)
    assert torch.allclose(first, alone, atol=0.05)  # half precision, where the processor computes in it
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    # Edges are let in from the second step on, when what follows them is not zero any more.
    for _ in range(3):
        optimiser.zero_grad()
        (predict(net, model.unet, x, t, text, hint) - v).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        then = predict(net, model.unet, x, t, text, hint)
        other = predict(net, model.unet, x, t, text, hint.flip(0))
    assert (then - alone).abs().max() > 0.2
    assert not torch.equal(then, other)

    net.half().save_pretrained(tmp_path / "canny")
    taken, _ = load_control_net(str(tmp_path / "canny"), model)
    assert 2 * sum(p.numel() for p in taken.parameters()) < 8 * 2**20  # bytes as shipped
