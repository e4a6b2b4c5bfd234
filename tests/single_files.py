"""Models of diffusers as single files: weights under the names of the original
checkpoints."""

import torch
from safetensors.torch import save_file

from regrain.editing.models.loading.load import load_backbone

EIGHT = torch.float8_e4m3fn


def original_layout(model, version="sd1"):
    """Rename the weights of a diffusers model to the layout of the original
    checkpoints."""
    out = {}
    names = NAMES | (
        {"up_blocks.0.upsamplers.0": "output_blocks.2.2"} if version == "sdxl" else {}
    )
    for key, value in model.unet.state_dict().items():
        out["model.diffusion_model." + unet_key(key, names)] = value
    for key, value in model.vae.state_dict().items():
        name = vae_key(key)
        is_attention_weight = ".attn_1." in name and value.ndim == 2
        out["first_stage_model." + name] = (
            value[:, :, None, None] if is_attention_weight else value
        )
    place = "conditioner.embedders.0" if version == "sdxl" else "cond_stage_model"
    if version == "sd2":
        out |= openclip(model.text_encoder, f"{place}.model.")
    else:
        clip = model.text_encoder.state_dict().items()
        out |= {
            f"{place}.transformer.text_model.{key.removeprefix('text_model.')}": x
            for key, x in clip
        }
    if version == "sdxl":
        out |= openclip(model.parts["text_encoder_2"], "conditioner.embedders.1.model.")
    return {key: value.contiguous().clone() for key, value in out.items()}


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
PARTS = tuple(enumerate(("resnets", "attentions")))


# Blocks of 3 in the encoder (two layers, one downsampler) and in the decoder (three
# layers).
NAMES = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    **{f"down_blocks.{b}.{part}.{i}": f"input_blocks.{3 * b + i + 1}.{n}"
       for b in range(4) for i in range(2) for n, part in PARTS},
    **{f"down_blocks.{b}.downsamplers.0.conv": f"input_blocks.{3 * b + 3}.0.op" for b in range(4)},
    **{f"up_blocks.{b}.{part}.{i}": f"output_blocks.{3 * b + i}.{n}"
       for b in range(4) for i in range(3) for n, part in PARTS},
    **{f"up_blocks.{b}.upsamplers.0": f"output_blocks.{3 * b + 2}.{2 if b else 1}" for b in range(4)},
}  # fmt: skip


def unet_key(key, names=NAMES):
    ours = next(name for name in names if key.startswith(f"{name}."))
    rest = key.removeprefix(ours)
    for part, theirs in RESNET.items() if ".resnets." in ours else ():
        rest = rest.replace(part, theirs)
    return names[ours] + rest


def vae_key(key):
    for ours, theirs in {
        "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
        "to_out.0": "proj_out", "conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut",
        "downsamplers.0": "downsample", "upsamplers.0": "upsample", "resnets": "block", "down_blocks": "down",
    }.items():  # fmt: skip
        key = key.replace(ours, theirs)
    for ours in range(4):
        if f"up_blocks.{ours}." in key:
            return key.replace(f"up_blocks.{ours}.", f"up.{3 - ours}.")
    return key


def openclip(encoder, place):
    """OpenCLIP keeps q, k and v in one matrix."""
    text = {
        key.removeprefix("text_model."): value
        for key, value in encoder.state_dict().items()
    }
    out = {}
    for key, value in text.items():
        for ours, theirs in {
            "embeddings.token_embedding": "token_embedding",
            "embeddings.position_embedding.weight": "positional_embedding",
            "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1",
            "layer_norm2": "ln_2", "self_attn": "attn", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        }.items():  # fmt: skip
            key = key.replace(ours, theirs)
        if ".k_proj." in key or ".v_proj." in key:
            continue
        if ".q_proj." in key:
            source = next(name for name in text if text[name] is value)
            stacked = torch.cat(
                [text[source.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            )
            key = key.replace("q_proj.", "in_proj_")
            value = stacked
        if key == "text_projection.weight":
            key = "text_projection"
            value = value.T
        out[place + key] = value
    return out


def load_file_of(weights, path, metadata=None):
    """A backbone of weights stored in one file."""
    save_file(weights, path, metadata)
    return load_backbone(str(path))


def assert_same(model, expected, parts=("unet", "vae", "text_encoder")):
    for part in parts:
        ours = model.parts[part].state_dict()
        theirs = expected.parts[part].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def in_eight_bits(weights):
    """All matrices in 8 bits, their scales in one spelling after the other; and what
    they should be read as."""
    found, expected = dict(weights), {}
    matrices = [name for name in weights if name.endswith(".weight")]
    matrices = [name for name in matrices if weights[name].ndim > 1]
    for number, name in enumerate(matrices):
        whole, layer = weights[name].float(), name.removesuffix(".weight")
        rows = [1] * (whole.ndim - 1)
        by_row = whole.flatten(1).abs().amax(1).view(-1, *rows) / 300 + 1e-6
        scale = by_row if number % 2 else by_row.max()
        found[name] = (whole / scale).to(EIGHT)
        expected[name] = found[name].float() * scale
        shape = (((), (1,)), ((-1,), (-1, *rows)))[number % 2][number // 2 % 2]
        end = "weight_scale" if number % 3 else "scale_weight"
        found[f"{layer}.{end}"] = scale.reshape(shape).contiguous()
        found[f"{layer}.{'input_scale' if number % 3 else 'scale_input'}"] = scale.max()
        found[f"{layer}.comfy_quant"] = torch.tensor([*b"{}"], dtype=torch.uint8)
    found["scaled_fp8"] = torch.zeros(2, dtype=EIGHT)
    return found, expected
