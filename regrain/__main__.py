"""The installed command: `regrain edit | masks | app`."""

from __future__ import annotations

import sys

from regrain import __version__

_USAGE = """usage: regrain edit COMMAND ...   edit projects, as `python -m editing`
       regrain masks COMMAND ...  make masks, as `python -m masks`
       regrain cache              show or clear what is kept of earlier runs
       regrain app                start the page on 127.0.0.1:7860
       regrain --version
Each has --help.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; imports only what it needs.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        Exit code: 0, 2 for an error that the user can fix, 130 when stopped.
    """
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    match command:
        case "edit":
            from regrain.editing.__main__ import main as edit

            return edit(rest, "regrain edit")
        case "cache":
            from regrain.editing.__main__ import main as edit

            return edit([command, *rest], "regrain")
        case "masks":
            from regrain.masks.__main__ import main as masks

            return masks(rest, "regrain masks")
        case "app" if not rest:
            from regrain.ui.page.launch import main as start

            start()
            return 0
        case "--version" if not rest:
            sys.stdout.write(f"regrain {__version__}\n")
            return 0
        case "--help" | "-h" | "app":
            sys.stdout.write(_USAGE)
            return 0
    from regrain.editing.errors import RequestError, shorten

    sys.stderr.write(
        f"error: {RequestError('COMMAND', f'Expected edit, masks or app, got {shorten(command)}.')}\n"
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
