"""The shipped examples are those that the table makes."""

import pytest

from storybook.examples import EXAMPLES, TABLE, make


def test_every_example_is_in_the_table():
    assert sorted(TABLE) == sorted(path.name for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("name", [name for name in TABLE if "no_masks" not in name])
def test_an_example_is_made_again_to_the_byte(name, tmp_path):
    make(name, tmp_path / name)
    files = {p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*") if p.is_file()}
    shipped = EXAMPLES / name
    assert files == {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file()}
    for file in files:
        assert (shipped / file).read_bytes() == (tmp_path / name / file).read_bytes(), file
