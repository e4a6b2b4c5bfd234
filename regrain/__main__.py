"""The installed command: `regrain edit | masks | cache | app`."""

from __future__ import annotations

import sys

from regrain import __version__

_USAGE = """usage: regrain edit COMMAND ...   edit projects
       regrain masks COMMAND ...  make masks
       regrain cache              show or clear what is kept of earlier runs
       regrain app                start the page on 127.0.0.1:7860
       regrain --version
Each has --help.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command, importing only what it needs; for arguments and exit code see
    `cli.commands.call`."""
    given = sys.argv[1:] if arguments is None else arguments
    command, *rest = given or ["--help"]
    match command:
        case "edit":
            from regrain.editing.__main__ import main as edit

            return edit(rest, "regrain edit")
        case "cache":
            from regrain.editing.__main__ import main as edit

            return edit(["cache", *rest], "regrain")
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

    error = RequestError(
        "COMMAND", f"Expected edit, masks, cache or app, got {shorten(command)}."
    )
    sys.stderr.write(f"error: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
