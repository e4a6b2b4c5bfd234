"""`python -m tests.style.density` says how dense the code is, and fails above the
limits.

Density is the number of nodes of the syntax tree per line of code, over all functions
of 12 lines and more. Docstrings, comments and empty lines do not count. Well-known code
has 6 to 10.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("editing", "masks", "ui", "storybook", "benchmarks")
MOST_NODES = 10  # per line
MOST_RIDDLES = 25
SHORT = 12  # lines; shorter functions do not count
# Docstrings begin with a verb or a noun, not with these.
RIDDLE = re.compile(r"(What|Whether|Those|The same|All that|As|Who)\b")


class Measured(NamedTuple):
    """One function: where it is, its lines of code, and the nodes of its syntax
    tree."""

    place: str
    lines: int
    nodes: int

    @property
    def density(self) -> float:
        """Nodes per line."""
        return self.nodes / self.lines


def sources() -> Iterator[tuple[str, str]]:
    """Path and text of every module of the packages."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def measure(name: str, text: str) -> Iterator[Measured]:
    """Measure the functions of a module that are not short."""
    lines = text.splitlines()
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if not body:
            continue
        written = (
            line.strip() for line in lines[body[0].lineno - 1 : function.end_lineno]
        )
        code = [line for line in written if line and not line.startswith("#")]
        if len(code) >= SHORT:
            nodes = sum(1 for statement in body for _ in ast.walk(statement))
            yield Measured(
                f"{name}:{function.lineno} {function.name}", len(code), nodes
            )


def riddles(name: str, text: str) -> Iterator[str]:
    """Docstrings that begin with a word of `RIDDLE`, each with its module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    for node in ast.walk(ast.parse(text)):
        docstring = ast.get_docstring(node) if isinstance(node, kinds) else None
        if docstring and RIDDLE.match(docstring):
            yield f"{name}: {docstring.splitlines()[0]}"


def main() -> int:
    """Print both figures and the worst; 1 if one is above its limit."""
    modules = list(sources())
    functions = [found for name, text in modules for found in measure(name, text)]
    found = [riddle for name, text in modules for riddle in riddles(name, text)]
    nodes = sum(f.nodes for f in functions)
    lines = sum(f.lines for f in functions)
    density = nodes / lines
    sys.stdout.write(
        f"{density:.2f} nodes a line in {len(functions)} functions (at most {MOST_NODES})\n"
    )
    sys.stdout.write(f"{len(found)} docstrings like riddles (at most {MOST_RIDDLES})\n")
    if density <= MOST_NODES and len(found) <= MOST_RIDDLES:
        return 0
    for function in sorted(functions, key=lambda one: -one.density)[:12]:
        sys.stdout.write(
            f"  {function.density:.1f} in {function.lines} lines: {function.place}\n"
        )
    for riddle in found[:12]:
        sys.stdout.write(f"  {riddle}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
