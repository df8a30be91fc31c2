"""docs/monitoring.md knows every event of the log, and each event has a name of two words with a dot between."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.log import UNTOLD, WARNINGS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"(?m)^\| `([^`]+)` \| (\w+) \|", PAGE))
LOGS = {"debug", "info", "warning", "error", "exception", "critical"}
NOTES = {"entry", "note", "_note", "Alarm", "_alarm"}


def _named() -> Iterator[tuple[str, str, str]]:
    """Each event in the code: its name, how it is told, where."""
    for path in (ROOT / "recorder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                func = node.func
                called = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
                owner = func.value.id if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) else ""
                told = called if called in NOTES or (owner in ("log", "_log") and called in LOGS) else ""
                for each in node.args:
                    if told and isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.value, told, path.name
                        break
            elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and path.name == "clockwatch.py":
                first, second = node.elts
                if isinstance(first, ast.Constant) and isinstance(second, ast.Dict):
                    yield str(first.value), "note", path.name


EVENTS = sorted(set(_named()))


@pytest.mark.parametrize(("event", "told", "where"), EVENTS)
def test_each_event_has_a_dotted_name_and_a_line_in_the_table(event: str, told: str, where: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", event), where
    if event in UNTOLD:
        assert event not in TABLE
        return
    level = {"exception": "error"}.get(told, told)
    if told in NOTES:
        level = "warning" if event.startswith(WARNINGS) else "info"
    assert TABLE[event] == level, where
