"""The cost of modulated attention: `python -m benchmarks.attention`.

Compares variants at growing lengths, in turns in one process: the paper's formula on
materialised scores ("dense", up to 8192 tokens), Regrain's ("ours"), and plain
attention without modulation; the merged form and the row range that it needs ("range")
apart; and attention to 512 words, most of them padding, bound against plain. Times are
given as ratios, since others may use the machine: the median over rounds of the ratio
within a round, in processor time (CUDA: device time). Peak memory is what the allocator
hands out beyond the inputs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from regrain.editing.attention.backends import attention
from regrain.editing.attention.regions import (
    Partition,
    merged,
    partitioned_attention,
    row_range,
)
from regrain.editing.attention.words import WordBinding, attend_to_words
from regrain.editing.storage.devices import choose_device

REGIONS = 4
_DENSE, _WORDS = 8192, 42
Run = Callable[[], Tensor]


def dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_label: Tensor,
    key_label: Tensor,
    strength: Tensor,
) -> Tensor:
    """The formula as the paper writes it, one line per term, on scores [queries,
    keys]."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    same = (query_label[:, :, None] == key_label[:, None, :]).to(q.dtype)[:, None]
    up = (scores.amax(-1, keepdim=True) - scores) * same
    down = (scores - scores.amin(-1, keepdim=True)) * (1 - same)
    return (scores + strength[:, None, :, None] * (up - down)).softmax(-1) @ v


def case(
    tokens: int, dim: int, heads: int, dtype: torch.dtype, device: str
) -> tuple[Tensor, ...]:
    """Draw unit-variance queries, keys and values in four regions and a background,
    which is a fifth."""
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = (
        torch.randn(3, 1, heads, tokens, dim, generator=generator)
        .to(device, dtype)
        .unbind()
    )
    blocks = torch.randint(0, REGIONS + 1, (1, tokens // 64), generator=generator)
    label = blocks.repeat_interleave(64, 1).to(device)
    strength = torch.rand(1, tokens, generator=generator).to(device, dtype)
    return q, k, v, label, label, strength


def seconds(run: Run, device: str) -> float:
    """Return the processor time of one call; device time on CUDA."""
    if device == "cpu":
        began = time.process_time()
        run()
        return time.process_time() - began
    start = torch.cuda.Event(enable_timing=True)
    stop = torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1000


def peak_bytes(run: Run, device: str) -> int:
    """Return the most bytes alive at once during a call beyond those before it,
    kernels' scratch included."""
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as record:
        run()
    alive = peak = 0
    results: Any = record.profiler
    changes = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    for change in sorted(changes, key=lambda e: e.start_ns()):
        alive += change.nbytes()
        peak = max(peak, alive)
    return peak


def error(values: tuple[Tensor, ...]) -> float:
    """Return the largest difference from the formula in double precision, over 256
    queries of every head."""
    q, k, v, query_label, key_label, strength = values
    some = slice(None, None, max(1, q.shape[2] // 256))
    truth = dense(
        q[:, :, some].double(),
        k.double(),
        v.double(),
        query_label[:, some],
        key_label,
        strength[:, some].double(),
    )
    partition = Partition.of(query_label, key_label)
    ours = partitioned_attention(q, k, v, partition, strength)[:, :, some].double()
    return float((ours - truth).abs().max())


def measure(
    tokens: int, dim: int, heads: int, dtype: torch.dtype, rounds: int, device: str
) -> dict[str, float | None]:
    """Return one row of the table."""
    values = case(tokens, dim, heads, dtype, device)
    runs = variants(values)
    for run in runs.values():
        run()
    taken = [
        {name: seconds(run, device) for name, run in runs.items()}
        for _ in range(rounds)
    ]
    peak = {name: peak_bytes(run, device) for name, run in runs.items()}

    for times in taken:
        times["merged alone"] = times["merged"] - times["range"]

    def ratio(one: str, other: str) -> float:
        return statistics.median(times[one] / times[other] for times in taken)

    has_dense = "dense" in runs
    return {
        "tokens": tokens,
        "dim": dim,
        "heads": heads,
        "dense/ours": ratio("dense", "ours") if has_dense else None,
        "ours/plain": ratio("ours", "plain"),
        "merged/plain": ratio("merged alone", "plain"),
        "range/plain": ratio("range", "plain"),
        "words/plain": ratio("words", "all"),
        "memory dense/ours": peak["dense"] / peak["ours"] if has_dense else None,
        "ours MiB": peak["ours"] / 2**20,
        "error": error(values),
    }


def variants(values: tuple[Tensor, ...]) -> dict[str, Run]:
    """Return the calls that are compared; "dense" only up to `_DENSE` tokens."""
    q, k, v, query_label, key_label, strength = values
    partition = Partition.of(query_label, key_label)
    runs: dict[str, Run] = {}
    if q.shape[2] <= _DENSE:
        runs["dense"] = lambda: dense(*values)
    runs["ours"] = lambda: partitioned_attention(q, k, v, partition, strength)
    runs["plain"] = lambda: attention(q, k, v)
    runs["merged"] = lambda: merged(q, k, v, partition, strength)
    runs["range"] = lambda: row_range(q, k)
    return runs | _word_variants(values)


def _word_variants(values: tuple[Tensor, ...]) -> dict[str, Run]:
    """Return the calls that attend to words, bound and plain."""
    q, k, v, label, _, strength = values
    padded_k = padded(k)
    padded_v = padded(v)
    regions = torch.arange(_WORDS, device=q.device) % 9 - 1
    binding = WordBinding(Partition.of(label, regions[None]), strength[0])
    return {
        "words": lambda: attend_to_words(q, padded_k, padded_v, binding)[0],
        "all": lambda: attention(q, padded_k, padded_v),
    }


def padded(x: Tensor) -> Tensor:
    """Return the first tokens as words, and the first of them again as padding up to
    512."""
    pads = x[:, :, :1].expand(-1, -1, 512 - _WORDS, -1)
    return torch.cat([x[:, :, :_WORDS], pads], 2)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[1024, 2048, 4096, 8192]
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[40, 80])
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), default="float32"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default=str(choose_device()))
    parser.add_argument("-o", "--out", type=Path, default=Path("out/attention"))
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    rows = []
    peaks = {}
    for dim in args.dims:
        for tokens in args.tokens:
            row = measure(tokens, dim, args.heads, dtype, args.rounds, args.device)
            peaks[tokens, dim] = row["ours MiB"]
            half = peaks.get((tokens // 2, dim))
            row["peak(2N)/peak(N)"] = row["ours MiB"] / half if half else None
            rows.append(row)
            if len(rows) == 1:
                print("  ".join(f"{name:>17}" for name in row))
            print(
                "  ".join(f"{_cell(value):>17}" for value in row.values()), flush=True
            )
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "dtype": args.dtype,
        "device": args.device,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    (args.out / f"attention_{args.dtype}.json").write_text(
        json.dumps(facts, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
