"""The command line: names, options and help. What a command does is in `commands/`, imported only when it is called.

In: arguments. Out: data on stdout, talk on stderr, and an exit code: 0 fine, 3 done but something was lost or found
missing, 1 failed, 2 usage. Nothing heavy is imported here, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from recorder import __version__, cli_keeping, cli_questions
from recorder.errors import RecorderError
from recorder.options import as_json, load, load_for_reading, path, places, recording

if TYPE_CHECKING:
    from pathlib import Path


class Commands(click.Group):
    """Turns what a command returns or raises into an exit code, and errors into sentences.

    RECORDER_DEBUG=1 in the environment shows the traceback as well.
    """

    def invoke(self, ctx: click.Context) -> None:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # `recorder tail | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would complain
            code = 0
        except (RecorderError, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:
                raise  # not about a file a person named or owns: a mistake of ours
            if os.environ.get("RECORDER_DEBUG"):
                raise
            click.echo(f"recorder: {error}", err=True)
            code = error.exit_code if isinstance(error, RecorderError) else 1
        except Exception as error:  # all but SQLite's go on at once
            # By name, so that nobody else has to import it.
            if type(error).__module__ != "sqlite3" or os.environ.get("RECORDER_DEBUG"):
                raise
            advice = (
                "Try again; where no recorder runs, `recorder repair` puts it in order, as every start of one does."
            )
            click.echo(f"recorder: recorder.sqlite cannot be read: {error}. {advice}", err=True)
            code = 3 if type(error).__name__ == "DatabaseError" else 1
        ctx.exit(code or 0)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Keeps market streams alive, makes every message durable and serves them to SQL.

    \b
    First minutes:  recorder demo
    For real:       recorder check && recorder run
    """


for _command in (*cli_questions.COMMANDS, *cli_keeping.COMMANDS):
    main.add_command(_command)


@main.command()
@places
@click.option(
    "--serve/--no-serve", "serving", default=True, help="Play the recording to clients as well.  [default: serve]"
)
def run(config: Path | None, data: Path | None, serving: bool) -> int:
    """Record until SIGTERM or Ctrl-C; the second one stops at once. SIGHUP reads the feeds anew.

    The replay server (see `recorder serve`) runs beside it, in a process of its own.

    \b
    recorder run
    recorder run --config /etc/recorder/config.toml --data /var/lib/recorder
    """
    from recorder.commands import run as command
    from recorder.configuration import find

    return command.main(lambda: load(config, data), find(config), serving=serving)


@main.command()
@click.option("--for", "for_s", type=click.FloatRange(min=1), default=30.0, metavar="SECONDS", show_default=True)
@click.option("--keep", type=path, metavar="DIR", help="Keep the recording here.")
@as_json
def demo(for_s: float, keep: Path | None, as_json: bool) -> int:
    """Record from imitations of both upstreams, with faults, and prove that nothing is lost.

    \b
    recorder demo
    recorder demo --for 60 --keep demo-data
    """
    from recorder.commands import demo as command

    return command.main(for_s=for_s, keep=keep, as_json=as_json)


@main.command()
@click.option("--keep", type=path, metavar="DIR", help="Work here, and leave everything there.")
@as_json
def drill(keep: Path | None, as_json: bool) -> int:
    """Break a recorder on purpose and compare what is lost with what is promised. Exit code 1 where they differ.

    Recorders of its own, recording from imitations into a folder of their own, are killed with kill -9, have the
    journal's tail torn off, run out of disk, and lose a network that does not say so. Nothing of yours is touched, and
    yours may run meanwhile. Takes less than a minute. As root a disk is filled for real: a small one, mounted for it.

    \b
    recorder drill
    recorder drill --keep /var/lib/recorder-drill    # on the disk that is to be trusted
    recorder drill --json | jq '.outcomes[] | select(.holds | not)'
    """
    from recorder.commands import drill as command

    return command.main(keep=keep, as_json=as_json)


@main.command()
@places
@as_json
def check(config: Path | None, data: Path | None, as_json: bool) -> int:
    """Say whether `run` would start: settings, secrets, data folder, speed of the disk.

    \b
    recorder check
    recorder check --config new.toml --json
    """
    from recorder.commands import check as command
    from recorder.configuration import find

    return command.main(load(config, data), find(config), as_json=as_json)


