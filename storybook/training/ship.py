"""Copy trained weights into the product: `python -m storybook.training.ship --unet RUN/model
--vae RUN/vae`.

Writes `assets/storybook/` as a diffusers folder in fp16, every file under 10 MB, with
the words the model knows. `defaults.json` does not change; without `--unet`, only the
autoencoder does.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel

from storybook.training.autoencoder import SIZE
from storybook.world import vocabulary_groups

ASSETS = Path(__file__).parents[2] / "assets" / "storybook"


def frozen_unet() -> UNet2DConditionModel:
    """Load the shipped UNet, to be used but not trained."""
    unet = UNet2DConditionModel.from_pretrained(
        ASSETS / "unet", torch_dtype=torch.float32
    )
    unet.requires_grad_(False)
    # Written out: the fused kernel's backward pass is slow here.
    unet.set_attn_processor(AttnProcessor())
    return unet


def frozen_text_encoder() -> CLIPTextModel:
    """Load the shipped text encoder, to be used but not trained."""
    text = CLIPTextModel.from_pretrained(ASSETS / "text_encoder", dtype=torch.float32)
    return text.requires_grad_(False)


def frozen_vae() -> AutoencoderDC:
    """Load the shipped autoencoder, to be used but not trained."""
    return AutoencoderDC.from_pretrained(
        ASSETS / "vae", torch_dtype=torch.float32
    ).eval()


def halves(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in half precision, as they are shipped."""
    return {
        name: weight.detach().half().contiguous() for name, weight in weights.items()
    }


def ship_decoder(vae_run: Path, target: Path = ASSETS) -> None:
    """Convert an autoencoder with the same latents as the one in `target`; keeps its
    scale."""
    config = target / "vae" / "config.json"
    kept = config.read_bytes()
    AutoencoderDC.from_pretrained(vae_run, torch_dtype=torch.float16).save_pretrained(
        target / "vae"
    )
    config.write_bytes(kept)


def ship(unet_run: Path, vae_run: Path, target: Path = ASSETS) -> None:
    """Convert both runs to half precision and write them to `target`."""
    unet = UNet2DConditionModel.from_pretrained(
        unet_run / "unet", torch_dtype=torch.float16
    )
    text = CLIPTextModel.from_pretrained(unet_run / "text_encoder", dtype=torch.float16)
    vae = AutoencoderDC.from_pretrained(vae_run, torch_dtype=torch.float16)
    # Only now: a part that stays may be read from where it is written.
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.rmtree(target / name, ignore_errors=True)
    unet.save_pretrained(target / "unet", max_shard_size="9MB")
    text.save_pretrained(target / "text_encoder")
    vae.save_pretrained(target / "vae")
    scale = json.loads((unet_run / "scale.json").read_text())["scaling_factor"]
    _change_config(
        target / "vae" / "config.json", scaling_factor=scale, sample_size=SIZE
    )
    for path in target.glob("*/config.json"):
        _change_config(path)
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(unet_run / name, target / name)
    (target / "words.json").write_text(json.dumps(vocabulary_groups(), indent=1) + "\n")


def _change_config(path: Path, **facts: object) -> None:
    """Add facts to a configuration, and leave out the path on the machine it was
    trained on."""
    config = json.loads(path.read_text()) | facts
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--unet", type=Path, help="UNet to copy; default: only the decoder"
    )
    parser.add_argument("--vae", type=Path, required=True)
    args = parser.parse_args()
    if args.unet:
        ship(args.unet, args.vae)
    else:
        ship_decoder(args.vae)


if __name__ == "__main__":
    main()
