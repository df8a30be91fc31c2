"""What the alerts and the dashboard ask for is told by a recorder that runs and its replay server."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from recorder.cli import main
from recorder.drill.rig import Rig

DOCS = Path(__file__).parents[1] / "docs"
RULES = [
    rule
    for group in yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = orjson.loads((DOCS / "monitoring" / "dashboard.json").read_bytes())
TARGETS = {
    f"{panel['title']}: {target['legendFormat']}": target
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
SCRAPED = {"instance"}  # a label that Prometheus adds
# A feed that never connects, and is filled by REST: so its metrics are there.
ABSENT = {"kind": "finlight", "url": "ws://127.0.0.1:1", "rest_url": "http://127.0.0.1:1"}

Labels = dict[str, set[str]]  # of each metric


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """The real ones, after the first seal and with a replay under way."""
    page = asyncio.run(_scrape(tmp_path_factory.mktemp("monitored")))
    found: Labels = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def _scrape(folder: Path) -> str:
    async with Rig(folder, {"seal": {"interval_s": 0.5}, "feeds.absent": ABSENT}) as rig:
        await rig.start()
        await rig.until(lambda told: told["totals"]["sealed"]["rows"].get("quotes", 0) > 0)
        serve = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder", "serve", "--data", str(rig.data), "--port", "0"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert serve.stdout is not None
            async with asyncio.timeout(60):
                (address,) = re.findall(rb"ws://(\S+)", await serve.stdout.readline())
                async with connect(f"ws://{address.decode()}/replay?session=demo&paused=true") as client:
                    await client.recv()
                    url = f"http://{address.decode()}/metrics"
                    return await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
        finally:
            serve.terminate()
            await serve.wait()
            await rig.stop()


def _asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of an expression, with the labels it is selected by."""
    for metric, selector in re.findall(r"\b(recorder_\w+)(\{[^}]*\})?", expression):
        yield metric, set(re.findall(r"(\w+)\s*[=!]", selector))


def _grouped(expression: str) -> set[str]:
    return {label for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in re.split(r"\s*,\s*", group)}


def _check(expression: str, shown: set[str], labels: Labels) -> None:
    """Metrics are told, with the labels that select, group and show them."""
    metrics = dict(_asked(expression))
    assert metrics, expression
    known = set(SCRAPED)
    for metric, selected in metrics.items():
        assert metric in labels, f"{metric} is not told"
        assert selected <= labels[metric] | SCRAPED, metric
        known |= labels[metric]
    grouped = _grouped(expression)
    assert grouped <= known
    assert shown <= (grouped or known)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_ask_for_what_is_told(rule: dict[str, Any], labels: Labels) -> None:
    words = " ".join(rule["annotations"].values())
    _check(rule["expr"], set(re.findall(r"\{\{\s*\$labels\.(\w+)\s*\}\}", words)), labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_panels_ask_for_what_is_told(name: str, labels: Labels) -> None:
    target = TARGETS[name]
    _check(target["expr"], set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"])), labels)


@pytest.mark.slow
def test_variables_of_the_dashboard_are_labels_that_are_told(labels: Labels) -> None:
    queries = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    for metric, label in (re.findall(r"label_values\((\w+), (\w+)\)", query)[0] for query in queries):
        assert label in labels[metric] | SCRAPED


def test_each_alert_says_what_has_happened_what_to_do_and_how_urgent_it_is() -> None:
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_what_alerts_tell_people_to_type_are_commands() -> None:
    told = " ".join(rule["annotations"]["description"] for rule in RULES)
    named = set(re.findall(r"`recorder (\w+)", told))
    assert named <= set(main.commands)
    assert "status" in named


def test_each_panel_has_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
