"""The cases of all methods: what each file NAME_formulas.py says of its method, beside
the formulas."""

from importlib import import_module
from importlib.util import find_spec

from regrain.editing.params.registry import METHODS

CASES = {
    name: import_module(f"{name}_formulas").CASE
    for name in METHODS
    if find_spec(f"{name}_formulas")
}
BASES = {name: case.base for name, case in CASES.items()}
