"""Train UNet and text encoder together: `python -m storybook.train_unet --data DIR --vae VAE --run RUN`.

v-prediction on the SD noise schedule, loss weights that fall at low noise, caption dropout, EMA. Latents are
encoded once and kept beside the pictures. The run folder keeps weights, EMA and optimiser as safetensors and
resumes from them; `--init` starts from shipped weights with a fresh optimiser. `RUN/model` is a
diffusers folder of the EMA, ready for `storybook.ship`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from storybook import dataset, tokenizer
from storybook.muon import Muon
from storybook.train_autoencoder import SIZE
from storybook.training import Run, begin, mixed, options, worker, workers
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
    "attention_head_dim": (2, 4, 8),  # diffusers takes it as the number of heads
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
# Names of input and output layers, which AdamW updates.
ENDS = ("embedding", "conv_in", "conv_out")
PROBES = (100, 300, 500, 700, 850, 950)


def wordings(scene: Scene) -> tuple[str, str]:
    """The caption, and the actors alone."""
    return scene.caption, " and ".join(a.phrase for a in scene.actors)


@torch.no_grad()
def encode(vae: AutoencoderDC, pictures: np.ndarray) -> Tensor:
    """Raw latents, float16 [n, 16, 16, 16], of uint8 [n, s, s, 3]."""
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with mixed():
        return (
            torch.cat([vae.encoder(b.contiguous(memory_format=torch.channels_last)) for b in x.split(50)])
            .half()
            .contiguous()
        )


def cached_latents(data: Path, cache: Path, vae: AutoencoderDC) -> Tensor:
    """Latents of every shard; each worker encodes its share of the missing ones."""
    cache.mkdir(parents=True, exist_ok=True)
    shards = {path: cache / (path.stem + ".safetensors") for path in sorted(data.glob("pictures_?????.npy"))}
    for path, target in [*shards.items()][worker() :: workers()]:
        if not target.exists():
            partial = target.with_suffix(".partial")
            save_file({"z": encode(vae, np.load(path, mmap_mode="r"))}, partial)
            partial.replace(target)
            log.info("encoded %s", path.stem)
    if workers() > 1:
        dist.barrier()
    return torch.cat([load_file(target)["z"] for target in shards.values()])


class Captions:
    """Token ids of every training caption, and of the held-out ones with wrong and swapped words."""

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
    """Text vectors [n, 32, d] with zero padding; otherwise its copies of the sentence outweigh the words."""
    end = (ids == text.config.eos_token_id).long()
    return text(ids).last_hidden_state * ((end.cumsum(1) - end) == 0)[..., None]


class HeldOut:
    """Held-out scenes, and the error of the model with right, wrong and swapped words."""

    def __init__(self, vae: AutoencoderDC, captions: Captions, scale: float, abar: Tensor) -> None:
        scenes = [dataset.training_scene(s) for s in range(500, 564)]
        self.latents = (
            encode(vae, np.stack([render_frames(s, SIZE, (3,))[0] for s in scenes])).float() * scale
        )
        self.abar = abar
        texts = [s.caption for s in scenes]
        swapped = [" and ".join(reversed(wordings(s)[1].split(" and "))) for s in scenes]
        wrong = texts[1:] + texts[:1]
        self.ids = {
            name: captions.ids(t) for name, t in (("right", texts), ("wrong", wrong), ("swapped", swapped))
        }

    @torch.no_grad()
    def probe(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> dict[str, float]:
        """Mean squared x0 error over the latents' variance at fixed levels."""
        out, held = {}, self.latents
        for name, t in [*(("right", t) for t in PROBES), ("wrong", 850), ("wrong", 950), ("swapped", 850)]:
            noise = torch.randn(held.shape, generator=torch.Generator().manual_seed(t))
            a, s = self.abar[t].sqrt(), (1 - self.abar[t]).sqrt()
            x = a * held + s * noise
            with mixed():
                v = unet(x, torch.full((len(x),), t), embed(text, self.ids[name])).sample.float()
            out[f"{name}{t}"] = round(float(((a * x - s * v) - held).square().mean() / held.var()), 4)
        return out


