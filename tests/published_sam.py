"""SAM 2 and SAM 3 in the published layout, tiny and with random weights."""

from pathlib import Path

import torch
from json_files import read_json, write_json

from regrain.editing.models.weights.folder import clip_tokenizer

# of what both decode; memory has 64 channels, and the width must be a larger multiple
# of them
WIDTH = 128
SAM2_SIDE = 128
SAM3_SIDE = 112


def _decoders(side: int, patch: int) -> dict:
    """What both have behind their encoders: prompts, masks and memory."""
    prompts = {"hidden_size": WIDTH, "image_size": side, "patch_size": patch}
    masks = {
        "hidden_size": WIDTH,
        "mlp_dim": 64,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 32,
    }
    attention = {"hidden_size": WIDTH, "num_layers": 1, "feed_forward_hidden_size": 64}
    attention["rope_feat_sizes"] = [side // patch] * 2
    return {
        "prompt_encoder_config": prompts,
        "mask_decoder_config": masks,
        "image_size": side,
        **{f"memory_attention_{name}": value for name, value in attention.items()},
        "memory_encoder_hidden_size": WIDTH,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": WIDTH,
        "memory_fuser_embed_dim": WIDTH,
        "memory_fuser_intermediate_dim": 64,
        "memory_fuser_num_layers": 1,
    }


def _sizes(side: int) -> dict:
    return {"height": side, "width": side}


def write_sam2(folder: Path, seed: int = 0) -> Path:
    """Write a SAM 2 as `facebook/sam2.1-hiera-tiny` is published, 1.4 M numbers."""
    import transformers

    side = SAM2_SIDE
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 1,
        "image_size": [side, side],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [4],  # never the first block of a stage
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": WIDTH,
    }
    vision["backbone_channel_list"] = [128, 64, 32, 16]
    vision["backbone_feature_sizes"] = [[side // n] * 2 for n in (4, 8, 16)]
    config = transformers.Sam2VideoConfig(vision_config=vision, **_decoders(side, 16))
    _save(transformers.Sam2VideoModel, config, folder, seed)
    transformers.Sam2VideoProcessor(
        transformers.Sam2ImageProcessor(size=_sizes(side), mask_size=_sizes(side // 4)),
        transformers.Sam2VideoVideoProcessor(size=_sizes(side)),
        target_size=side,
    ).save_pretrained(folder)
    return folder


_TEXT = {
    "model_type": "clip_text_model",
    "vocab_size": 49408,
    "hidden_size": 16,
    "intermediate_size": 32,
    "projection_dim": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def write_sam3(folder: Path, seed: int = 0) -> Path:
    """Write a SAM 3 as `facebook/sam3` is published, detector and tracker in one file,
    3 M numbers."""
    import transformers

    side = SAM3_SIDE
    grid = SAM3_SIDE // 14
    small = {
        "hidden_size": WIDTH,
        "num_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": side // 2,
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": WIDTH,
    }
    vision["backbone_feature_sizes"] = [[n * grid] * 2 for n in (4, 2, 1)]
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": _TEXT,
        "geometry_encoder_config": small,
        "detr_encoder_config": small,
        "detr_decoder_config": {**small, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": WIDTH, "num_attention_heads": 4},
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        **_decoders(side, 14),
    }
    both = {"detector_config": detector, "tracker_config": tracker}
    config = transformers.Sam3VideoConfig(**both, low_res_mask_size=4 * grid)
    _save(transformers.Sam3VideoModel, config, folder, seed)
    transformers.Sam3VideoProcessor(
        transformers.Sam3ImageProcessor(size=_sizes(side), mask_size=_sizes(4 * grid)),
        transformers.Sam2VideoVideoProcessor(size=_sizes(side)),
        clip_tokenizer(),
        target_size=side,
    ).save_pretrained(folder)
    return folder


def _save(kind, config, folder: Path, seed: int) -> None:
    """Random weights; what says whether a thing is there, and at which logits, is
    spread out."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).eval()
        for name, weight in model.named_parameters():
            if (
                name.endswith("upscale_conv2.weight")
                or "output_hypernetworks_mlps" in name
            ):
                weight.data.normal_(0, 0.3)
            if name.endswith("pred_obj_score_head.proj_out.bias"):
                weight.data.fill_(2.0)  # there, or masks are empty everywhere
        model.save_pretrained(folder)


def change_config(folder: Path, **values) -> None:
    """Change entries of config.json."""
    path = folder / "config.json"
    write_json(path, read_json(path) | values)
