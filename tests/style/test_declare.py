"""The page's types of what the server sends are those that the server says."""

from tests.style.declare import FILE, declared


def test_types_are_written_from_the_views():
    assert FILE.read_text() == declared(), "run python -m tests.style.declare"
