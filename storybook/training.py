"""Shared by the training scripts: resumable run folders, training steps, the curve,
workers.

With `torchrun --nproc-per-node 2 -m storybook.train_unet -- ...`, several processes
train together: each draws its own batches, and gradients are averaged. On two cores,
two workers of one thread each are faster than one of two threads.
"""

from __future__ import annotations

import argparse
import atexit
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import cv2
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

log = logging.getLogger(__name__)
# Where a processor does not compute in bfloat16 itself, single precision takes half the
# time.
DTYPE = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def mixed() -> torch.autocast:
    """Context in which networks compute in `DTYPE`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=DTYPE is torch.bfloat16)


def worker() -> int:
    """Rank of this process among those `torchrun` started; 0 without torchrun."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        # a paused run goes on
        dist.init_process_group("gloo", timeout=timedelta(days=1))
        # its threads must not outlive the interpreter
        atexit.register(dist.destroy_process_group)
    return dist.get_rank() if dist.is_initialized() else 0


def workers() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def options(
    about: str, *, samples: int, rate: float, ema: float = 0
) -> argparse.ArgumentParser:
    """Return the command line of a trainer with its defaults; `--ema` if it averages
    weights."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        help="folder of this training; resumed if present",
    )
    parser.add_argument(
        "--samples", type=int, default=samples, help="training samples in all"
    )
    parser.add_argument(
        "--rate", type=float, default=rate, help="learning rate at its peak"
    )
    if ema:
        parser.add_argument(
            "--ema", type=float, default=ema, help="decay of the averages per step"
        )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--init",
        type=Path,
        help="folder of weights to start from, with a fresh optimiser",
    )
    return parser


def begin(args: argparse.Namespace) -> None:
    """Set up workers, logging, threads, and the seed of new weights (the same for every
    worker)."""
    worker()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)


def batch_rng(seed: int, done: int, batch: int) -> torch.Generator:
    """Return a generator for this worker's next batch, after `done` samples."""
    return torch.Generator().manual_seed(seed * 1_000_003 + done + worker() * batch)


class Run:
    """Weights, optimiser and averages of one training, saved in a folder from which it
    resumes.

    Attributes:
        done: Samples used so far.
        steps: Steps so far; a step uses one batch of every worker.
        ema: Running averages of the weights by name; empty if `ema` is 0.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        ema: float = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.model = model
        self.optimiser = optimiser
        self.decay = ema
        self.learnt = {k: p for k, p in model.named_parameters() if p.requires_grad}
        self.ema = (
            {k: p.detach().clone() for k, p in self.learnt.items()} if ema else {}
        )
        self.done = 0
        self.steps = 0
        self._loss = 0.0
        self._state = folder / "state.safetensors"
        if self._state.exists():
            self._load()
        self._first, self._started = self.done, time.time()

    def pace(self, peak: float, samples: int, warm: int) -> None:
        """Set the learning rate: it rises over `warm` samples, stays, and falls to 2 %
        over the last fifth.

        So a run may be lengthened, and the beginnings of two runs of different lengths
        be compared.
        """
        fall = max(0.02, min(1.0, 5 * (1 - self.done / samples)))
        for group in self.optimiser.param_groups:
            group["lr"] = peak * min(1.0, (self.done + 1) / warm) * fall

    def step(self, loss: Tensor, batch: int) -> None:
        """Train on one batch of `batch` samples, and on those of the other workers."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if workers() > 1:
            self._share()
        nn.utils.clip_grad_norm_(list(self.learnt.values()), 1.0)
        self.optimiser.step()
        self.done += batch * workers()
        self.steps += 1
        now = loss.item()
        self._loss = 0.99 * self._loss + 0.01 * now if self._loss else now
        if self.ema:
            self._average()

    def _average(self) -> None:
        """Move the averages of the weights towards the weights."""
        averages = list(self.ema.values())
        weights = [weight.data for weight in self.learnt.values()]
        # Young averages forget faster, or they would keep what was there before
        # learning.
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def _share(self) -> None:
        """Replace this worker's gradients by the mean over all workers."""
        weights = [*self.learnt.values()]
        grads = []
        for weight in weights:
            # Not every batch uses every weight, and all workers must send the same
            # tensors.
            grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            grads.append(grad.flatten())
        flat = torch.cat(grads)
        dist.all_reduce(flat)
        means = (flat / workers()).split([weight.numel() for weight in weights])
        for weight, mean in zip(weights, means, strict=True):
            weight.grad = mean.view_as(weight).clone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the model has the averages of its weights."""
        self._exchange()
        yield
        self._exchange()

    def _exchange(self) -> None:
        for name, value in self.learnt.items():
            value.data, self.ema[name] = self.ema[name], value.data

    def save(self) -> None:
        """Save everything needed to resume; never leaves a half-written file."""
        tensors = {"done": torch.tensor(self.done)}
        for name, weight in self.model.state_dict().items():
            tensors["w/" + name] = weight.detach().contiguous()
        for name, average in self.ema.items():
            tensors["e/" + name] = average
        for name, p in self.learnt.items():
            # not every step uses every weight
            moments = self.optimiser.state.get(p, {})
            step = moments.get("step", torch.zeros(()))
            mean = moments.get("exp_avg", torch.zeros_like(p))
            square = moments.get("exp_avg_sq", torch.zeros_like(p))
            tensors["s/" + name] = step.clone()
            tensors["m/" + name] = mean.contiguous()
            tensors["v/" + name] = square.contiguous()
        partial = self._state.with_suffix(".partial")
        save_file(tensors, partial)
        partial.replace(self._state)

    def report(self, figures: dict[str, float]) -> None:
        """Add a point to the curve, in the log and in `curve.jsonl`."""
        rate = (self.done - self._first) / (time.time() - self._started)
        line = {
            "samples": self.done,
            "loss": round(self._loss, 4),
            "rate": round(rate, 1),
        }
        line |= figures
        log.info("%s", line)
        with (self.folder / "curve.jsonl").open("a") as f:
            f.write(json.dumps(line) + "\n")

    def _load(self) -> None:
        saved = load_file(self._state)
        weights = {}
        for name, value in saved.items():
            if name.startswith("w/"):
                weights[name.removeprefix("w/")] = value
        self.model.load_state_dict(weights)
        self.done = int(saved["done"])
        self.ema = {name: saved["e/" + name] for name in self.ema}
        for name, p in self.learnt.items():
            self.optimiser.state[p] = {
                "step": saved["s/" + name],
                "exp_avg": saved["m/" + name],
                "exp_avg_sq": saved["v/" + name],
            }
        counts = [saved["s/" + name] for name in self.learnt]
        self.steps = int(max(counts))
