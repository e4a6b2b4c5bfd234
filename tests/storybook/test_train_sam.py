import numpy as np
import pytest
import torch
from segment_anything.modeling import MaskDecoder

from regrain.masks.models import tiny_sam
from storybook import render, sample_scene
from storybook.click_pictures import scene_levels
from storybook.training import sam as trained_sam

pytestmark = pytest.mark.full


def test_levels_agree_with_the_worlds_truth():
    scene = sample_scene(5, 1, 3)
    drawn, levels = render(scene, 128), scene_levels(scene, 128, 0)
    assert (levels[0] == drawn.labels[0]).all()
    assert (
        levels[1]
        == np.where(drawn.labels[0] > 0, 5 * drawn.labels[0] + drawn.parts[0], 0)
    ).all()


def test_without_edges_the_decoder_is_the_librarys():
    """Several pictures at once, two prompts each, against one prompt at a time."""
    torch.manual_seed(0)
    sam = tiny_sam.build_tiny_sam().eval()
    torch.nn.init.zeros_(sam.mask_decoder.mix[2].weight)
    torch.nn.init.zeros_(sam.mask_decoder.mix[2].bias)
    features = torch.cat(
        [torch.randn(2, tiny_sam.WIDTH, 32, 32), torch.zeros(2, 384, 32, 32)], 1
    )
    points, labels = (
        torch.rand(4, 2, 2) * tiny_sam.SIZE,
        torch.tensor([[1.0, 0], [1, 1], [0, 1], [1, 1]]),
    )
    sparse, dense = sam.prompt_encoder(
        (points, labels), None, torch.randn(4, 1, 128, 128)
    )
    masks, quality = trained_sam.decode(sam, features, (sparse, dense))
    place = sam.prompt_encoder.get_dense_pe()
    for i in range(4):
        embedding, one = (
            features[i // 2 : i // 2 + 1, : tiny_sam.WIDTH],
            np.s_[i : i + 1],
        )
        wanted = MaskDecoder.predict_masks(
            sam.mask_decoder, embedding, place, sparse[one], dense[one]
        )
        assert torch.allclose(masks[i], wanted[0][0], atol=1e-4)
        assert torch.allclose(quality[i], wanted[1][0], atol=1e-4)
