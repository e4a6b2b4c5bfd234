"""Tables of cases in tests."""


def rows(table: dict[str, list]) -> list[tuple]:
    """Each key with each of its values."""
    return [(key, value) for key, values in table.items() for value in values]