def begun(words: CLIPTokenizer, init: Path | None) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The models at the start: new, or from `init`, whose vocabulary may differ."""
    special = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), zero_padding=True, **special, **TEXT))
    unet = UNet2DConditionModel(**UNET)
    if init:
        unet = UNet2DConditionModel.from_pretrained(init / "unet", torch_dtype=torch.float32)
        known = CLIPTextModel.from_pretrained(init / "text_encoder", dtype=torch.float32)
        carry_over(known, CLIPTokenizer.from_pretrained(init / "tokenizer"), text, words)
    # Written out: the fused kernel's backward pass is slow here, a quarter of a whole step.
    unet.set_attn_processor(AttnProcessor())
    return unet, text


@torch.no_grad()
def carry_over(
    known: CLIPTextModel, known_words: CLIPTokenizer, text: CLIPTextModel, words: CLIPTokenizer
) -> None:
    """Copy all that `known` has learnt into `text`; words and positions it does not have start at random."""
    values, before = text.state_dict(), known.state_dict()
    for name, value in values.items():
        if name.endswith("token_embedding.weight"):
            ids, there = words.get_vocab(), known_words.get_vocab()
            both = [word for word in ids if word in there]
            value.normal_(0, float(before[name].std()))
            value[[ids[word] for word in both]] = before[name][[there[word] for word in both]]
        elif name.endswith("position_embedding.weight"):
            value.normal_(0, float(before[name].std()))
            count = min(len(value), len(before[name]))
            value[:count] = before[name][:count]
        else:
            value.copy_(before[name])
    text.load_state_dict(values)


def noised(x0: Tensor, abar: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Latents with noise of random levels, the levels, and v, the target."""
    t = torch.randint(1000, (len(x0),), generator=rng)
    noise = torch.randn(x0.shape, generator=rng)
    a, s = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
    return a * x0 + s * noise, t, a * noise - s * x0


def training_loss(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    x0: Tensor,
    ids: Tensor,
    abar: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Weighted error of v at random levels; `x0` float32 [n, 16, 16, 16], `ids` int64 [n, tokens]."""
    x, t, v = noised(x0, abar, rng)
    with mixed():
        found = unet(x, t, embed(text, ids)).sample
    error = (found.float() - v).square().mean((1, 2, 3))
    # 1 at high noise, where the words decide, and falling like min-SNR where only detail is left.
    snr = abar / (1 - abar)
    return (5.0 / (snr[t] + 5.0) * error).mean()


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=200_000, rate=6e-4, ema=0.9993)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=16, help="samples per batch of each worker")
    parser.add_argument("--report", type=int, default=250, help="steps between points of the curve")
    args = parser.parse_args()
    begin(args)
    folder = args.run / "model"
    folder.mkdir(parents=True, exist_ok=True)

    vae = AutoencoderDC.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    z = cached_latents(args.data, args.run / "latents", vae)
    scale = DEVIATION / float(z[:4000].float().std())
    captions = Captions(folder / "tokenizer", len(z))
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    held = HeldOut(vae, captions, scale, abar)
    unet, text = begun(captions.tokenizer, args.init)
    model = nn.ModuleDict({"unet": unet, "text": text})
    run = Run(args.run, model, Muon(model, args.rate, ends=ENDS), ema=args.ema)
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    (folder / "scale.json").write_text(json.dumps({"scaling_factor": scale}))

    def show() -> None:
        run.exchange()
        unet.eval()
        run.report(held.probe(unet, text))
        unet.save_pretrained(folder / "unet")
        text.save_pretrained(folder / "text_encoder")
        unet.train()
        run.exchange()

    while run.done < args.samples:
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + run.done + worker() * args.batch)
        run.pace(args.rate, args.samples, warm=4000)
        rows = torch.randint(len(z), (args.batch,), generator=rng)
        loss = training_loss(unet, text, z[rows].float() * scale, captions.draw(rows, rng), abar, rng)
        run.step(loss, args.batch)
        if worker():
            continue
        if run.steps % args.report == 0:
            show()
            run.save()
    if not worker():
        run.save()
        show()


if __name__ == "__main__":
    main()
