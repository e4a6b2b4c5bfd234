"""Shared by the training scripts: resumable run folders, training steps, the curve,
workers.

With `torchrun --nproc-per-node 2 -m storybook.training.unet -- ...`, several processes
train together: each draws its own batches, and gradients are averaged. On two cores,
two workers of one thread each are faster than one of two threads. Of several graphics
cards, each worker has its own.

All random numbers are drawn on the processor, so that a run draws the same on every
device.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regrain.editing.storage.devices import DEVICES, choose_device

log = logging.getLogger(__name__)


def dtype_of(device: torch.device) -> torch.dtype:
    """Return the precision in which networks compute while they are trained.

    Float16 would need losses that are scaled. Where a processor does not compute in
    bfloat16 itself, single precision takes half the time.
    """
    if device.type == "cpu":
        is_fast = torch.cpu._is_avx512_bf16_supported()
    elif device.type == "cuda":
        is_fast = torch.cuda.is_bf16_supported()
    else:
        is_fast = device.type == "xpu"
    return torch.bfloat16 if is_fast else torch.float32


def mixed(device: torch.device) -> torch.autocast:
    """Context in which networks compute in `dtype_of` their device."""
    is_half = dtype_of(device) is torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half)


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model is on."""
    return next(model.parameters()).device


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


def summed(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all workers, through main memory, which all
    devices have."""
    there = x.cpu()
    dist.all_reduce(there)
    return there.to(x.device)


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
    parser.add_argument(
        "--device", help=f"{', '.join(DEVICES)}; default: the first that is there"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--jobs",
        type=int,
        help="processes that draw; default: one a core, where those do not train",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--init",
        type=Path,
        help="folder of weights to start from, with a fresh optimiser",
    )
    return parser


def begin(args: argparse.Namespace) -> None:
    """Set up workers, logging, threads, the device, and the seed of new weights (the
    same for every worker)."""
    worker()
    args.device = choose_device(args.device)
    if args.device == torch.device("cuda"):
        own = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        args.device = torch.device("cuda", own)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)


def drawers(args: argparse.Namespace) -> int:
    """Return how many processes draw: `--jobs`, or as many as there are cores, where
    those do not train."""
    cores = (os.cpu_count() or 1) // workers()
    return args.jobs or (1 if args.device.type == "cpu" else max(1, cores))


Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with each of some items, in order, as `map` does."""


def in_jobs(args: argparse.Namespace) -> Each:
    """Return a `map` that draws on all cores, or on `--jobs` of them; where the
    processor trains, its cores are busy."""
    jobs = drawers(args)
    if jobs == 1:
        return map
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), cv2.setNumThreads, (1,))
    atexit.register(pool.shutdown, wait=False, cancel_futures=True)
    return partial(pool.map, chunksize=8)


def batch_rng(seed: int, done: int, batch: int) -> torch.Generator:
    """Return a generator for this worker's next batch, after `done` samples."""
    return torch.Generator().manual_seed(seed * 1_000_003 + done + worker() * batch)


def write_model(model: Any, folder: Path) -> None:
    """Write a model's folder from main memory; the model stays where it is."""
    shown = copy.deepcopy(model).to("cpu", memory_format=torch.contiguous_format)
    shown.save_pretrained(folder)


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
        self._loss: Tensor | None = None
        self._state = folder / "state.safetensors"
        if self._state.exists():
            self._load()
        self._first, self._started = self.done, time.time()

    def pace(self, peak: float, samples: float, warm: int, fall: float = 0.2) -> None:
        """Set the learning rate: it rises over `warm` samples, stays, and falls to 2 %
        over the last of them, `fall` as a share.

        So a run may be lengthened, and the beginnings of two runs of different lengths
        be compared.
        """
        left = max(0.02, min(1.0, (1 - self.done / samples) / fall))
        for group in self.optimiser.param_groups:
            group["lr"] = peak * min(1.0, (self.done + 1) / warm) * left

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
        now = loss.detach()  # stays on its device, which nothing has to wait for
        self._loss = now if self._loss is None else torch.lerp(self._loss, now, 0.01)
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
        mean = summed(torch.cat(grads)) / workers()
        means = mean.split([weight.numel() for weight in weights])
        for weight, own in zip(weights, means, strict=True):
            weight.grad = own.view_as(weight).clone()

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
            tensors["w/" + name] = weight.detach()
        for name, average in self.ema.items():
            tensors["e/" + name] = average
        for name, p in self.learnt.items():
            # not every step uses every weight
            moments = self.optimiser.state.get(p, {})
            step = moments.get("step", torch.zeros(()))
            mean = moments.get("exp_avg", torch.zeros_like(p))
            square = moments.get("exp_avg_sq", torch.zeros_like(p))
            tensors["s/" + name] = step.clone()
            tensors["m/" + name] = mean
            tensors["v/" + name] = square
        partial = self._state.with_suffix(".partial")
        save_file({k: x.cpu().contiguous() for k, x in tensors.items()}, partial)
        partial.replace(self._state)

    def report(self, figures: dict[str, float]) -> None:
        """Add a point to the curve, in the log and in `curve.jsonl`."""
        rate = (self.done - self._first) / (time.time() - self._started)
        line = {
            "samples": self.done,
            "loss": 0.0 if self._loss is None else round(float(self._loss), 4),
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
        device = device_of(self.model)
        self.ema = {name: saved["e/" + name].to(device) for name in self.ema}
        # A fused step is counted on the device.
        is_fused = self.optimiser.defaults.get("fused")
        for name, p in self.learnt.items():
            step = saved["s/" + name]
            self.optimiser.state[p] = {
                "step": step.to(device) if is_fused else step,
                "exp_avg": saved["m/" + name].to(device),
                "exp_avg_sq": saved["v/" + name].to(device),
            }
        counts = [saved["s/" + name] for name in self.learnt]
        self.steps = int(max(counts))
