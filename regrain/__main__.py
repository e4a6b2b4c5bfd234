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
    """Run one command, importing only what it needs; for arguments and exit code see `cli.commands.call`."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    match command:
        case "edit" | "cache":
            from regrain.editing.__main__ import main as edit

            return (
                edit(rest, "regrain edit")
                if command == "edit"
                else edit([command, *rest], "regrain")
            )
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

    error = RequestError("COMMAND", f"Expected edit, masks or app, got {shorten(command)}.")
    sys.stderr.write(f"error: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
