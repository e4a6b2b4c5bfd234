"""Train UNet and text encoder together: `python -m storybook.training.unet --vae VAE
--run RUN`.

v-prediction on the SD noise schedule, loss weights that fall at low noise, caption
dropout, EMA. Drawings are made on the way (`pool`). Beside the usual loss, a head reads
from the middle of the UNet what is where; `--head 0` leaves it out. The run folder
keeps weights, EMA and optimiser as safetensors and resumes from them; `--init` starts
from shipped weights with a fresh optimiser. `RUN/model` is a diffusers folder of the
EMA, ready for `ship`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers import AutoencoderDC, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from storybook import dataset, tokenizer
from storybook.draw import PARTS
from storybook.training.autoencoder import as_tensor, held_out_pictures
from storybook.training.muon import Muon
from storybook.training.pool import Pool, Truth, read_truth, stack, truth_of
from storybook.training.runs import (
    Run,
    batch_rng,
    begin,
    device_of,
    in_jobs,
    mixed,
    options,
    worker,
    workers,
    write_model,
)
from storybook.world import KINDS, Scene, vocabulary

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
# Of the latents. Neighbouring cells are alike, so at deviation 1 the schedule's last
# level still shows who is where and an edit from inverted latents keeps the old shapes
# (after Chen 2023, arXiv:2301.10972).
DEVIATION = 0.4
# Names of input and output layers, which AdamW updates.
ENDS = ("embedding", "conv_in", "conv_out")
PROBES = (100, 300, 500, 700, 850, 950)  # levels of noise at which errors are reported
HELD_OUT = range(500, 564)  # seeds of the scenes on which they are


def wordings(scene: Scene) -> tuple[str, str]:
    """Return the caption, and the actors alone."""
    return scene.caption, " and ".join(a.phrase for a in scene.actors)


@torch.no_grad()
def encode(vae: AutoencoderDC, pictures: np.ndarray) -> Tensor:
    """Return raw latents, float16 [n, 16, 16, 16] in main memory, of uint8 [n, s, s,
    3]."""
    x = as_tensor(np.array(pictures))
    device = device_of(vae)
    parts = []
    with mixed(device):
        for part in x.split(50):
            part = part.to(device).contiguous(memory_format=torch.channels_last)
            parts.append(vae.encoder(part))
    return torch.cat(parts).half().cpu().contiguous()


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
        """Return token ids of the wordings of some scenes: "full" and "short", see
        `wordings`."""
        full, short = zip(*map(wordings, scenes), strict=True)
        return {"full": self.ids(full), "short": self.ids(short)}

    def ids(self, texts: Sequence[str]) -> Tensor:
        """int64 [n, `tokenizer.MAX_TOKENS`]."""
        return self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=tokenizer.MAX_TOKENS,
            return_tensors="pt",
        ).input_ids

    def draw(
        self, known: Mapping[str, Tensor], rows: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Draw wordings from a result of `of`: 10 % are empty, 15 % actors only, the
        others captions."""
        u = torch.rand(len(rows), 1, generator=rng)
        worded = torch.where(u < 0.25, known["short"][rows], known["full"][rows])
        return torch.where(u < 0.1, self.empty, worded)


def embed(text: CLIPTextModel, ids: Tensor) -> Tensor:
    """Return text vectors [n, tokens, d] on the encoder's device, with zeros for
    padding, whose vectors would outweigh the words."""
    ids = ids.to(device_of(text))
    end = (ids == text.config.eos_token_id).long()
    is_word = (end.cumsum(1) - end) == 0
    return text(ids).last_hidden_state * is_word[..., None]


class HeldOut:
    """Held-out scenes, and the error of the model with right, wrong and swapped
    words."""

    def __init__(
        self, vae: AutoencoderDC, captions: Captions, scale: float, abar: Tensor
    ) -> None:
        scenes = [dataset.training_scene(seed) for seed in HELD_OUT]
        latents = encode(vae, held_out_pictures(HELD_OUT)).float() * scale
        self.latents = latents.to(abar.device)
        self.abar = abar
        kept = stack([truth_of(scene, 3) for scene in scenes])
        self.truth = read_truth(kept, torch.arange(len(scenes))).to(abar.device)
        right = [scene.caption for scene in scenes]
        wrong = right[1:] + right[:1]
        swapped = [
            " and ".join(a.phrase for a in reversed(scene.actors)) for scene in scenes
        ]
        self.ids = {
            "right": captions.ids(right),
            "wrong": captions.ids(wrong),
            "swapped": captions.ids(swapped),
        }

    @torch.no_grad()
    def probe(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        head: ReadingHead | None = None,
    ) -> dict[str, float]:
        """Return mean squared x0 errors over the latents' variance, and what shares the
        head reads right."""
        figures = {}
        probes = [("right", t) for t in PROBES]
        probes += [("wrong", 850), ("wrong", 950), ("swapped", 850)]
        for name, t in probes:
            predict_v = partial(predict, unet, text, self.ids[name])
            figures[f"{name}{t}"] = x0_error(predict_v, self.latents, t, self.abar)
            if head and name == "right" and t in (300, 700):
                for key, share in accuracy(head(), self.truth).items():
                    figures[f"{key}{t}"] = share
        return figures


