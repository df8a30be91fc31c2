"""What the demo records and what goes wrong when: a duration in, settings and faults out. Pure.

Hours become seconds: in a demo of 30 s, Finlight ends connections after 6 s instead of two hours, the recorder
replaces them after 4 s instead of 110 minutes, and a channel is dead after 2.5 s of silence instead of 30 s to 2
minutes. Shorter demos shrink all of it down to a quarter; longer ones have the faults again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.demo.check import Channel
from recorder.settings import Settings

ROUND_S = 30.0  # one course through all faults
PACE_MIN = 0.25
QUIET_SHARE = 0.9  # of a round; after it nothing is broken any more
ARTICLES_PER_S = 20.0
REFRESH_S = 0.5
QUOTES = ("AAPL", "MSFT", "NVDA", "TSLA", "JPM", "XOM", "SPY", "BTC-USD")
PROFILES = ("NVDA", "JPM")
# Half a second after a gap, where a minute is usual; and a gap every few seconds asks more often than a plan allows.
BACKFILL = {"backfill_delay_s": 0.5, "backfill_requests_per_day_max": 1_000_000}
SECRET = "demo"  # noqa: S105 - the imitation lets any key in


def channels(profiles: Iterable[str]) -> Mapping[tuple[str, str], Channel]:
    """Who subscribes to which path of which upstream: all six kinds."""
    return {
        ("finlight", "/"): ("news", ""),
        ("finlight", "/raw"): ("wire", ""),
        ("finance_query", "/quotes"): ("quotes", ""),
        ("finance_query", "/market"): ("market", ""),
        ("finance_query", "/hours"): ("hours", ""),
        **{("finance_query", f"/profile/{symbol.lower()}"): ("profiles", symbol) for symbol in profiles},
    }


CHANNELS = channels(PROFILES)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to go wrong. `at_s`: seconds from the start. `orders` for the upstreams, in this order."""

    at_s: float
    text: str
    orders: tuple[Mapping[str, Any], ...] = field(repr=False)


def pace(for_s: float) -> float:
    """How fast time goes in the demo's limits: 1 from 30 s on."""
    return min(1.0, max(PACE_MIN, for_s / ROUND_S))


def upstream_options(for_s: float) -> dict[str, Any]:
    """For `recorder.demo.upstreams`."""
    return {
        "articles_per_s": ARTICLES_PER_S,
        "refresh_s": REFRESH_S,
        "finlight_limit_s": 6.0 * pace(for_s),
    }


def settings(for_s: float, data: Path, finlight_url: str, finlight_rest_url: str, finance_query_url: str) -> Settings:
    """What would stand in config.toml."""
    unit_s = pace(for_s)
    finlight = {"url": finlight_url, "rotate_s": 4.0 * unit_s, "overlap_s": 1.5 * unit_s, "include_content": True}
    finance_query = {"url": finance_query_url, "silence_s": max(2.5 * unit_s, 3 * REFRESH_S)}
    rotated = finance_query | {"rotate_s": 7.0 * unit_s, "overlap_s": 2.0 * unit_s}
    return Settings.model_validate(
        {
            "data": data,
            "seal": {"interval_s": 2.0},
            "redial": {"first_s": 0.1, "max_s": 1.0, "proven_s": 0.5, "handshake_timeout_s": 5.0},
            "feeds": {
                "news": {"kind": "finlight", **finlight, "rest_url": finlight_rest_url, **BACKFILL},
                "wire": {"kind": "finlight.raw", **finlight, "include_content": False},
                "quotes": {"kind": "finance_query.quotes", "symbols": list(QUOTES), **rotated},
                "profiles": {"kind": "finance_query.profile", "symbols": list(PROFILES), **rotated},
                "market": {"kind": "finance_query.market", **finance_query},
                "hours": {"kind": "finance_query.hours", **finance_query},
            },
        }
    )


def faults(for_s: float) -> list[Fault]:
    """All faults of a demo of this length, in order of time."""
    round_s = max(ROUND_S * PACE_MIN, min(ROUND_S, for_s))
    planned = []
    begin_s = 0.0
    while begin_s < for_s:
        planned += [Fault(begin_s + share * round_s, text, orders) for share, text, orders in _COURSE]
        begin_s += round_s
    return [fault for fault in planned if fault.at_s < for_s - (1 - QUIET_SHARE) * round_s]


def _order(upstream: str, op: str, **arguments: Any) -> Mapping[str, Any]:
    return {"upstream": upstream, "op": op, **arguments}


# Share of a round, what happens, and the orders that make it happen.
_COURSE: tuple[tuple[float, str, tuple[Mapping[str, Any], ...]], ...] = (
    (
        0.10,
        "Finlight sends an action nobody has heard of",
        (_order("finlight", "send", payload='{"action":"sendPodcast","data":{"link":"https://example.com/1"}}'),),
    ),
    (0.14, "Finlight sends a binary frame", (_order("finlight", "send", payload="\x00\x01\x02", binary=True),)),
    (
        0.18,
        "Finance Query sends something that is no JSON",
        (_order("finance_query", "send", payload="<html>502 Bad Gateway</html>"),),
    ),
    (
        0.26,
        "Finlight closes every connection with 1001",
        (_order("finlight", "close_all", code=1001, reason="Going away"),),
    ),
    (
        0.34,
        "Finance Query's market and quotes go dead: sockets open, pings answered, no data",
        (
            _order("finance_query", "kill_endpoint", endpoint="market"),
            _order("finance_query", "kill_endpoint", endpoint="quotes"),
        ),
    ),
    (0.46, "Finlight is cut off without a close frame", (_order("finlight", "cut"),)),
    (
        0.56,
        "Finlight closes with 1012 and answers the next two handshakes with 503",
        (_order("finlight", "refuse", status=503, times=2), _order("finlight", "close_all", code=1012, reason="")),
    ),
    (0.64, "Finance Query is cut off without a close frame", (_order("finance_query", "cut"),)),
    (
        0.70,
        "Finlight is cut off, then accepts and hangs up at once, three times",
        (_order("finlight", "hang_up", times=3), _order("finlight", "cut")),
    ),
    (0.84, "Finlight's administrator kicks everybody for 700 ms", (_order("finlight", "kick", retry_after_ms=700),)),
)
