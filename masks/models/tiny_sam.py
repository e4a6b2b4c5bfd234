"""The built-in SAM: `segment_anything`'s own prompt encoder and mask decoder behind a
small image encoder.

Features at 4 and 2 pixels are folded into channels of the embedding and join the
decoder while it upsamples, since edges and thin objects are lost at 8 pixels per token.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 256  # pixels of the long side the encoder sees
STRIDE = 8  # pixels per token; masks come out at SIZE / 2
WIDTH = 128  # of the embedding and the decoder
# channels of features at 4 and at 2 pixels, as in the decoder
EDGES = (WIDTH // 4, WIDTH // 8)


class Encoder(nn.Module):
    """Convolutions down to 8 pixels per token, attention at 16, both fused at 8.

    Attributes:
        img_size: Size in pixels to which `SamPredictor` scales the long side of a
            frame.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle = 48, 96  # channels
        self.img_size = SIZE
        self.fine = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, fine, 3, padding=1), _Residual(fine)
        )
        self.middle = nn.Sequential(
            nn.Conv2d(fine, middle, 2, 2), _Residual(middle), _Residual(middle)
        )
        self.coarse = nn.Conv2d(middle, WIDTH, 2, 2)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH,
                4,
                4 * WIDTH,
                dropout=0.0,
                activation=F.relu,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(3)
        )
        self.lateral = nn.Conv2d(middle, WIDTH, 1)
        self.out = nn.Sequential(
            nn.GroupNorm(8, WIDTH),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.GroupNorm(1, WIDTH),
        )
        self.sharp = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, 32, 3, padding=1)
        )
        self.near = nn.Sequential(
            _Residual(fine), nn.SiLU(), nn.Conv2d(fine, EDGES[0] + 4 * 32, 1)
        )
        self.edges = nn.Sequential(nn.SiLU(), nn.Conv2d(32, EDGES[1], 3, padding=1))

    def forward(
        self, x: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch channels grid grid"]:
        """Embed normalised pictures: the embedding, then `EDGES` folded into channels;
        see `unfolded`."""
        fine = self.fine(x)
        near = self.near(fine)
        at_four = near[:, : EDGES[0]]
        for_two = near[:, EDGES[0] :]
        at_two = self.edges(self.sharp(x) + F.pixel_shuffle(for_two, 2))
        middle = self.middle(fine)
        # attended at 16 pixels
        coarse = self.coarse(middle)
        tokens = coarse.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        context = tokens.transpose(1, 2).reshape(coarse.shape)
        context = F.interpolate(context, scale_factor=2.0, mode="nearest")
        out = self.out(self.lateral(middle) + context)
        four_folded = F.pixel_unshuffle(at_four, 2)
        two_folded = F.pixel_unshuffle(at_two, 4)
        return torch.cat([out, four_folded, two_folded], 1)


def unfolded(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split into embedding and features at 4 and 2 pixels: [b, width, g, g], [.., 2g,
    2g], [.., 4g, 4g]."""
    out, at_four, at_two = features.split([WIDTH, 4 * EDGES[0], 16 * EDGES[1]], 1)
    return out, F.pixel_shuffle(at_four, 2), F.pixel_shuffle(at_two, 4)


class Decoder(MaskDecoder):
    """The library's decoder, with `EDGES` added where it upsamples."""

    def __init__(self) -> None:
        super().__init__(
            num_multimask_outputs=3,
            activation=nn.ReLU,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=WIDTH, mlp_dim=256, num_heads=4
            ),
            transformer_dim=WIDTH,
            iou_head_depth=2,
            iou_head_hidden_dim=WIDTH,
        )
        self.mix = nn.Sequential(
            nn.Conv2d(EDGES[0], EDGES[0], 3, padding=1),
            nn.GELU(),
            nn.Conv2d(EDGES[0], EDGES[0], 1),
        )

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Predict all four masks and their qualities, for prompts of one picture, or
        each of a picture of its own."""
        embedding, at_four, at_two = unfolded(image_embeddings)
        embedding = embedding + dense_prompt_embeddings
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = tokens.expand(len(embedding), -1, -1)
        tokens = torch.cat([tokens, sparse_prompt_embeddings], 1)
        states, keys = self.transformer(
            embedding, image_pe.expand_as(embedding), tokens
        )
        grid = keys.transpose(1, 2).reshape(embedding.shape)
        # from 8 to 2 pixels as the library does, with the encoder's features on the way
        to_four, norm, activate, to_two, activate_again = self.output_upscaling
        x = to_four(grid) + at_four
        x = activate(norm(x))
        x = to_two(x + self.mix(x)) + at_two
        picture = activate_again(x)
        weights = [
            mlp(states[:, 1 + i])
            for i, mlp in enumerate(self.output_hypernetworks_mlps)
        ]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(weights, 1), picture)
        return masks, self.iou_prediction_head(states[:, 0])


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def build_tiny_sam() -> Sam:
    """Build the network with fresh weights, in float32."""
    prompts = PromptEncoder(
        WIDTH,
        (SIZE // STRIDE, SIZE // STRIDE),
        (SIZE, SIZE),
        mask_in_chans=16,
        activation=nn.ReLU,
    )
    # of the library's own it uses only `img_size` and the output
    encoder: Any = Encoder()
    return Sam(encoder, prompts, Decoder())
