"""Repeat the measurements of `benchmarks/README.md`: `python -m benchmarks -o OUT`, or
some with `--only`.

`--quick` runs the smallest case of every benchmark instead, which shows that it runs
and measures nothing.

Runs `COMMANDS` one after the other, each in its own process. Their output goes to the
terminal and to `OUT/NAME.txt`, their files to `OUT/NAME/`. A command whose output is
already there does not run again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMANDS = {
    "instance": "benchmarks.edit_quality --scenes 100 --task instance --row videograin "
    """--variant 'source noise:{"variation": 0, "inject_until": 0.4}' """
    """--variant 'cross only:{"variation": 0, "inject_until": 0.4, "self_strength": 0}' """
    """--variant 'no modulation:{"variation": 0, "inject_until": 0.4, """
    """ "self_strength": 0, "cross_strength": 0}' """
    "--dtype bfloat16 --jobs 2",
    "clicked": "benchmarks.edit_quality --scenes 40 --task instance --row videograin --masks clicked "
    "--dtype bfloat16 --jobs 2",
    "tasks": "benchmarks.edit_quality --scenes 12 --task style --task color --task shape --task background "
    '--row videograin --row fatezero --row "fatezero by words" --row "vid2vid-zero by words" '
    "--dtype bfloat16 --jobs 2",
    "tuned": "benchmarks.edit_quality --scenes 12 --task shape --task color --task background --task style "
    '--task instance --row tune-a-video --row "tune-a-video, fresh noise" --row "tune-a-video, untuned" '
    '--row "videograin, tuned" --dtype bfloat16 --jobs 2',
    "redrawn": "benchmarks.edit_quality --scenes 12 --task style --task instance --task color "
    '--task background --task shape --row fresco --row "fresco by words" --dtype bfloat16 --jobs 2',
    "exact": "benchmarks.edit_quality --first 30000 --scenes 100 --task instance --row videograin --grow 0 "
    "--margin default --jobs 2",
    "hard": "benchmarks.edit_quality --first 30000 --scenes 12 --task dark --task sketch --task jumping "
    "--task crossing --row videograin --grow 0 --margin default --jobs 2",
    "parts": "benchmarks.edit_quality --scenes 16 --task part --task class --row videograin "
    "--dtype bfloat16 --jobs 2",
    "cost": "benchmarks.edit_cost --model storybook --size 128 --methods videograin",
    "cost_sd": "benchmarks.edit_cost --frames 8 --size 256 --methods videograin --set steps=4",
    "around": "benchmarks.edit_cost --around noise --channels 32 --frames 16 --size 512 --set steps=10",
    "cost_words": "benchmarks.edit_cost --model storybook --size 128 --methods fatezero vid2vid_zero "
    "--set steps=10",
    "few": "benchmarks.edit_quality --first 500000 --scenes 8 --task instance --row videograin "
    '--row infedit --row "infedit, 8 steps" --row "videograin, as long" --row "SDEdit, as long" '
    '--variant \'storybook/fast:{"method":"instruct_pix2pix","loras":["storybook/fast"]}\' '
    "--grow 0 --margin default",
    "attention": "benchmarks.attention --tokens 4096 8192 --dims 40 80 --rounds 3",
    "attention_wan": "benchmarks.attention --tokens 8576 17152 --dims 128 --rounds 3",
    "attention_half": "benchmarks.attention --tokens 4096 8192 --dims 40 80 --rounds 3 --dtype bfloat16",
    "gpu": "benchmarks.gpu",
    "predicted": "benchmarks.predicted",
    "length": "benchmarks.length --scenes 1",
    "focus": "benchmarks.focus --scenes 10",
    "page": "benchmarks.page",
    "masks": "storybook.training.sam --run {out}/masks --init assets/storybook/sam --measure",
}

# The smallest case of every benchmark, by module; `real_checkpoint` has a test with a
# checkpoint of its own.
QUICK = {
    "attention": "--tokens 64 --dims 40 --rounds 1",
    "edit_cost": "--methods videograin --frames 2 --size 64 --channels 32 --set steps=1",
    "edit_quality": """--scenes 1 --task style --size 64 --variant 'one step:{"steps": 1}'""",
    "focus": """--scenes 1 --pixels 128 --size 64 --set '{"steps": 1}'""",
    "gpu": "--methods sdedit --frames 2 --size 64 --steps 1 --channels 32 --tokens 64 "
    "--sdxl-channels 64 --sdxl-side 8 --layers 1 --heads 1 --side 4 --matrix 64",
    "length": "--part windows plates --methods fatezero --frames 16 --window 8 --scenes 1 --set steps=1 "
    "--heights 72 144",
    "predicted": "--methods vace",
    "page": "--clicks 2 --steps 2 --openings 1 --own-steps 1",
}


def measure(name: str, command: str, out: Path) -> bool:
    """Run one command, and return whether it ended well."""
    argv = [sys.executable, "-m", *shlex.split(command.replace("{out}", str(out)))]
    if command.startswith("benchmarks."):
        argv += ["-o", str(out / name)]
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f"{name}.partial"
    began = time.monotonic()
    ended_well = _run(argv, partial)
    if ended_well:
        partial.replace(out / f"{name}.txt")
    result = "done" if ended_well else "failed"
    seconds = time.monotonic() - began
    print(f"{name}: {result} in {seconds:.0f} s\n", flush=True)
    return ended_well


def _run(argv: list[str], output: Path) -> bool:
    """Run a command, show and keep its output, and return whether it ended well."""
    pipes: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    with output.open("w") as kept, subprocess.Popen(argv, **pipes) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            kept.write(line)
    return running.returncode == 0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the smallest case of every benchmark"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/benchmarks"))
    args = parser.parse_args()
    commands = COMMANDS
    if args.quick:
        commands = {
            name: f"benchmarks.{name} {options}" for name, options in QUICK.items()
        }
    names = args.only or [*commands]
    unknown = {*names} - {*commands}
    if unknown:
        wrong = ", ".join(sorted(unknown))
        parser.error(
            f"--only: {wrong} was not found. Choose from {', '.join(commands)}."
        )
    failed = []
    for name in names:
        if (args.out / f"{name}.txt").exists():
            continue
        print(f"{name}: python -m {commands[name]}", flush=True)
        if not measure(name, commands[name], args.out):
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
