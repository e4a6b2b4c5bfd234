"""Commands in tests: how they are called, what they say, and projects that are changed
by hand."""

import json
from pathlib import Path

from regrain.editing.request.project import FILE


def command(main):
    """A command line whose arguments may be paths and numbers."""
    return lambda *arguments: main([str(argument) for argument in arguments])


def last_error(capsys) -> str:
    """The last line on stderr."""
    return capsys.readouterr().err.rstrip().splitlines()[-1]


def change(project: Path, **values) -> Path:
    """Write values into a project's file."""
    content = json.loads((project / FILE).read_text()) | values
    (project / FILE).write_text(json.dumps(content))
    return project
