"""Public names of the packages, each loaded when it is first used."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def public(
    package: str, file: str
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose file imports its public
    names for type checkers alone, as `from module import name as name`; `*` stands for
    those of another package."""
    homes: dict[str, tuple[str, str]] = {}
    for line in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        for one in line.names if isinstance(line, ast.ImportFrom) else ():
            module = line.module or ""
            if one.name == "*":
                names = dir(import_module(module))
                homes |= {name: (module, name) for name in names}
            elif one.asname:
                homes[one.asname] = module, one.name

    def find(name: str) -> object:
        if name == "__all__":
            return sorted(homes)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, there = homes[name]
        return getattr(__import__(module, fromlist=[there]), there)

    return find, lambda: sorted(homes)
