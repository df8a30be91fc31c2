"""The recorder's own entries in the journal: one JSON object a message of kind LIFECYCLE, `event` first.

They are what `connections`, `gaps` and `coverage` are made of, and what replay shows of silence. The connection an
entry is about is the message's own `connection`. Durations and moments carry their unit in the name; UTC.

event                fields
recorder.started     version, pid
recorder.stopped     cause
recorder.reloaded    kept, added, changed, removed, restart_for     channels; sections that need a restart
recorder.stalled     stalled_ns                     so long nothing was read: what came meanwhile is timed late
clock.stepped        behind_ns                      the wall clock went back by so much and is not obeyed
clock.stepped        ahead_ns                       the wall clock went forward by so much, and is obeyed
disk.full            reserve_bytes                  less is free: feeds are hung up before anything breaks
disk.freed           resume_bytes                   so much is free again: feeds are dialled anew
journal.lost         first_position, last_position, cause
parts.let_go         feed, first_position, last_position, bytes
                     let go on purpose: everything up to there (no feed), or what one feed had; bytes of the files
connection.dialled   url, purpose                   purpose: start, redial, rotation, poll
connection.opened    handshake_ms
connection.proven    after_ms                       first proof of life, from dialling
connection.refused   status, retry_s, cause         the handshake was answered with an HTTP error
connection.failed    error, retry_s                 no answer: DNS, TCP, TLS, time-out
connection.closed    code, reason, by, cause, frames, bytes, last_received_ns     by: us, upstream
rotation.started     old, new, cause
rotation.done        old, new, cause, proof, both, only_old, only_new, variants, overlap_ms
rotation.failed      old, new, cause
gap.opened           since_ns, cause
gap.closed           since_ns, until_ns, cause
gap.repaired         since_ns, until_ns, recovered, already, pages, late_pass, complete, repair, again_ns
                     a pass over a closed gap by REST: articles recovered and already recorded, pages read, whether
                     it was the last look, whether nothing is left out, that in words, when the next is due (or null)
channel.removed      since_ns                       it is not in the settings any more, so nothing is expected of it
feed.*               detail                         something a person should see: error, preempted, key_refused, …
"""

from __future__ import annotations

from typing import Any

import orjson

RECORDER_FEED = "recorder"


def entry(event: str, **fields: Any) -> bytes:
    """One lifecycle entry as it is journalled."""
    return orjson.dumps({"event": event, **fields})


def read(payload: bytes) -> dict[str, Any]:
    """The fields of an entry, `event` among them."""
    fields: dict[str, Any] = orjson.loads(payload)
    return fields
