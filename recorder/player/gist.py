"""A message in one line for people: what it is about, not all it says. Pure.

In: a message as the native endpoint sends it. Out: printable text without line ends, so that nothing an upstream sends
can move a terminal's cursor. What has a shape nobody expects is shown as it is, from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

CHARACTERS_MAX = 400  # no terminal is wider
ROWS_MAX = 40  # that could be seen


def gist(told: dict[str, Any]) -> str:
    """Of a message frame."""
    if "data" in told:
        return printable(_of(told["data"]))
    if "text" in told:
        return printable(str(told["text"]))
    return f"{len(str(told.get('bytes', ''))) * 3 // 4} bytes that are no text"


def of_gap(gap: dict[str, Any]) -> str:
    """Of a gap mark."""
    channel = f" of {gap['channel']}" if gap.get("channel") else ""
    if gap.get("until") is None:
        return printable(f"gap{channel} begins: {gap.get('cause')}")
    return printable(
        f"gap{channel} has ended, {_clock(gap.get('since'))} to {_clock(gap['until'])}: {gap.get('cause')}"
    )


def printable(text: str) -> str:
    """Without anything a terminal would act on."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:CHARACTERS_MAX])


def _clock(moment: Any) -> str:
    return str(moment)[11:19] or "?"


def _of(data: Any) -> str:
    match data:
        case {"data": {"title": str(title), **article}} | {"link": str(), "title": str(title), **article}:
            return f"{article.get('source') or ''}: {title}".removeprefix(": ")
        case {"action": str(action), **fields}:
            return f"{action} {_json(fields)}" if fields else action
        case {"event": str(event), **fields}:
            return f"{event} {_fields(fields)}"
        case [*rows] if any(_quote(row) for row in rows):
            return _quotes(rows)
        case {"quote": dict(row)} if _quote(row):
            return _quote(row)
        case {"indices": list(indices), **lists}:
            return _quotes(indices) or ", ".join(map(str, lists))
        case {"status": str(status), "reason": str(reason)}:
            return f"{status}: {reason}"
    return _json(data)


def _quotes(rows: Iterable[Any]) -> str:
    return "  ".join(filter(None, (_quote(row) for row, _ in zip(rows, range(ROWS_MAX), strict=False))))


def _quote(row: Any) -> str:
    """`AAPL 227.52 +0.02%`, or nothing where it is no row of quotes or indices."""
    if not isinstance(row, dict):
        return ""
    name, price = row.get("symbol") or row.get("name"), row.get("price") or row.get("value")
    return f"{name} {price} {row.get('percentChange') or ''}".rstrip() if name and price else ""


def _fields(fields: dict[Any, Any]) -> str:
    return "  ".join(f"{name} {text}" for name, text in fields.items() if text not in (None, ""))


def _json(data: Any) -> str:
    return orjson.dumps(data).decode()
