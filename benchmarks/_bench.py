"""What the benchmarks share: processes of their own, figures of several rounds, the verdict.

In: functions to run apart, figures by name. Out: a table or JSON on stdout, and an exit code that says whether every
claim held. Nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A process that dies on the spot leaves its semaphores to the tracker, which would say so on stderr.
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
SPAWN = multiprocessing.get_context("spawn")  # no benchmark inherits the memory or the threads of another


def arguments(doc: str, rounds: int | None = 3) -> argparse.ArgumentParser:
    """The options every benchmark has; `rounds` None where the figures do not change from one to the next."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures and claims as one JSON object")
    if rounds is not None:
        told = f"alternating rounds; medians are compared (default {rounds})"
        parser.add_argument("--rounds", type=int, default=rounds, help=told)
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="on the disk to use (default /var/tmp)")
    return parser


def scratch(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for one round's data."""
    return tempfile.TemporaryDirectory(prefix="recorder-benchmark-", dir=parent, ignore_cleanup_errors=True)


def apart(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do it in a process of its own, which dies on the spot once it has answered, whatever it still has to do."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_report, args=(theirs, work, args, options))
    process.start()
    theirs.close()
    try:
        answer: T = ours.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed; its own words are above") from None
    finally:
        process.join()
    return answer


@contextmanager
def beside(serve: Callable[[Connection, Path], None], data: Path) -> Iterator[Any]:
    """It goes on in a process of its own until the end; gives the first that it sends."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, data), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _report(to: Connection, work: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> None:
    to.send(work(*args, **options))
    os._exit(0)


def resident_mb() -> float:
    """What this process occupies in memory, in units of 1,000,000 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


class Report:
    """Figures in the order in which they were first named, each with the values of all rounds."""

    def __init__(self, title: str, *, as_json: bool) -> None:
        self._title = title
        self._as_json = as_json
        self._figures: dict[str, tuple[str, list[float]]] = {}
        self._claims: list[tuple[str, bool]] = []

    def take(self, name: str, value: float, unit: str) -> None:
        """One round's figure."""
        self._figures.setdefault(name, (unit, []))[1].append(value)

    def said(self, text: str) -> None:
        """Progress, for whoever waits."""
        print(text, file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        return statistics.median(self._figures[name][1])

    def claim(self, sentence: str, *, holds: bool) -> None:
        self._claims.append((sentence, holds))

    def finish(self) -> int:
        """Print everything. Returns the exit code: 0 if every claim holds, else 1."""
        if self._as_json:
            figures = {
                name: {"unit": unit, "median": statistics.median(values), "rounds": values}
                for name, (unit, values) in self._figures.items()
            }
            claims = [{"claim": sentence, "holds": holds} for sentence, holds in self._claims]
            print(json.dumps({"title": self._title, "figures": figures, "claims": claims}))
        else:
            print(self._title)
            width = max(map(len, self._figures), default=0)
            for name, (unit, values) in self._figures.items():
                rounds = f"   ({' '.join(map(shown, values))})" if len(values) > 1 else ""
                print(f"  {name:<{width}}  {shown(statistics.median(values)):>12} {unit}{rounds}")
            for sentence, holds in self._claims:
                print(f"  {'HOLDS' if holds else 'FAILS'}: {sentence}")
        return 0 if all(holds for _, holds in self._claims) else 1


def shown(value: float) -> str:
    """A number with three figures that matter, or whole."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def run(main: Callable[[], int]) -> None:
    """As a script's last line."""
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
