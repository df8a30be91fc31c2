"""Where the program starts: what needs no command line is answered before one is imported.

`--help` from a text that is ready and `--version` start like `python -c pass`; importing click alone takes four times
that. The text is what click says on 80 columns, which a test holds; a narrower terminal gets click's own.
"""

from __future__ import annotations

import os
import sys

from recorder import __version__

HELP_FILE = "help.txt"  # python -m recorder.start makes it anew
HELP_COLUMNS = 80  # click never uses more


def main() -> None:
    asked = sys.argv[1:]
    if asked == ["--version"]:
        print(f"recorder, version {__version__}")
    elif asked in (["--help"], ["-h"]) and _columns() >= HELP_COLUMNS:
        with open(os.path.join(os.path.dirname(__file__), HELP_FILE), encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123 - pathlib takes as long as all the rest
            sys.stdout.write(file.read())
    else:
        from recorder.cli import main

        main(prog_name="recorder")


def made() -> str:
    """What click says of the program."""
    from recorder.cli import main

    return (
        main.get_help(main.make_context("recorder", [], resilient_parsing=True, max_content_width=HELP_COLUMNS)) + "\n"
    )


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        return HELP_COLUMNS  # no terminal


if __name__ == "__main__":
    # The path as it is read above.
    with open(os.path.join(os.path.dirname(__file__), HELP_FILE), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123
        file.write(made())