def predict(
    unet: UNet2DConditionModel, text: CLIPTextModel, ids: Tensor, x: Tensor, t: Tensor
) -> Tensor:
    """Return predicted v: float32 [n, 16, 16, 16]."""
    with mixed(x.device):
        return unet(x, t, embed(text, ids)).sample.float()


def x0_error(
    predict: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    t: int,
    abar: Tensor,
    noise: Tensor | None = None,
) -> float:
    """Return the mean squared error of x0 over its variance, from the v predicted with
    fixed noise.

    Args:
        predict: Returns v of noisy latents at some levels.
        x0: Latents [n, ...].
        t: Level of the noise, 0 to 999.
        abar: Cumulative products of the schedule, by level.
        noise: As `x0`; None draws it, always the same for a level.
    """
    if noise is None:
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(t))
    noise = noise.to(x0.device)
    a = abar[t].sqrt()
    s = (1 - abar[t]).sqrt()
    x = a * x0 + s * noise
    v = predict(x, torch.full((len(x),), t, device=x.device))
    error = (a * x - s * v) - x0
    return round(float(error.square().mean() / x0.var()), 4)


def begun(
    words: CLIPTokenizer, init: Path | None
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Return the models at the start: new, or from `init`, whose vocabulary may
    differ."""
    config = CLIPTextConfig(
        vocab_size=len(words),
        zero_padding=True,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **TEXT,
    )
    text = CLIPTextModel(config)
    unet = UNet2DConditionModel(**UNET)
    if init:
        unet = UNet2DConditionModel.from_pretrained(
            init / "unet", torch_dtype=torch.float32
        )
        known = CLIPTextModel.from_pretrained(
            init / "text_encoder", dtype=torch.float32
        )
        carry_over(
            known, CLIPTokenizer.from_pretrained(init / "tokenizer"), text, words
        )
    # Written out: the fused kernel's backward pass is slow here, a quarter of a whole
    # step.
    unet.set_attn_processor(AttnProcessor())
    return unet, text


@torch.no_grad()
def carry_over(
    known: CLIPTextModel,
    known_words: CLIPTokenizer,
    text: CLIPTextModel,
    words: CLIPTokenizer,
) -> None:
    """Copy the weights of `known` into `text`; words and positions it does not have
    start at random."""
    values = text.state_dict()
    known_values = known.state_dict()
    for name, value in values.items():
        before = known_values[name]
        if name.endswith("token_embedding.weight"):
            ids = words.get_vocab()
            known_ids = known_words.get_vocab()
            both = [word for word in ids if word in known_ids]
            to = [ids[word] for word in both]
            source = [known_ids[word] for word in both]
            value.normal_(0, float(before.std()))
            value[to] = before[source]
        elif name.endswith("position_embedding.weight"):
            count = min(len(value), len(before))
            value.normal_(0, float(before.std()))
            value[:count] = before[:count]
        else:
            value.copy_(before)
    text.load_state_dict(values)


# kind, part, outline, middle
_SIZES = (1 + len(KINDS), len(PARTS), 1, 2)


class ReadingHead(nn.Module):
    """Two layers that read what the drawn world knows of every place, from the block
    after the middle, 8 x 8, to cells, 16 x 16; they are not shipped.

    REPA (Yu et al. 2024, arXiv:2410.06940) aligns features with those of another
    network; here the truth takes that network's place. A UNet whose first layers know
    the picture leaves more to its last layers.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        width = unet.config.block_out_channels[-1]
        self.read = nn.Sequential(
            nn.GroupNorm(32, width),
            nn.Conv2d(width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, 4 * sum(_SIZES), 1),
            nn.PixelShuffle(2),
        )
        self._features: list[Tensor] = []
        unet.up_blocks[0].register_forward_hook(
            lambda *call: self._features.append(call[-1])
        )

    def forward(self) -> tuple[Tensor, ...]:
        """Return logits of kinds and parts, outline and middle, of the UNet's last
        call; see `Truth`."""
        features = self._features.pop()
        self._features.clear()
        return self.read(features.float()).split(_SIZES, dim=1)


def reading_loss(answers: tuple[Tensor, ...], truth: Truth) -> Tensor:
    """Return the mean of four losses, each of about the same size at first."""
    kind, part, outline, middle = answers
    inside = (truth.kind > 0)[:, None].float()
    offset = F.smooth_l1_loss(middle, truth.middle, beta=0.1, reduction="none") * inside
    losses = (
        F.cross_entropy(kind, truth.kind),
        F.cross_entropy(part, truth.part),
        F.smooth_l1_loss(outline, truth.outline, beta=0.5),
        10 * offset.sum() / (2 * inside.sum()).clamp(min=1),
    )
    return torch.stack(losses).mean()


def accuracy(answers: tuple[Tensor, ...], truth: Truth) -> dict[str, float]:
    """Return the share of the actors' cells whose kind and part are read right."""
    kind, part, *_ = answers
    inside = truth.kind > 0
    right = {"kind": kind.argmax(1) == truth.kind, "part": part.argmax(1) == truth.part}
    return {
        name: round(float(hit[inside].float().mean()), 4) for name, hit in right.items()
    }


def noised(
    x0: Tensor, abar: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents with noise of random levels, the levels, and v, the target."""
    t = torch.randint(1000, (len(x0),), generator=rng).to(x0.device)
    noise = torch.randn(x0.shape, generator=rng).to(x0.device)
    a = abar[t].sqrt()[:, None, None, None]
    s = (1 - abar[t]).sqrt()[:, None, None, None]
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
    """Return the weighted error of v at random levels; `x0` float32 [n, 16, 16, 16],
    `ids` int64 [n, tokens].

    `reading` adds the loss of a head that reads the truth, with its weight.
    """
    x, t, v = noised(x0, abar, rng)
    error = (predict(unet, text, ids, x, t) - v).square().mean((1, 2, 3))
    # 1 at high noise, where the words decide, and falling like min-SNR where only
    # detail is left.
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
    parser.add_argument(
        "--batch", type=int, default=32, help="samples per batch of each worker"
    )
    parser.add_argument(
        "--report", type=int, default=250, help="steps between points of the curve"
    )
    parser.add_argument(
        "--head",
        type=float,
        default=0.1,
        help="weight of the head's loss; 0 trains none",
    )
    args = parser.parse_args()
    begin(args)
    folder = args.run / "model"
    folder.mkdir(parents=True, exist_ok=True)

    vae = (
        AutoencoderDC.from_pretrained(args.vae)
        .eval()
        .to(args.device, memory_format=torch.channels_last)
    )
    captions = Captions(folder / "tokenizer")
    each = in_jobs(args)
    pool = Pool(args.run / "pool", partial(encode, vae), captions.of, each=each)
    scale = vae.config.scaling_factor
    # weights to start from know the latents at the scale that they ship with
    if not args.init:
        scale = DEVIATION / float(pool.at(0)["z"].float().std())
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod.to(args.device)
    held = HeldOut(vae, captions, scale, abar)
    unet, text = begun(captions.tokenizer, args.init)
    model = nn.ModuleDict({"unet": unet, "text": text})
    head = None
    if args.head:
        head = ReadingHead(unet)
        model["head"] = head
    model.to(args.device)
    run = Run(args.run, model, Muon(model, args.rate, ends=ENDS), ema=args.ema)
    DDIMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    (folder / "scale.json").write_text(json.dumps({"scaling_factor": scale}))

    def show() -> None:
        with run.averaged():
            unet.eval()
            run.report(held.probe(unet, text, head))
            write_model(unet, folder / "unet")
            write_model(text, folder / "text_encoder")
            unet.train()

    while run.done < args.samples:
        known = pool.at(run.done)
        rng = batch_rng(args.seed, run.done, args.batch)
        run.pace(args.rate, args.samples, warm=4000)
        rows = torch.randint(len(known["z"]), (args.batch,), generator=rng)
        x0 = known["z"][rows].to(args.device).float() * scale
        ids = captions.draw(known, rows, rng)
        reading = None
        if head:
            reading = (head, read_truth(known, rows).to(args.device), args.head)
        loss = training_loss(unet, text, x0, ids, abar, rng, reading)
        run.step(loss, args.batch)
        if run.steps % args.report == 0 and not worker():
            show()
            run.save()
    if not worker():
        run.save()
        show()


if __name__ == "__main__":
    main()
