"""Train UNet and text encoder together: `python -m storybook.train_unet --vae VAE --run RUN`.

v-prediction on the SD noise schedule, loss weights that fall at low noise, caption dropout, EMA. Drawings are
made on the way (`storybook.pool`). Beside the usual loss, a head reads from the middle of the UNet what is
where (`storybook.reading_head`); `--head 0` leaves it out. The run folder keeps weights, EMA and optimiser as
safetensors and resumes from them; `--init` starts from shipped weights with a fresh optimiser. `RUN/model` is
a diffusers folder of the EMA, ready for `storybook.ship`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from storybook import dataset, tokenizer
from storybook.muon import Muon
from storybook.pool import Pool, Truth, read_truth, truth_of
from storybook.reading_head import ReadingHead, accuracy, reading_loss
from storybook.train_autoencoder import SIZE
from storybook.training import Run, begin, mixed, options, worker, workers
from storybook.world import Scene, render_frames, vocabulary

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
            torch.cat(
                [vae.encoder(b.contiguous(memory_format=torch.channels_last)) for b in x.split(50)]
            )
            .half()
            .contiguous()
        )


class Captions:
    """Captions as token ids."""

    def __init__(self, folder: Path) -> None:
        if worker() == 0:
            tokenizer.build(vocabulary(), folder)
        if workers() > 1:
            dist.barrier()  # nobody reads a half-written file
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.empty = self.ids([""])

    def of(self, scenes: Sequence[Scene]) -> dict[str, Tensor]:
        """The wordings of some scenes: "full" and "short", see `wordings`."""
        full, short = zip(*map(wordings, scenes), strict=True)
        return {"full": self.ids(full), "short": self.ids(short)}

    def ids(self, texts: Sequence[str]) -> Tensor:
        """int64 [n, `tokenizer.MAX_TOKENS`]."""
        most = {"padding": "max_length", "truncation": True, "max_length": tokenizer.MAX_TOKENS}
        return self.tokenizer(list(texts), **most, return_tensors="pt").input_ids

    def draw(self, known: Mapping[str, Tensor], rows: Tensor, rng: torch.Generator) -> Tensor:
        """Of what `of` returned: 10 % empty, 15 % actors only, else the caption."""
        u = torch.rand(len(rows), 1, generator=rng)
        short, full = known["short"][rows], known["full"][rows]
        return torch.where(u < 0.1, self.empty, torch.where(u < 0.25, short, full))


def embed(text: CLIPTextModel, ids: Tensor) -> Tensor:
    """Text vectors [n, 32, d] with zero padding; otherwise its copies of the sentence outweigh the words."""
    end = (ids == text.config.eos_token_id).long()
    return text(ids).last_hidden_state * ((end.cumsum(1) - end) == 0)[..., None]


class HeldOut:
    """Held-out scenes, and the error of the model with right, wrong and swapped words."""

    def __init__(self, vae: AutoencoderDC, captions: Captions, scale: float, abar: Tensor) -> None:
        scenes = [dataset.training_scene(s) for s in range(500, 564)]
        pictures = np.stack([render_frames(s, SIZE, (3,))[0] for s in scenes])
        self.latents = encode(vae, pictures).float() * scale
        self.abar = abar
        texts = [s.caption for s in scenes]
        swapped = [" and ".join(reversed(wordings(s)[1].split(" and "))) for s in scenes]
        truths = [truth_of(s, 3) for s in scenes]
        kept = {key: torch.from_numpy(np.stack([t[key] for t in truths])) for key in truths[0]}
        self.truth = read_truth(kept, torch.arange(len(scenes)))
        words = {"right": texts, "wrong": texts[1:] + texts[:1], "swapped": swapped}
        self.ids = {name: captions.ids(given) for name, given in words.items()}

    @torch.no_grad()
    def probe(
        self, unet: UNet2DConditionModel, text: CLIPTextModel, head: ReadingHead | None = None
    ) -> dict[str, float]:
        """Mean squared x0 error over the latents' variance at fixed levels, and what the head reads right."""
        out = {}
        for name, t in [
            *(("right", t) for t in PROBES),
            ("wrong", 850),
            ("wrong", 950),
            ("swapped", 850),
        ]:
            predict_words = partial(predict, unet, text, self.ids[name])
            out[f"{name}{t}"] = x0_error(predict_words, self.latents, t, self.abar)
            if head and name == "right" and t in (300, 700):
                out |= {f"{key}{t}": share for key, share in accuracy(head(), self.truth).items()}
        return out


