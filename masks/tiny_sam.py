"""The built-in SAM: `segment_anything`'s own prompt encoder and mask decoder behind a small image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors.torch import load_file, save_file
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 256  # pixels of the long side the encoder sees
STRIDE = 8  # pixels per token; masks come out at SIZE / 2
WIDTH = 128  # of the embedding and the decoder
FILE = "model.safetensors"


class Encoder(nn.Module):
    """Convolutions down to 8 pixels per token, attention at 16, both fused at 8.

    Attributes:
        img_size: What `SamPredictor` scales the long side of a frame to.
    """

    def __init__(self, channels: tuple[int, int] = (48, 96), depth: int = 3) -> None:
        super().__init__()
        fine, middle = channels
        self.img_size = SIZE
        self.fine = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, fine, 3, padding=1), _Residual(fine))
        self.middle = nn.Sequential(nn.Conv2d(fine, middle, 2, 2), _Residual(middle), _Residual(middle))
        self.coarse = nn.Conv2d(middle, WIDTH, 2, 2)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, 4, 4 * WIDTH, dropout=0.0, activation=F.relu, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.lateral = nn.Conv2d(middle, WIDTH, 1)
        self.out = nn.Sequential(
            nn.GroupNorm(8, WIDTH), nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GroupNorm(1, WIDTH)
        )

    def forward(self, x: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width grid grid"]:
        """Embed normalised pictures."""
        middle = self.middle(self.fine(x))
        coarse = self.coarse(middle)
        tokens = coarse.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        context = tokens.transpose(1, 2).reshape(coarse.shape)
        return self.out(self.lateral(middle) + F.interpolate(context, scale_factor=2.0, mode="nearest"))


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
    """The network with fresh weights, in float32, for training or to load weights into."""
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        activation=nn.ReLU,
        transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=256, num_heads=4),
        transformer_dim=WIDTH,
        iou_head_depth=2,
        iou_head_hidden_dim=WIDTH,
    )
    prompts = PromptEncoder(
        WIDTH, (SIZE // STRIDE, SIZE // STRIDE), (SIZE, SIZE), mask_in_chans=16, activation=nn.ReLU
    )
    encoder: Any = Encoder()  # the library names its own, but asks only for `img_size` and the shape
    return Sam(encoder, prompts, decoder)


def set_size(sam: Sam, size: int) -> None:
    """Work at `size` pixels, a multiple of 16: training starts small."""
    encoder: Any = sam.image_encoder
    encoder.img_size = size
    grid = (size // STRIDE, size // STRIDE)
    prompts: Any = sam.prompt_encoder
    prompts.image_embedding_size, prompts.input_image_size = grid, (size, size)
    prompts.mask_input_size = (4 * grid[0], 4 * grid[1])


def load_tiny_sam(folder: Path) -> Sam:
    """Weights written by `save_tiny_sam`, ready to predict."""
    sam = build_tiny_sam()
    sam.load_state_dict({name: value.float() for name, value in load_file(folder / FILE).items()})
    return sam.eval()


def save_tiny_sam(sam: Sam, folder: Path) -> None:
    """Write the weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().half().contiguous() for name, value in sam.state_dict().items()}
    save_file(weights, folder / FILE)
