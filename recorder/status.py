"""How a running recorder is doing, as facts: written each second for `recorder status` and whoever else asks.

In: the daemon. Out: a JSON file, renamed into place. Reading it touches nothing of the recorder. Moments are
nanoseconds UTC. What the facts mean is health.py's business.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

import recorder
from recorder import disk, process
from recorder.clock import SECOND_NS
from recorder.health import verdict

if TYPE_CHECKING:
    from recorder.daemon import Daemon

STATUS_FILE = "_status.json"
HISTOGRAMS = ("received_to_durable", "commit", "checkpoint")


def of(daemon: Daemon) -> dict[str, Any]:
    """The facts of this moment, and the verdict on them."""
    now = daemon.clock.now()
    feeds: dict[str, dict[str, object]] = {}
    for keeper in daemon.roster.keepers:
        channel = keeper.channel
        stream = channel.subscription.stream
        name = f"{stream.feed}/{stream.channel}" if stream.channel else stream.feed
        feeds[name] = {
            "feed": stream.feed,
            "kind": stream.feed_kind,
            "channel": stream.channel,
            "state": channel.state,
            "connections": channel.connections,
            **daemon.tallies.of(stream),
            "last_data_ns": channel.last_data_ns,
            "unusual_silence_s": daemon.rhythms.look(name, channel.last_data_ns, now.utc_ns),
            "rotations": channel.rotations,
            "reconnects": channel.reconnects,
            "repeats": channel.repeats,
            "gap": {"since_ns": channel.gap.since_ns, "cause": channel.gap.cause} if channel.gap else None,
        }
    figures = daemon.journal.figures
    facts: dict[str, object] = {
        "written_ns": now.utc_ns,
        "pid": os.getpid(),
        "version": recorder.__version__,
        "started_ns": daemon.started.utc_ns,
        "clock_behind_ns": daemon.clock.behind_ns,
        "durable_position": daemon.journal.durable,
        "feeds": feeds,
        "sealed_position": daemon.sealed.sealed_position,
        "journal": {
            "buffered_bytes": figures.buffered_bytes,
            "buffered_bytes_max": figures.buffered_bytes_max,
            "buffer_bytes_max": daemon.settings.journal.buffer_bytes_max,
            "waiting_s": round(daemon.journal.waiting_s, 3),
            "commit_interval_ms": daemon.settings.journal.commit_interval_ms,
            "under_pressure": figures.under_pressure,
            "under_pressure_times": figures.under_pressure_times,
            "groups": figures.groups,
            "messages": figures.messages,
            "bytes": figures.bytes,
            "under_pressure_s": round(figures.under_pressure_ns / SECOND_NS, 3),
            "commits_failed": figures.commits_failed,
            "failed": str(daemon.journal.failed) if daemon.journal.failed else None,
            "failing": figures.failing,
            "damage": daemon.journal.opening.cause,
            "durable_ms_p50": figures.received_to_durable.quantile_ms(0.5),
            "durable_ms_p99": figures.received_to_durable.quantile_ms(0.99),
            "commit_ms_p50": figures.commit.quantile_ms(0.5),
            "commit_ms_p99": figures.commit.quantile_ms(0.99),
            "histograms": {name: getattr(figures, name).facts() for name in HISTOGRAMS},
        },
        "seal": {
            "rows": daemon.sealed.rows,
            "unparsed": daemon.sealed.unparsed,
            "file_bytes": daemon.sealed.file_bytes,
            "seconds": daemon.sealed.seconds,
            "age_s": round((now.monotonic_ns - daemon.sealed_ns) / SECOND_NS, 1),
            "interval_s": daemon.settings.seal.interval_s,
        },
        "process": process.occupies(),
        "totals": daemon.tallies.facts(),
        "heartbeat": daemon.heartbeat.status() if daemon.heartbeat else None,
        "repairs": daemon.repairs.status(),
        "stored": daemon.keeping.figures,
        "jobs": daemon.schedule.table(),
        "disk": {
            "free_bytes": free_bytes(daemon.settings.data),
            "reserve_bytes": daemon.settings.disk.reserve_bytes,
            "halted": daemon.reserve.halted,
        },
    }
    return facts | {"health": verdict(facts, True, now.utc_ns).as_dict()}


def free_bytes(data: Path) -> int:
    """What an unprivileged process may still write there."""
    free = os.statvfs(data)
    return free.f_bavail * free.f_frsize


def write(data: Path, facts: dict[str, object]) -> None:
    """Replace the file in one step. Not durable: it says how things are this second, and commits feel every fsync."""
    path = data / STATUS_FILE
    aside = path.with_name(f"{disk.ASIDE}{path.name}.tmp")
    aside.write_bytes(orjson.dumps(facts))
    aside.replace(path)
