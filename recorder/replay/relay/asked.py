"""What a client of an imitated upstream asks to be played, beside what it says to the upstream. Pure.

In: the query of its handshake, the session its path names, the server's defaults. Out: `Asked`, or RequestInvalid,
which names the parameter, what was given and what is possible.

    from, to, speed, max_idle, loop, paused, session   as at /replay
    feed=a,b                  from these feeds only; else from all of the kind, each article once
    faults=as_recorded        with the upstream's recorded closes and gaps and Finlight's two limits, and nothing kept
                              for a client that reconnects; `smoothed`, the default, is without
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recorder.errors import RequestInvalid
from recorder.replay.wire import Options, parse_query, session_name

PLAYED = ("from", "to", "speed", "max_idle", "loop", "paused", "session")
OWN = ("feed", "faults")
UPSTREAMS = ("apiKey", "takeover", "clientVersion", "token")  # what clients say to the upstream, or at the gate
DEFAULTS = {"from": "live"}


@dataclass(frozen=True)
class Asked:
    """What is to be played, and how."""

    options: Options
    feeds: frozenset[str] | None = None
    as_recorded: bool = False

    @property
    def name(self) -> str | None:
        """The session's."""
        return self.options.session

    def may_share(self, other: Asked) -> bool:
        """Whether one relay serves both: on a named session, from the same feeds, with the same faults."""
        mine, others = (self.name, self.feeds, self.as_recorded), (other.name, other.feeds, other.as_recorded)
        return self.name is not None and mine == others


def parse(query: Mapping[str, str], session: str | None = None, defaults: Mapping[str, str] | None = None) -> Asked:
    """`session` is the one in the path; `defaults` are parameters as a query has them. Raises RequestInvalid."""
    for name in query:
        if name not in (*PLAYED, *OWN, *UPSTREAMS):
            raise RequestInvalid("parameter", name, ", ".join((*PLAYED, *OWN)))
    played = {**DEFAULTS, **(defaults or {})} | {name: query[name] for name in PLAYED if name in query}
    if session is not None:
        if played.get("session") not in (None, session):
            raise RequestInvalid("session", played["session"], f"{session}, as the path says, or none")
        played["session"] = session_name("session", session)
    faults = query.get("faults", "smoothed")
    if faults not in ("smoothed", "as_recorded"):
        raise RequestInvalid("faults", faults, "smoothed, as_recorded")
    feeds = frozenset(filter(None, query.get("feed", "").split(","))) or None
    return Asked(parse_query(played), feeds, faults == "as_recorded")