def predict(
    unet: UNet2DConditionModel, text: CLIPTextModel, ids: Tensor, x: Tensor, t: Tensor
) -> Tensor:
    """Predicted v: float32 [n, 16, 16, 16]."""
    with mixed():
        return unet(x, t, embed(text, ids)).sample.float()


def x0_error(
    predict: Callable[[Tensor, Tensor], Tensor], x0: Tensor, t: int, abar: Tensor
) -> float:
    """Mean squared error of x0 over its variance, from the v predicted at level `t` with fixed noise."""
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(t))
    a, s = abar[t].sqrt(), (1 - abar[t]).sqrt()
    x = a * x0 + s * noise
    v = predict(x, torch.full((len(x),), t))
    return round(float(((a * x - s * v) - x0).square().mean() / x0.var()), 4)


def begun(words: CLIPTokenizer, init: Path | None) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The models at the start: new, or from `init`, whose vocabulary may differ."""
    special = {
        f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=len(words), zero_padding=True, **special, **TEXT)
    )
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
    reading: tuple[ReadingHead, Truth, float] | None = None,
) -> Tensor:
    """Weighted error of v at random levels; `x0` float32 [n, 16, 16, 16], `ids` int64 [n, tokens].

    `reading` adds the loss of a head that reads the truth, with its weight.
    """
    x, t, v = noised(x0, abar, rng)
    error = (predict(unet, text, ids, x, t) - v).square().mean((1, 2, 3))
    # 1 at high noise, where the words decide, and falling like min-SNR where only detail is left.
    snr = abar / (1 - abar)
    loss = (5.0 / (snr[t] + 5.0) * error).mean()
    if reading:
        head, truth, weight = reading
        loss = loss + weight * reading_loss(head(), truth)
    return loss


def main() -> None:
    """Train, resuming from the run folder if it exists."""
    parser = options(__doc__ or "", samples=3_000_000, rate=2.5e-3, ema=0.9995)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=32, help="samples per batch of each worker")
    parser.add_argument("--report", type=int, default=250, help="steps between points of the curve")
    parser.add_argument(
        "--head", type=float, default=0.1, help="weight of the head's loss; 0 trains none"
    )
    args = parser.parse_args()
    begin(args)
    folder = args.run / "model"
    folder.mkdir(parents=True, exist_ok=True)

    vae = AutoencoderDC.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    captions = Captions(folder / "tokenizer")
    pool = Pool(args.run / "pool", partial(encode, vae), captions.of)
    # Weights to start from know the latents at the scale that they ship with.
    scale = (
        vae.config.scaling_factor if args.init else DEVIATION / float(pool.at(0)["z"].float().std())
    )
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    held = HeldOut(vae, captions, scale, abar)
    unet, text = begun(captions.tokenizer, args.init)
    head = ReadingHead(unet) if args.head else None
    model = nn.ModuleDict({"unet": unet, "text": text} | ({"head": head} if head else {}))
    run = Run(args.run, model, Muon(model, args.rate, ends=ENDS), ema=args.ema)
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    (folder / "scale.json").write_text(json.dumps({"scaling_factor": scale}))

    def show() -> None:
        with run.averaged():
            unet.eval()
            run.report(held.probe(unet, text, head))
            unet.save_pretrained(folder / "unet")
            text.save_pretrained(folder / "text_encoder")
            unet.train()

    while run.done < args.samples:
        known = pool.at(run.done)
        rng = torch.Generator().manual_seed(
            args.seed * 1_000_003 + run.done + worker() * args.batch
        )
        run.pace(args.rate, args.samples, warm=4000)
        rows = torch.randint(len(known["z"]), (args.batch,), generator=rng)
        x0, ids = known["z"][rows].float() * scale, captions.draw(known, rows, rng)
        reading = (head, read_truth(known, rows), args.head) if head else None
        run.step(training_loss(unet, text, x0, ids, abar, rng, reading), args.batch)
        if run.steps % args.report == 0 and not worker():
            show()
            run.save()
    if not worker():
        run.save()
        show()


if __name__ == "__main__":
    main()
