"""A request with some values replaced, as command line and batches give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from editing.request import EditRequest


def override(
    request: EditRequest,
    *,
    method: str | None = None,
    params: Mapping[str, object] | None = None,
    prompts: Sequence[str] = (),
    **values: Any,
) -> tuple[EditRequest, list[str]]:
    """Replace values of a request.

    Args:
        request: The request.
        method: Another method; the request's parameters then go, since they are of its own method.
        params: Parameters; the others stay.
        prompts: The prompt, and those of further edits.
        values: Other fields by name; None keeps a field.

    Returns:
        The request, and notes for the report.

    Raises:
        RequestError: A value is not allowed.
    """
    notes = []
    if method is not None and method != request.method:
        if request.params:
            dropped = ", ".join(sorted(request.params))
            notes.append(f"--method {method} dropped the project's params for {request.method}: {dropped}.")
        request = replace(request, method=method, params={})
    given = {key: value for key, value in values.items() if value is not None}
    if prompts:
        given |= {"prompt": prompts[0], "more_prompts": tuple(prompts[1:])}
    return replace(request, params={**request.params, **(params or {})}, **given), notes
