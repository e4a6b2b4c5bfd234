"""A motion adapter of random weights, written as diffusers writes one; motion that is
the same everywhere."""

import torch
from diffusers import MotionAdapter


def constant(
    right: float, down: float, frames: int = 1, height: int = 12, width: int = 16
) -> torch.Tensor:
    """Flow by so many pixels."""
    motion = torch.tensor([float(right), float(down)]).view(1, 2, 1, 1)
    return motion.expand(frames, 2, height, width).clone()


def write_adapter(folder, unet, *, middle=True, positions=32, heads=4):
    """Made for a UNet, with a last layer that is not zero, as that of an untrained
    adapter is."""
    config = unet.config
    torch.manual_seed(5)
    adapter = MotionAdapter(
        block_out_channels=config.block_out_channels,
        motion_layers_per_block=config.layers_per_block,
        motion_num_attention_heads=heads,
        motion_norm_num_groups=config.norm_num_groups,
        motion_max_seq_length=positions,
        use_motion_mid_block=middle,
    )
    for weight in adapter.parameters():  # proj_out begins as zero
        weight.data = (
            weight.data
            + 0.3 * torch.randn_like(weight) / max(1, weight.shape[-1]) ** 0.5
        )
    adapter.save_pretrained(folder)
    return adapter
