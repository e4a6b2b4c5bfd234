"""What modulated attention costs: `python -m benchmarks.attention`.

Compares variants at growing lengths, in turns in one process: the paper's formula on materialised scores
("dense", up to 8192 tokens), Regrain's ("ours"), and plain attention without modulation; the merged form and
the row range that it needs ("range") apart; and attention to 512 words, most of them padding, bound against
plain. Times are given as ratios, since others may use the machine: the median over rounds of the ratio within
a round, in processor time (CUDA: device time). Peak memory is what the allocator hands out beyond the inputs.
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
from regrain.editing.attention.regions import merged, modulated_attention, row_range
from regrain.editing.attention.words import WordBinding, attend_to_words

REGIONS = 4
_DENSE, _WORDS = 8192, 42
Run = Callable[[], Tensor]


def dense(
    q: Tensor, k: Tensor, v: Tensor, query_label: Tensor, key_label: Tensor, strength: Tensor
) -> Tensor:
    """The formula as the paper writes it, one line per term, on scores [queries, keys]."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    same = (query_label[:, :, None] == key_label[:, None, :]).to(q.dtype)[:, None]
    up = (scores.amax(-1, keepdim=True) - scores) * same
    down = (scores - scores.amin(-1, keepdim=True)) * (1 - same)
    return (scores + strength[:, None, :, None] * (up - down)).softmax(-1) @ v


def case(tokens: int, dim: int, heads: int, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """Unit-variance queries, keys and values in four regions and a background, which counts as a fifth."""
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = torch.randn(3, 1, heads, tokens, dim, generator=generator).to(device, dtype).unbind()
    label = torch.randint(0, REGIONS + 1, (1, tokens // 64), generator=generator).repeat_interleave(
        64, 1
    )
    strength = torch.rand(1, tokens, generator=generator)
    return q, k, v, label.to(device), label.to(device), strength.to(device, dtype)


def seconds(run: Run, device: str) -> float:
    """Processor time of one call; device time on CUDA."""
    if device == "cpu":
        began = time.process_time()
        run()
        return time.process_time() - began
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1000


def peak_bytes(run: Run, device: str) -> int:
    """Most bytes alive at once during a call, beyond those alive before it; scratch of kernels included."""
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        run()
    alive = peak = 0
    results: Any = record.profiler
    changes = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    for change in sorted(changes, key=lambda e: e.start_ns()):
        alive += change.nbytes()
        peak = max(peak, alive)
    return peak


def error(values: tuple[Tensor, ...]) -> float:
    """Largest difference from the formula in double precision, over 256 queries of every head."""
    q, k, v, query_label, key_label, strength = values
    some = slice(None, None, max(1, q.shape[2] // 256))
    truth = dense(
        *(x.double() for x in (q[:, :, some], k, v)),
        query_label[:, some],
        key_label,
        strength[:, some].double(),
    )
    return float((modulated_attention(*values)[:, :, some].double() - truth).abs().max())


def measure(
    tokens: int, dim: int, heads: int, dtype: torch.dtype, rounds: int, device: str
) -> dict[str, float | None]:
    """One row of the table."""
    values = case(tokens, dim, heads, dtype, device)
    runs: dict[str, Run] = {
        "dense": lambda: dense(*values),
        "ours": lambda: modulated_attention(*values),
        "plain": lambda: attention(*values[:3]),
    }
    runs |= {"merged": lambda: merged(*values), "range": lambda: row_range(*values[:2])}
    q, k, v, codes, _, strength = values
    k, v = (
        torch.cat([x[:, :, :_WORDS], x[:, :, :1].expand(-1, -1, 512 - _WORDS, -1)], 2)
        for x in (k, v)
    )
    binding = WordBinding(codes[0], torch.arange(_WORDS, device=device) % 9 - 1, strength[0])
    runs |= {
        "words": lambda: attend_to_words(q, k, v, binding)[0],
        "all": lambda: attention(q, k, v),
    }
    if tokens > _DENSE:
        runs["dense"] = lambda: values[0][:0]
    for run in runs.values():
        run()
    taken = [{name: seconds(run, device) for name, run in runs.items()} for _ in range(rounds)]
    peak = {name: peak_bytes(run, device) for name, run in runs.items()}
    return {
        "tokens": tokens,
        "dim": dim,
        "heads": heads,
        "dense/ours": statistics.median(t["dense"] / t["ours"] for t in taken)
        if tokens <= _DENSE
        else None,
        "ours/plain": statistics.median(t["ours"] / t["plain"] for t in taken),
        "merged/plain": statistics.median((t["merged"] - t["range"]) / t["plain"] for t in taken),
        "range/plain": statistics.median(t["range"] / t["plain"] for t in taken),
        "words/plain": statistics.median(t["words"] / t["all"] for t in taken),
        "memory dense/ours": peak["dense"] / peak["ours"] if tokens <= _DENSE else None,
        "ours MiB": peak["ours"] / 2**20,
        "error": error(values),
    }


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--dims", type=int, nargs="+", default=[40, 80])
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/attention"))
    args = parser.parse_args()
    rows = []
    for dim in args.dims:
        for tokens in args.tokens:
            row = measure(
                tokens, dim, args.heads, getattr(torch, args.dtype), args.rounds, args.device
            )
            half = next((r for r in rows if (r["tokens"], r["dim"]) == (tokens // 2, dim)), None)
            row["peak(2N)/peak(N)"] = row["ours MiB"] / half["ours MiB"] if half else None
            rows.append(row)
            if len(rows) == 1:
                print("  ".join(f"{name:>17}" for name in row))
            cells = (
                "" if x is None else f"{x:.3g}" if isinstance(x, float) else x for x in row.values()
            )
            print("  ".join(f"{cell:>17}" for cell in cells), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "dtype": args.dtype,
        "device": args.device,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    (args.out / f"attention_{args.dtype}.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
