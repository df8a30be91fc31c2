"""How the recorder and its replays are doing, as facts for `/status`, `/healthz` and `/metrics`.

In: the lock and `_status.json` of the data directory, the sessions of this server. Out: one dict. Moments are UTC
nanoseconds. Reading them touches nothing of the recorder; what its facts mean is health.py's business.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from recorder import __version__, health
from recorder.errors import Damaged
from recorder.journal.lock import is_held
from recorder.replay.playhead import MAX
from recorder.replay.port.server import Server
from recorder.replay.reading import bounds_of
from recorder.replay.session import Session
from recorder.replay.sessions import Sessions
from recorder.status import STATUS_FILE


def of(sessions: Sessions, server: Server) -> dict[str, Any]:
    """The facts of this moment."""
    now_ns = sessions.clock.now().utc_ns
    running = is_held(sessions.timeline.data)
    told = _told(sessions.timeline.data)
    limits = sessions.limits
    return {
        "written_ns": now_ns,
        "version": __version__,
        "running": running,
        "data": str(sessions.timeline.data.resolve()),
        "recorded": _recorded(sessions),
        "health": _verdict(told, running, now_ns).as_dict() if running else None,
        "recorder": told,
        "replay": {
            "clients": server.clients,
            "turned_away_total": server.turned_away,
            "handshakes_failed_total": server.handshakes_failed,
            "protocol_errors_total": server.protocol_errors,
            **{name: sessions.counts[name] for name in COUNTS},
            "limits": {name: getattr(limits, name) for name in LIMITS},
            "sessions": [_session(session) for session in sessions.all],
        },
    }


COUNTS = (
    "sessions_total",
    "sessions_refused_total",
    "queries_refused_total",
    "operations_refused_total",
    "clients_flooding_total",
    "clients_cut_idle_total",
    "messages_sent_total",
    "bytes_sent_total",
)
LIMITS = (
    "sessions_max",
    "listeners_max",
    "listener_buffer_bytes_max",
    "message_bytes_max",
    "messages_per_s_max",
    "handshake_timeout_s",
    "idle_s",
    "grace_s",
)


def _recorded(sessions: Sessions) -> dict[str, int] | None:
    """The bounds of what is durable; None where there is nothing, or nothing that can be read."""
    try:
        bounds = bounds_of(sessions.timeline)
    except Damaged:
        return None
    return None if bounds is None else asdict(bounds)


def _session(session: Session) -> dict[str, Any]:
    state = session.state()
    return {
        "name": session.name,
        "status": state.status,
        "moment_ns": state.moment_ns,
        "position": state.position,
        "speed": "max" if state.speed == MAX else state.speed,
        "speed_reached": state.speed_reached,
        "lateness_ms": state.lateness_ms,
        "listeners": state.listeners,
        "played": state.played,
        "backlog_bytes": sum(listener.backlog_bytes for listener in session.listeners),
    }


def _told(data: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = orjson.loads((data / STATUS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return told


def _verdict(told: dict[str, Any] | None, running: bool, now_ns: int) -> health.Verdict:
    try:
        return health.verdict(told, running, now_ns)
    except (KeyError, TypeError):
        return health.Verdict(health.State.DEGRADED, ("the recorder is of another version than this server",))
