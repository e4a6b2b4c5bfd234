"""Train UNet and text encoder together: `python -m storybook.train_unet --data DIR --vae VAE --run RUN`.

v-prediction on the SD noise schedule, weights that fall at low noise, caption dropout, EMA. Latents are
encoded once beside the pictures. The run folder keeps weights, EMA and optimiser as safetensors and resumes;
`--init` starts from shipped weights with a fresh optimiser. `RUN/model` is a diffusers folder of the EMA,
ready for `storybook.ship`.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from storybook import dataset, tokenizer
from storybook.train_autoencoder import SIZE
from storybook.training import Run
from storybook.world import Scene, render_frames, vocabulary

log = logging.getLogger(__name__)
UNET = {
    "sample_size": 16,
    "in_channels": 16,
    "out_channels": 16,
    "block_out_channels": (64, 128, 256),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": (2, 4, 8),  # diffusers means the number of heads
    "cross_attention_dim": 128,
}
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": tokenizer.MAX_TOKENS,
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "timestep_spacing": "leading",
}
# Of the latents. Neighbouring cells are alike, so at deviation 1 the schedule's last level still shows who is
# where and an edit from inverted latents keeps the old shapes (after Chen 2023, arXiv:2301.10972).
DEVIATION = 0.4
PROBES = (100, 300, 500, 700, 850, 950)


def wordings(scene: Scene) -> tuple[str, str]:
    """The caption, and the actors alone."""
    return scene.caption, " and ".join(a.phrase for a in scene.actors)


@torch.no_grad()
def encode(vae: AutoencoderDC, pictures: np.ndarray) -> Tensor:
    """uint8 [n, s, s, 3] to raw latents float16 [n, 16, 16, 16]."""
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        return (
            torch.cat([vae.encoder(b.contiguous(memory_format=torch.channels_last)) for b in x.split(50)])
            .half()
            .contiguous()
        )


def cached_latents(data: Path, cache: Path, vae: AutoencoderDC) -> Tensor:
    """Latents of every shard, encoded where missing."""
    cache.mkdir(parents=True, exist_ok=True)
    out = []
    for path in sorted(data.glob("pictures_?????.npy")):
        target = cache / (path.stem + ".safetensors")
        if not target.exists():
            save_file({"z": encode(vae, np.load(path, mmap_mode="r"))}, target)
            log.info("encoded %s", path.stem)
        out.append(load_file(target)["z"])
    return torch.cat(out)


class Captions:
    """Token ids of every training caption, and of the held-out ones with a wrong and a swapped wording."""

    def __init__(self, folder: Path, count: int) -> None:
        self.tokenizer = tokenizer.build(vocabulary(), folder)
        scenes = [dataset.training_scene(dataset.FIRST_TRAINING_SEED + i) for i in range(count)]
        self.full = self.ids([wordings(s)[0] for s in scenes])
        self.short = self.ids([wordings(s)[1] for s in scenes])
        self.empty = self.ids([""])

    def ids(self, texts: list[str]) -> Tensor:
        """int64 [n, `tokenizer.MAX_TOKENS`]."""
        kw = {
            "padding": "max_length",
            "truncation": True,
            "max_length": tokenizer.MAX_TOKENS,
            "return_tensors": "pt",
        }
        return self.tokenizer(texts, **kw).input_ids

    def draw(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        """10 % empty, 15 % actors only, else the caption."""
        u = torch.rand(len(rows), 1, generator=rng)
        return torch.where(u < 0.1, self.empty, torch.where(u < 0.25, self.short[rows], self.full[rows]))


def embed(text: CLIPTextModel, ids: Tensor) -> Tensor:
    """Text vectors [n, 32, d], padding zeroed: else its many copies of the sentence outweigh the words."""
    end = (ids == text.config.eos_token_id).long()
    return text(ids).last_hidden_state * ((end.cumsum(1) - end) == 0)[..., None]


def probe(
    unet: UNet2DConditionModel, text: CLIPTextModel, held: Tensor, ids: dict[str, Tensor], abar: Tensor
) -> dict[str, float]:
    """Mean squared x0 error over the latents' variance at fixed levels."""
    out = {}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for name, t in [*(("right", t) for t in PROBES), ("wrong", 850), ("wrong", 950), ("swapped", 850)]:
            noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(t))
            a, s = abar[t].sqrt(), (1 - abar[t]).sqrt()
            x = a * held + s * noise
            v = unet(x, torch.full((len(x),), t), embed(text, ids[name])).sample.float()
            out[f"{name}{t}"] = round(float(((a * x - s * v) - held).square().mean() / held.var()), 4)
    return out


def main() -> None:
    """Train, resuming whatever stands in the run folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--ema", type=float, default=0.9993, help="decay per step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=int, default=250, help="steps between lines of the curve")
    parser.add_argument("--init", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    folder = args.run / "model"
    folder.mkdir(parents=True, exist_ok=True)

    vae = AutoencoderDC.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    z = cached_latents(args.data, args.run / "latents", vae)
    scale = DEVIATION / float(z[:4000].float().std())
    captions = Captions(folder / "tokenizer", len(z))
    held_scenes = [dataset.training_scene(s) for s in range(500, 564)]
    held = encode(vae, np.stack([render_frames(s, SIZE, (3,))[0] for s in held_scenes])).float() * scale
    texts = [s.caption for s in held_scenes]
    swapped = [" and ".join(reversed(wordings(s)[1].split(" and "))) for s in held_scenes]
    ids = {
        "right": captions.ids(texts),
        "wrong": captions.ids(texts[1:] + texts[:1]),
        "swapped": captions.ids(swapped),
    }

    words = captions.tokenizer
    text_config = CLIPTextConfig(
        vocab_size=len(words),
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        zero_padding=True,
        **TEXT,
    )
    if args.init:
        unet = UNet2DConditionModel.from_pretrained(args.init / "unet", torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(args.init / "text_encoder", dtype=torch.float32)
        text.config.zero_padding = True
    else:
        unet, text = UNet2DConditionModel(**UNET), CLIPTextModel(text_config)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    model = nn.ModuleDict({"unet": unet, "text": text})
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=args.rate, weight_decay=1e-2, betas=(0.9, 0.99), fused=True
    )
    run = Run(args.run, model, optimiser, ema=args.ema)

    def show() -> None:
        run.exchange()
        unet.eval()
        run.report(probe(unet, text, held, ids, abar))
        unet.save_pretrained(folder / "unet")
        text.save_pretrained(folder / "text_encoder")
        unet.train()
        run.exchange()

    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    (folder / "scale.json").write_text(json.dumps({"scaling_factor": scale}))
    snr = abar / (1 - abar)
    # 1 at high noise, where the words decide, and falling like min-SNR where only detail is left.
    loss_weight = 5.0 / (snr + 5.0)
    while run.done < args.samples:
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + run.done)
        run.pace(args.rate, args.samples, warm=4000)
        rows = torch.randint(len(z), (args.batch,), generator=rng)
        x0 = z[rows].float() * scale
        t = torch.randint(1000, (args.batch,), generator=rng)
        noise = torch.randn(x0.shape, generator=rng)
        a, s = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            hidden = embed(text, captions.draw(rows, rng))
            v = unet(a * x0 + s * noise, t, hidden).sample
        error = (v.float() - (a * noise - s * x0)).square().mean((1, 2, 3))
        run.step((loss_weight[t] * error).mean(), args.batch)
        if run.done % (args.batch * args.report) == 0:
            show()
        if run.done % (args.batch * 2 * args.report) == 0:
            run.save()
    run.save()
    show()


if __name__ == "__main__":
    main()
