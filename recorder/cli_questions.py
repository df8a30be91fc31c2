"""The commands that ask a recording: names, options and help. What they do is in `commands/`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from recorder.options import as_json, path, places, recording

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.commands.export import Format
    from recorder.commands.rows import Form


@click.command()
@places
@as_json
def info(config: Path | None, data: Path | None, as_json: bool) -> int:
    """Say what is recorded: feeds, times, messages, bytes, tables, and what is not sealed yet.

    \b
    recorder info
    recorder info --data demo-data --json
    """
    from recorder.commands import info as command

    return command.main(recording(config, data), as_json=as_json)


@click.command()
@places
@click.option("--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), help="[default: table]")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv.")
@click.option("--timing", is_flag=True, help="Say on stderr how long it took.")
@click.argument("statement", required=False)
def sql(
    statement: str | None,
    config: Path | None,
    data: Path | None,
    form: Form | None,
    as_json: bool,
    as_csv: bool,
    timing: bool,
) -> int:
    """Ask the recording, up to the last durable message. "-" reads the statement from stdin.

    Without a statement, on a terminal, it asks for statements: with history, over several lines, until Ctrl-D. Long
    tables go through $PAGER.

    \b
    recorder sql
    recorder sql "SELECT feed, count(*) FROM messages GROUP BY feed"
    recorder sql "SELECT * FROM quotes WHERE symbol = 'AAPL'" --csv > aapl.csv
    recorder sql - --json < question.sql
    """
    forms: list[Form] = [*([form] if form else ()), *(("json",) if as_json else ()), *(("csv",) if as_csv else ())]
    if len(forms) > 1:
        raise click.UsageError("--format, --json and --csv exclude each other.")
    if statement is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("Give a statement, or - to read one from stdin; only a terminal is asked for some.")
    from recorder.commands import sql as command

    return command.main(recording(config, data), statement, form=forms[0] if forms else "table", timing=timing)


@click.command()
@places
@as_json
@click.option("--feed", metavar="NAME", help="Only of this feed.")
@click.option("--since", type=click.DateTime(), help="Only what lasted beyond this moment, UTC.")
def gaps(config: Path | None, data: Path | None, as_json: bool, feed: str | None, since: Any) -> int:
    """List when a feed was not provably receiving, and why. A gap without `until` is still open.

    \b
    recorder gaps
    recorder gaps --feed news --since 2026-01-31
    """
    from recorder.commands import gaps as command

    return command.main(recording(config, data), feed=feed, since=since, as_json=as_json)


@click.command()
@places
@as_json
@click.argument("table", required=False)
@click.option("--sql", "statement", metavar="SELECT", help="The answer to this, instead of a table.")
@click.option("--out", type=path, metavar="FILE", required=True, help="Is written whole or not at all.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv", "ndjson"]), help="[default: what --out ends in]")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option("--feed", "feeds", multiple=True, metavar="NAME", help="Only of this feed, or of several.")
@click.option("--symbol", "symbols", multiple=True, metavar="NAME", help="Only about this symbol, or several.")
@click.option("--from", "since", metavar="MOMENT", help="Only what was received then or later, UTC.")
@click.option("--to", "until", metavar="MOMENT", help="Only what was received before, UTC.")
def export(
    table: str | None,
    statement: str | None,
    config: Path | None,
    data: Path | None,
    out: Path,
    form: Format | None,
    force: bool,
    feeds: tuple[str, ...],
    symbols: tuple[str, ...],
    since: str | None,
    until: str | None,
    as_json: bool,
) -> int:
    """Write a table, or the answer to a question, to a file for other programs. Tables come in order of position.

    \b
    recorder export quotes --symbol AAPL --symbol NVDA --from 2026-01-31 --out quotes.parquet
    recorder export articles --feed news --to 2026-01-31T12:00 --out articles.ndjson
    recorder export --sql "FROM ohlc('AAPL', '1 minute')" --out bars.csv
    """
    filters = bool(feeds or symbols or since or until)
    if (table is None) == (statement is None) or (statement is not None and filters):
        raise click.UsageError("Give a table, with or without filters, or --sql alone.")
    from recorder.commands import export as command

    wanted = command.Wanted(feeds, symbols, command.moment("--from", since), command.moment("--to", until))
    form = command.format_of(out, form)
    where = recording(config, data)
    return command.main(where, table, statement, wanted=wanted, form=form, out=out, force=force, as_json=as_json)


COMMANDS = (info, sql, gaps, export)
