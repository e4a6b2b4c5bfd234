"""One .safetensors file in the original Stable Diffusion layout, read offline.

The architecture comes from `assets/checkpoints` and widths from the tensors, so narrow
and pruned checkpoints load too.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.facts import ModelFacts
from regrain.editing.models.files.file_head import (
    OPENCLIP_TEXT,
    TEXT,
    UNET,
    V_MARK,
    VAE,
    ZERO_SNR,
    FileHead,
    stock_config,
    token_table,
)
from regrain.editing.models.files.wan_file import count_parts
from regrain.editing.models.weights.folder import (
    ModelParts,
    check_configs,
    clip_tokenizer,
    with_prediction,
)
from regrain.editing.models.weights.tensors import read_tensors
from regrain.editing.storage.beside_weights import check_unread
from regrain.editing.storage.texts import Content

Checkpoint = Mapping[str, Tensor]
"""The tensors of a file by name."""
TITLES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "SDXL"}
HEAD = 64  # width of a head wherever a checkpoint does not fix their number
EPS_CORRELATION = 0.5


def read_file(
    facts: ModelFacts, head: FileHead, dtype: torch.dtype, prediction: str
) -> ModelParts:
    """Read one checkpoint file.

    Stable Diffusion 2.x is recognised by its OpenCLIP text encoder (cross-attention
    1024 wide). Most files do not say what the network predicts. It is taken from, in
    this order: an empty tensor named `v_pred`, the metadata
    (`modelspec.prediction_type`), `prediction`, and for 2.x the network itself
    (`guess_prediction`). An empty tensor named `ztsnr` says that the last level has no
    signal, and the metadata may say which layer of the text encoder is read, and the
    size of pictures (`modelspec.resolution`). Without that, SDXL works at 1024 pixels,
    2.x with v-prediction at 768, all others at 512.

    Args:
        facts, head: Of the file.
        dtype: Type of UNet and text encoders.
        prediction: What the network predicts, for files that do not say.
    Raises:
        ModelError: The file is not a complete checkpoint of Stable Diffusion 1.x, 2.x
            or XL, or says that it is of a kind that is not supported.
    """
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    name = shorten(head.path.name)
    if not prediction:
        head.check_silence()
    head.check_whole()
    version = head.version
    skipped = head.skipped_layers
    head.side("")  # which is a side
    scheduler = with_prediction(facts.scheduler, prediction, name)
    check_configs({}, {"prediction_type": "v_prediction"} | scheduler, head.path.name)
    checkpoint = read_tensors(head.path)
    # Some weights are missing, or have shapes that no such model has.
    with boundary(
        "model",
        f"{name} is not a complete {TITLES[version]} checkpoint. Use another.",
        ModelError,
    ):
        unet, read = _unet(checkpoint, version)
        keys = [f"{VAE}encoder.down.{level}.block.0.conv2.weight" for level in range(4)]
        widths = {"block_out_channels": [len(checkpoint[key]) for key in keys]}
        with init_empty_weights():
            vae = AutoencoderKL.from_config(stock_config(version, "vae") | widths)
        read |= _fill(
            vae, partial(convert_ldm_vae_checkpoint, config=vae.config), checkpoint
        )
        modules = {"unet": unet, "vae": vae}
        for part in TEXT[version]:
            modules[part], names = _text_encoder(checkpoint, version, part, skipped)
            read |= names
    check_unread(checkpoint.keys() - read - {V_MARK, ZERO_SNR}, name)
    for part, module in modules.items():
        module.to(torch.float32 if part == "vae" else dtype).eval()
    pad = "!" if version == "sd2" else "<|endoftext|>"
    tokenizer = clip_tokenizer(pad)
    if "prediction_type" not in scheduler and version == "sd2":
        ids = torch.tensor(tokenizer([""], padding="max_length").input_ids)
        empty = modules["text_encoder"](ids).last_hidden_state
        scheduler["prediction_type"] = guess_prediction(unet, empty)
    scheduler.setdefault("prediction_type", "epsilon")
    if side := head.side(scheduler["prediction_type"]):
        unet.register_to_config(sample_size=side // 8)
    return ModelParts(modules, tokenizer, scheduler)


@torch.no_grad()
def guess_prediction(unet: Callable, text: Tensor) -> str:
    """Find out what a network predicts from its output at the noisiest level, on almost
    pure noise.

    A network for eps returns nearly that noise (correlation close to 1). One for v
    returns minus the image that it expects, which does not resemble the noise. `text`
    is the encoded empty prompt, [1, L, d].
    """
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = unet(noise.to(text), 999, text).sample.float()
    correlation = torch.corrcoef(torch.stack([answer.flatten(), noise.flatten()]))[
        0, 1
    ].item()
    return "epsilon" if correlation > EPS_CORRELATION else "v_prediction"


def _unet(checkpoint: Checkpoint, version: str) -> tuple[nn.Module, set[str]]:
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = stock_config(version, "unet")
    levels = range(len(config["block_out_channels"]))
    # with the one that halves the sides
    blocks_per_level = config["layers_per_block"] + 1
    starts = [f"{UNET}input_blocks.{1 + blocks_per_level * level}." for level in levels]
    widths = [len(checkpoint[f"{start}0.out_layers.3.weight"]) for start in starts]
    attention = f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    own: Content = {
        "in_channels": checkpoint[f"{UNET}input_blocks.0.0.weight"].shape[1],
        "block_out_channels": widths,
        "cross_attention_dim": checkpoint[attention].shape[1],
    }
    if version != "sd1":
        own["attention_head_dim"] = [max(1, width // HEAD) for width in widths]
    if version == "sdxl":
        depths = [
            count_parts(checkpoint, f"{start}1.transformer_blocks.") for start in starts
        ]
        own["transformer_layers_per_block"] = [max(1, depth) for depth in depths]
        # SDXL's input beside the text: pooled text, and six sizes
        both = checkpoint[f"{UNET}label_emb.0.0.weight"].shape[1]
        pooled = checkpoint[f"{TEXT[version]['text_encoder_2']}text_projection"]
        own["projection_class_embeddings_input_dim"] = both
        own["addition_time_embed_dim"] = (both - pooled.shape[1]) // 6
    check_configs(config | own, {}, TITLES[version])
    with init_empty_weights():
        unet: Any = UNet2DConditionModel.from_config(config | own)
    convert = partial(convert_ldm_unet_checkpoint, config=unet.config)
    return unet, _fill(unet, convert, checkpoint)


def _text_encoder(
    checkpoint: Checkpoint, version: str, part: str, skipped: int
) -> tuple[nn.Module, set[str]]:
    """Build a text encoder; also return the names of what it takes, or may leave
    out."""
    from accelerate import init_empty_weights
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_open_clip_checkpoint,
    )
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    prefix = TEXT[version][part]
    is_openclip = prefix.endswith(f".{OPENCLIP_TEXT}")
    if is_openclip:
        layers = f"{prefix}transformer.resblocks."
        wide = "mlp.c_fc"
    else:
        layers = f"{prefix}encoder.layers."
        wide = "mlp.fc1"
    vocabulary, width = checkpoint[token_table(version, part)].shape
    depth = count = count_parts(checkpoint, layers)
    if version == "sd2":
        depth = min(depth, 23)  # 2.x reads the last but one
    depth = max(1, depth - skipped)
    config = stock_config(version, part) | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_attention_heads": max(1, width // HEAD),
        "num_hidden_layers": depth,
        "intermediate_size": len(checkpoint[f"{layers}0.{wide}.weight"]),
    }
    kind = CLIPTextModel
    if part == "text_encoder_2":
        kind = CLIPTextModelWithProjection
        config["projection_dim"] = checkpoint[f"{prefix}text_projection"].shape[1]
    with init_empty_weights():
        model = kind(CLIPTextConfig(**config))

    def convert(given: Checkpoint) -> Checkpoint:
        if is_openclip:
            found = convert_open_clip_checkpoint(model, given, prefix=prefix)
        else:
            found = convert_ldm_clip_checkpoint(given)
        # transformers 5 has one module less
        less = "" if hasattr(model, "text_model") else "text_model."
        return {key.removeprefix(less): value for key, value in found.items()}

    unread = tuple(f"{layers}{number}." for number in range(depth, count))
    left_out = {name for name in checkpoint if name.startswith(unread)}
    return model, left_out | _fill(model, convert, checkpoint)


def _fill(
    module: nn.Module,
    convert: Callable[[Checkpoint], Checkpoint],
    checkpoint: Checkpoint,
) -> set[str]:
    """Give a part without weights those of a file, after they are renamed as it names
    them; return the names in the file of what it took."""
    names = [*checkpoint]
    # Numbers in the place of weights are found again, whatever is cut out of them.
    numbers = {
        name: torch.full((*one.shape[:1], *[1] * (one.ndim - 1)), number)
        for number, (name, one) in enumerate(checkpoint.items())
    }
    found = convert(numbers)
    expected = module.state_dict().keys() & found.keys()
    weights = convert(checkpoint)
    module.load_state_dict({key: weights[key] for key in expected}, assign=True)
    return {names[int(found[key].flatten()[0])] for key in expected}
