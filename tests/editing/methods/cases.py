"""The cases of all methods: what each file NAME_formulas.py says of its method, beside
the formulas."""

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from wiring import COMMON_ROWS, Case

from regrain.editing.params.registry import METHODS


def case_of(name: str) -> Case:
    """Its case, with rows for what it has in common with others."""
    case = import_module(f"{name}_formulas").CASE
    fields = METHODS[name].Params.model_fields
    common = {key: row for key, row in COMMON_ROWS.items() if key in fields}
    return replace(case, rows=common | case.rows)


CASES = {name: case_of(name) for name in METHODS if find_spec(f"{name}_formulas")}
BASES = {name: case.base for name, case in CASES.items()}
