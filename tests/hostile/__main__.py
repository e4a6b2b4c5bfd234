"""`python -m tests.hostile [--kind KIND ...]` prints what fails, and
passed/total."""

from __future__ import annotations

import argparse
import collections
import sys
import time

from tests.hostile import KINDS, all_cases
from tests.hostile.cases import sample
from tests.hostile.running import SECONDS, run, warm_up


def main() -> int:
    """Run the corpus; 0 if all passed."""
    parser = argparse.ArgumentParser(description="Run hostile inputs.")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--like", default="", help="only cases whose name contains this"
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="at most this many of each kind, seeded"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each case")
    args = parser.parse_args()
    cases = [case for case in all_cases(args.kind) if args.like in case.name]
    if args.sample:
        cases = sample(cases, args.sample)
    warm_up(cases)
    began = time.monotonic()
    wrong = collections.Counter()
    total = collections.Counter()
    for case, answer, fault in run(cases, args.seconds):
        total[case.kind] += 1
        if fault:
            wrong[case.kind] += 1
        if fault:
            said = (
                answer.said.encode("ascii", "backslashreplace").decode()[-600:].strip()
            )
            sys.stdout.write(
                f"{case.kind}: {case.name}: {fault} ({answer.code})\n    {said}\n"
            )
            sys.stdout.flush()
    for kind, count in total.items():
        sys.stdout.write(f"{kind:10} {count - wrong[kind]}/{count}\n")
    passed = total.total() - wrong.total()
    sys.stdout.write(
        f"{passed}/{total.total()} passed in {time.monotonic() - began:.0f} s\n"
    )
    return int(passed < total.total())


if __name__ == "__main__":
    sys.exit(main())
