"""How soon a month of coverage is painted: the overview of `recorder serve`, in headless Chromium, by its own clock.

Five weeks of seven streams with a hundred gaps, as compaction leaves them. Each round a new server, so that nothing was
answered before, and an empty cache; then the same server again, with a new cache. Painted is what Chromium says by its
paint and element timing, from the start of navigation to the rows of the calendar. The yardstick is the smallest
page of the same server, one line of text. Needs an installed Chromium and `pip install '.[browser]'`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import _month
from _bench import Report, arguments, run, scratch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAINT_MS_MAX = 1000.0
WEEKS = 5
PATIENCE_MS = 60_000
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run"]
PAINTED = """name => new Promise(done => new PerformanceObserver((list, observer) => {
    const found = list.getEntries().find(entry => entry.name === name || entry.identifier === name);
    if (found) { observer.disconnect(); done(found.renderTime || found.startTime); }
}).observe({ type: name === "first-contentful-paint" ? "paint" : "element", buffered: true }))"""


def painted_ms(browser: Browser, url: str, name: str) -> float:
    """From the start of navigation, in a new context: nothing is cached."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url, wait_until="commit")
        return float(page.evaluate(PAINTED, name))
    finally:
        context.close()


def main() -> int:
    from playwright.sync_api import sync_playwright

    options = arguments(__doc__, rounds=5).parse_args()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit("there is no Chromium: apt-get install chromium")
    report = Report(f"First paint of {WEEKS} weeks of coverage", as_json=options.json)
    with scratch(options.dir) as folder, sync_playwright() as playwright:
        data = Path(folder) / "data"
        report.said(f"making {WEEKS} weeks …")
        gaps = _month.make(data, WEEKS, time.time_ns())
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        for number in range(options.rounds):
            report.said(f"round {number + 1} of {options.rounds}")
            command = [sys.executable, "-m", "recorder", "serve", "--port", "0", "--json", "--data", str(data)]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                assert server.stdout is not None
                url = "http://127.0.0.1:{port}".format(**json.loads(server.stdout.readline()))
                report.take("one line of text", painted_ms(browser, f"{url}/healthz", "first-contentful-paint"), "ms")
                report.take("calendar, first asked", painted_ms(browser, f"{url}/", "coverage"), "ms")
                report.take("calendar, asked again", painted_ms(browser, f"{url}/", "coverage"), "ms")
                report.take("first paint of the page", painted_ms(browser, f"{url}/", "first-contentful-paint"), "ms")
            finally:
                server.terminate()
                server.wait()
        browser.close()
    report.take("gaps in it", gaps, "")
    sentence = f"a month of coverage is painted within {PAINT_MS_MAX:g} ms by a server that was not asked before"
    report.claim(sentence, holds=report.median("calendar, first asked") < PAINT_MS_MAX)
    return report.finish()


if __name__ == "__main__":
    run(main)
