"""Commands in tests: how they are called, what they say, and projects that are changed
by hand."""

from pathlib import Path

from json_files import read_json, write_json

from regrain.editing.request.project import FILE


def command(main):
    """A command line whose arguments may be paths and numbers."""
    return lambda *arguments: main([str(argument) for argument in arguments])


def last_error(capsys) -> str:
    """The last line on stderr."""
    return capsys.readouterr().err.rstrip().splitlines()[-1]


def change(project: Path, **values) -> Path:
    """Write values into a project's file."""
    content = read_json(project / FILE) | values
    write_json(project / FILE, content)
    return project
