"""The commands that keep a recording: names, options and help. What they do is in `commands/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recorder.options import as_json, load_for_reading, places, recording

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@places
@as_json
def verify(config: Path | None, data: Path | None, as_json: bool) -> int:
    """Read everything and check checksums, counts and order. Exit code 3 with a list of what was found.

    \b
    recorder verify
    recorder verify --json | jq '.findings[]'
    """
    from recorder.commands import verify as command

    return command.main(recording(config, data), as_json=as_json)


@click.command()
@places
@as_json
def repair(config: Path | None, data: Path | None, as_json: bool) -> int:
    """Set aside what is damaged, so that the rest can be read again. Exit code 3 with a list of what was done.

    Reads everything, as `verify` does, where no recorder runs. Damaged files go to _quarantine, what of them can still
    be read goes on in files of its own, and what is gone is on record as lost. Nothing is deleted.

    \b
    recorder verify || recorder repair
    recorder repair --data /mnt/backup/recorder --json
    """
    from recorder.commands import repair as command

    return command.main(load_for_reading(config, data), as_json=as_json)


@click.command()
@places
@as_json
@click.option("--dry-run", is_flag=True, help="Only say what there is to do.")
def compact(config: Path | None, data: Path | None, as_json: bool, dry_run: bool) -> int:
    """Make few files of many, now. A recorder does it by itself, so this is for where none runs.

    \b
    recorder compact --dry-run
    recorder compact --data demo-data
    """
    from recorder.commands import compact as command

    return command.main(load_for_reading(config, data), dry_run=dry_run, as_json=as_json)


@click.command()
@places
@as_json
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def retain(config: Path | None, data: Path | None, as_json: bool, dry_run: bool) -> int:
    """Let go of what is too old or too much by [retain] of the settings. A recorder does it by itself.

    \b
    recorder retain --dry-run
    recorder retain
    """
    from recorder.commands import retain as command

    return command.main(load_for_reading(config, data), dry_run=dry_run, as_json=as_json)


@click.command()
@places
@as_json
@click.option("--dry-run", is_flag=True, help="Only say what there is to do.")
@click.argument("tables", nargs=-1, metavar="[TABLE]…")
def rebuild(config: Path | None, data: Path | None, as_json: bool, dry_run: bool, tables: tuple[str, ...]) -> int:
    """Make typed tables anew from `messages`; without a name all of them.

    For when a table has got columns, or reads better what it read wrong: older days then have it as well. A recorder
    may record meanwhile: it does the work itself, with what is left of one core, and goes on with it if this ends.
    Readers see the old rows or the new ones; the old files go after their grace (`compact.grace_s`).

    \b
    recorder rebuild --dry-run
    recorder rebuild headlines quotes
    """
    from recorder.commands import rebuild as command

    return command.main(load_for_reading(config, data), tables, dry_run=dry_run, as_json=as_json)


COMMANDS = (verify, repair, compact, retain, rebuild)
