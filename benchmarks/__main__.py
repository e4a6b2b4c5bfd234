"""Repeat the measurements of `benchmarks/README.md`: `python -m benchmarks -o OUT`, or some with `--only`.

`--quick` runs the smallest case of every benchmark instead, which shows that it runs and measures nothing.

Runs the commands of the README one after the other, each in its own process. Their output goes to the
terminal and to `OUT/NAME.txt`, their files to `OUT/NAME/`. What is already there is not measured again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "ablation": "benchmarks.edit_quality --scenes 100 --task instance --ablation --dtype bfloat16 --jobs 2",
    "clicked": "benchmarks.edit_quality --scenes 40 --task instance --row videograin --masks clicked "
    "--dtype bfloat16 --jobs 2",
    "tasks": "benchmarks.edit_quality --scenes 12 --task style --task color --task shape --task background "
    '--row videograin --row fatezero --row "fatezero by words" --row "vid2vid-zero by words" '
    "--dtype bfloat16 --jobs 2",
    "tuned": "benchmarks.edit_quality --scenes 12 --task shape --task color --task background --task style "
    '--task instance --row tune-a-video --row "tune-a-video, fresh noise" --row "tune-a-video, untuned" '
    '--row "videograin, tuned" --dtype bfloat16 --jobs 2',
    "exact": "benchmarks.edit_quality --first 30000 --scenes 100 --task instance --row videograin --grow 0 "
    "--margin default --jobs 2",
    "hard": "benchmarks.edit_quality --first 30000 --scenes 12 --task dark --task sketch --task jumping "
    "--task crossing --row videograin --grow 0 --margin default --jobs 2",
    "tuning": "benchmarks.tuning",
    "parts": "benchmarks.edit_quality --scenes 16 --task part --task class --row videograin "
    "--dtype bfloat16 --jobs 2",
    "model": "benchmarks.model_quality --scenes 200 --steps 20 --learn 8000",
    "inversion": "benchmarks.model_quality --scenes 200 --steps 50 --learn 0",
    "cost": "benchmarks.edit_cost --model storybook --size 128 --methods videograin --previews 2",
    "cost_sd": "benchmarks.edit_cost --frames 8 --size 256 --methods videograin --set steps=4",
    "cost_words": "benchmarks.edit_cost --model storybook --size 128 --methods fatezero vid2vid_zero "
    "--set steps=10",
    "null_text": "benchmarks.edit_cost --model storybook --methods vid2vid_zero --size 128 --set steps=6",
    "mass": "benchmarks.attention_mass --scenes 1",
    "reconstruction": "benchmarks.reconstruction --scenes 1 --steps 20",
    "attention": "benchmarks.attention --tokens 4096 8192 --dims 40 80 --rounds 3",
    "attention_half": "benchmarks.attention --tokens 4096 8192 --dims 40 80 --rounds 3 --dtype bfloat16",
    "correspondence": "benchmarks.correspondence",
    "consistency": "benchmarks.consistency",
    "length": "benchmarks.length --scenes 1",
    "between": "benchmarks.between --spacing 8 4",
    "page": "benchmarks.app",
    "masks": "storybook.train_sam --run {out}/masks --init assets/storybook/sam --measure",
}

# The smallest case of every benchmark, by module; `real_checkpoint` has a test with a checkpoint of its own.
QUICK = {
    "app": "--clicks 3 --steps 6",
    "attention": "--tokens 64 --dims 40 --rounds 1",
    "attention_mass": "--scenes 1 --set steps=1",
    "between": "--scenes 3 --spacing 4 --row 'all parts'",
    "consistency": "--places 64 --channels 32 --rounds 1 --frames 3",
    "correspondence": "--frames 2 --side 8 --rounds 1",
    "edit_cost": "--methods videograin --frames 2 --size 64 --channels 32 --set steps=1",
    "edit_quality": "--scenes 1 --task instance --row videograin --size 64",
    "glance": "--count 2",
    "length": "--part windows --methods fatezero --frames 16 --window 8 --scenes 1 --set steps=1",
    "model_quality": "--scenes 2 --learn 0 --steps 1",
    "reconstruction": "--scenes 1 --steps 2 --match plain",
    "soak": "--minutes 0.2 --sessions 2",
    "stops": "--stops 2",
    "tuning": "--frames 2 --rounds 1 --no-whole",
}
_NO_FILES = {"soak", "stops"}  # these only print


def measure(name: str, command: str, out: Path) -> int:
    """Run one command and return its exit status."""
    argv = shlex.split(command.format(out=out))
    if argv[0].startswith("benchmarks.") and name not in _NO_FILES:
        argv += ["-o", str(out / name)]
    out.mkdir(parents=True, exist_ok=True)
    partial, began = out / f"{name}.partial", time.monotonic()
    with partial.open("w") as kept:
        line_by_line = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen([sys.executable, "-m", *argv], **line_by_line) as running:
            for line in running.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                kept.write(line)
    if running.returncode == 0:
        partial.replace(out / f"{name}.txt")
    sys.stdout.write(f"{name}: {'done' if running.returncode == 0 else 'failed'} in ")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n\n")
    return running.returncode


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest case of every benchmark")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/benchmarks"))
    args = parser.parse_args()
    commands = {name: f"benchmarks.{name} {how}" for name, how in QUICK.items()} if args.quick else COMMANDS
    if unknown := {*(args.only or ())} - {*commands}:
        parser.error(
            f"--only: {', '.join(sorted(unknown))} was not found. Choose from {', '.join(commands)}."
        )
    failed = []
    for name in args.only or commands:
        if not (args.out / f"{name}.txt").exists():
            sys.stdout.write(f"{name}: python -m {commands[name]}\n")
            failed += [name] * bool(measure(name, commands[name], args.out))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
