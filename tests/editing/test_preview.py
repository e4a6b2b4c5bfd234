"""The linear preview recovers what is linear, and heat is scaled to its strongest pixel."""

import numpy as np
import torch

from editing.preview import LatentPreview, heat


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
