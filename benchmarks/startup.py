"""How long `recorder --help` and `--version` take to start, against `python -c pass` with the same Python.

Processor time of the child as the kernel counts it, and time on the clock; each round starts all of them in turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from _bench import Report, arguments, run

TIMES_MAX = 3.0
BARE = "python -c pass"
COMMANDS = {
    BARE: ("-c", "pass"),
    "recorder --help": ("-c", "from recorder.start import main; main()", "--help"),
    "recorder --version": ("-c", "from recorder.start import main; main()", "--version"),
    "recorder status --help": ("-c", "from recorder.start import main; main()", "status", "--help"),
}


def started(*command: str) -> tuple[float, float]:
    """Milliseconds of processor time and of the clock."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return (used.ru_utime + used.ru_stime) * 1000, took * 1000


def main() -> int:
    options = arguments(__doc__, rounds=21).parse_args()
    report = Report("Starting", as_json=options.json)
    for _ in range(options.rounds):
        for name, command in COMMANDS.items():
            cpu_ms, took_ms = started(*command)
            report.take(f"{name}: processor", cpu_ms, "ms")
            report.take(f"{name}: clock", took_ms, "ms")
    for name in list(COMMANDS)[1:]:
        times = report.median(f"{name}: processor") / report.median(f"{BARE}: processor")
        report.take(f"RATIO {name}", times, f"x {BARE}")
        if "status" not in name:
            report.claim(f"{name}: at most {TIMES_MAX:g} x {BARE}: {times:.1f}", holds=times <= TIMES_MAX)
    return report.finish()


if __name__ == "__main__":
    run(main)