@main.command()
@places
@as_json
@click.option("--watch", is_flag=True, help="Look every second, until Ctrl-C; not a terminal: a line a second.")
def status(config: Path | None, data: Path | None, as_json: bool, watch: bool) -> int:
    """Say what the recorder is doing now.

    Exit code 0: running and every feed receiving. 3: running, but a gap is open. 1: not running.

    \b
    recorder status
    recorder status --watch
    recorder status --json | jq .health
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people; --json with watch, cron or /metrics is for machines.")
    from recorder.commands import status as command

    return command.main(recording(config, data), as_json=as_json, watch=watch)


@main.command()
@places
@as_json
@click.option("--host", metavar="ADDRESS", help="Listen here, over the configured one.")
@click.option("--port", type=click.IntRange(0, 65535), help="The same; 0: any that is free.")
@click.option("--from", "from_", metavar="MOMENT", help="Where /finlight, /quotes, … begin.  [default: live]")
@click.option("--speed", metavar="SPEED", help="Their pace: 1, 60, max, ….  [default: 1]")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    host: str | None,
    port: int | None,
    from_: str | None,
    speed: str | None,
    until_stdin_closes: bool,
) -> int:
    """Play the recording to WebSocket clients, until SIGTERM or Ctrl-C. Only reads; says where on stdout.

    /replay is for clients that know it. /finlight, /quotes, /profile/SYMBOL, /market and /hours are for clients of the
    upstreams; /session/NAME/ before any of them makes them share one replay.

    \b
    recorder serve
    recorder serve --port 0 --data demo-data
    recorder serve --from 2026-01-31T14:30 --speed 60
    """
    from recorder.commands import serve as command

    played = {name: text for name, text in (("from", from_), ("speed", speed)) if text is not None}
    settings = load_for_reading(config, data)
    return command.main(
        settings, host=host, port=port, as_json=as_json, until_stdin_closes=until_stdin_closes, played=played
    )


@main.command()
@places
@as_json
@click.option("--feed", metavar="NAME", help="Only of this feed.")
@click.option("-n", "lines", type=click.IntRange(min=0), default=10, show_default=True, help="Begin so many back.")
@click.option("--from", "from_position", type=click.IntRange(min=0), metavar="POSITION", help="Begin here instead.")
def tail(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    feed: str | None,
    lines: int,
    from_position: int | None,
) -> int:
    """Show messages as they become durable, until Ctrl-C.

    \b
    recorder tail --feed news
    recorder tail --from 0 --json > everything.ndjson
    """
    from recorder.commands import tail as command

    data = recording(config, data)
    return command.main(data, feed=feed, lines=lines, from_position=from_position, as_json=as_json)


@main.command()
@places
@as_json
@click.argument("url", required=False)
@click.option("--from", "from_", metavar="POINT", help="Begin here: a moment, an epoch, @position, start or live.")
@click.option("--to", metavar="POINT", help="End before this one. Without it, it goes on into what is being recorded.")
@click.option("--feeds", metavar="NAME,…", help="Only of these feeds.")
@click.option("--symbols", metavar="NAME,…", help="Only what is about these symbols.")
@click.option("--speed", metavar="FACTOR", help="0.01 to 1000000, or max.  [default: 1]")
@click.option("--max-idle", metavar="DURATION", help="Cut longer silences down to this, like 5s.")
@click.option("--loop", is_flag=True, help="Begin again at the end.")
@click.option("--paused", is_flag=True, help="Begin standing still.")
@click.option("--session", metavar="NAME", help="Share the playhead with all who name the same.")
def play(
    config: Path | None,
    data: Path | None,
    as_json: bool,
    url: str | None,
    from_: str | None,
    loop: bool,
    paused: bool,
    **options: str | None,
) -> int:
    """Listen to a replay: with keys on a terminal (? lists them), else a line a message.

    Plays what is recorded here, or what the server at URL plays. --json: the frames as they come.

    \b
    recorder play --speed 60
    recorder play --from 2026-01-31T14:30 --feeds news --max-idle 5s
    recorder play ws://127.0.0.1:8765 --session demo
    recorder play --speed max --json > everything.ndjson
    """
    if url is not None and data is not None:
        raise click.UsageError("URL and --data exclude each other.")
    from recorder.commands import play as command

    asked = {"from": from_, **options, "loop": loop and "true", "paused": paused and "true"}
    query = {name: text for name, text in asked.items() if text}
    return command.main(load_for_reading(config, data), config, url, query, as_json=as_json)
