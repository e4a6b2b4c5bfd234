"""Plugin of pytest, `-p tests.first_cases`: runs the first case of each test, and of
each method in it."""

import pytest


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    seen = set()
    first = []
    others = []
    for item in items:
        case = getattr(item, "callspec", None)
        method = case.params.get("method") if case else None
        test = (item.path, getattr(item, "originalname", item.name), method)
        (others if test in seen else first).append(item)
        seen.add(test)
    items[:] = first
    config.hook.pytest_deselected(items=others)
