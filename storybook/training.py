"""What the training scripts share: a run folder that resumes, one step of learning, the curve."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

log = logging.getLogger(__name__)


class Run:
    """Weights, optimiser and average of one training, kept in a folder; going on where it stopped.

    Attributes:
        done: Samples learnt from so far.
        ema: Running averages of the weights by name; empty unless asked for.
    """

    def __init__(
        self, folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, ema: float = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.optimiser, self.decay = folder, model, optimiser, ema
        self.learnt = {k: p for k, p in model.named_parameters() if p.requires_grad}
        self.ema = {k: p.detach().clone() for k, p in self.learnt.items()} if ema else {}
        self.done, self._loss, self._steps = 0, 0.0, 0
        self._state = folder / "state.safetensors"
        if self._state.exists():
            self._load()
        self._first, self._started = self.done, time.time()

    def pace(self, peak: float, samples: int, warm: int) -> None:
        """Set the learning rate: a linear rise over `warm` samples, a cosine down to 2 % at `samples`."""
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.done / samples)))
        for group in self.optimiser.param_groups:
            group["lr"] = peak * min(1.0, (self.done + 1) / warm) * fall

    def step(self, loss: Tensor, batch: int) -> None:
        """Learn from one batch."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.learnt.values()), 1.0)
        self.optimiser.step()
        self.done, self._steps = self.done + batch, self._steps + 1
        self._loss = 0.99 * self._loss + 0.01 * loss.item() if self._loss else loss.item()
        if self.ema:
            values = [p.data for p in self.learnt.values()]
            # Young averages forget faster, or they would keep what was there before learning.
            decay = min(self.decay, (1 + self._steps) / (10 + self._steps))
            torch._foreach_lerp_(list(self.ema.values()), values, 1 - decay)

    def exchange(self) -> None:
        """Put the averages in place of the weights, or back."""
        for name, value in self.learnt.items():
            value.data, self.ema[name] = self.ema[name], value.data

    def save(self) -> None:
        """Keep everything that going on needs; nothing half-written."""
        tensors = {"w/" + k: v.detach().contiguous() for k, v in self.model.state_dict().items()}
        tensors |= {"e/" + k: v for k, v in self.ema.items()} | {"done": torch.tensor(self.done)}
        for name, p in self.learnt.items():
            moments = self.optimiser.state.get(p, {})  # not every step uses every weight
            tensors["s/" + name] = moments.get("step", torch.zeros(())).clone()
            tensors["m/" + name] = moments.get("exp_avg", torch.zeros_like(p)).contiguous()
            tensors["v/" + name] = moments.get("exp_avg_sq", torch.zeros_like(p)).contiguous()
        partial = self._state.with_suffix(".partial")
        save_file(tensors, partial)
        partial.replace(self._state)

    def report(self, figures: dict[str, float]) -> None:
        """One line more of the curve, in the log and in `curve.jsonl`."""
        rate = (self.done - self._first) / (time.time() - self._started)
        line = {"samples": self.done, "loss": round(self._loss, 4), "rate": round(rate, 1)} | figures
        log.info("%s", line)
        with (self.folder / "curve.jsonl").open("a") as f:
            f.write(json.dumps(line) + "\n")

    def _load(self) -> None:
        saved = load_file(self._state)
        self.model.load_state_dict({k[2:]: v for k, v in saved.items() if k.startswith("w/")})
        self.done = int(saved["done"])
        self.ema = {name: saved["e/" + name] for name in self.ema}
        for name, p in self.learnt.items():
            self.optimiser.state[p] = {
                "step": saved["s/" + name],
                "exp_avg": saved["m/" + name],
                "exp_avg_sq": saved["v/" + name],
            }
        self._steps = int(max(saved["s/" + name] for name in self.learnt))
