"""The units as systemd itself reads them. How they work is proved in a booted systemd, in tests/systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parent.parent / "systemd").glob("*.service"))
EXPOSURE_MAX = 1.5

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(params=UNITS, ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    # Whether the programs are there is not the question here.
    shipped: Path = request.param
    installed = tmp_path / shipped.name
    installed.write_text(shipped.read_text().replace("/opt/recorder/bin/recorder", "/bin/true"))
    return installed


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_there_is_one_for_each_process() -> None:
    assert [unit.name for unit in UNITS] == ["recorder-replay.service", "recorder.service"]


def test_systemd_finds_nothing_to_complain_about(unit: Path) -> None:
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_hardly_anything_is_left_exposed(unit: Path) -> None:
    table = analyze("security", "--offline=true", "--no-pager", unit).stdout
    (exposure,) = re.findall(r"exposure level for \S+ ([\d.]+)", table)
    assert float(exposure) <= EXPOSURE_MAX, table
