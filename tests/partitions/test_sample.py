from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from recorder.journal.registry import Part, Retired
from recorder.journal.store import Store
from recorder.partitions import compact, layout
from recorder.partitions.inspect import inspect
from recorder.partitions.merge import merge
from recorder.partitions.sample import choose, note, sample
from recorder.partitions.stored import WEEK_NS, figures

Fill = Callable[..., int]

SECTOR = 512


def part(name: str, byte_count: int = 10, *, hot: bool = False) -> Part:
    path = f"quotes/hot/hour=2024112120/{name}" if hot else f"quotes/cold/date=2024-11-21/{name}"
    return Part("quotes", path, "cold", 1, 2, 1, 2, 3, byte_count, 1)


def test_every_cold_part_has_its_turn_and_at_the_end_it_begins_anew() -> None:
    parts = [part("a"), part("b"), part("c"), part("h", hot=True)]
    assert choose(parts, "", 20) == parts[:2]
    assert choose(parts, parts[1].path, 20) == [parts[2], parts[0]]
    assert choose(parts, "", 1) == parts[:1], "one at least"
    assert choose(parts, "zzz", 1000) == parts[:3]
    assert choose([], "", 10) == []


def test_figures_are_sums_over_what_is_registered() -> None:
    parts = [part("a"), part("h", 5, hot=True)]
    told = figures(parts, [Retired("x", 1, 7)], WEEK_NS + 2)
    assert told["tables"] == {"quotes": {"parts": 2, "rows": 6, "bytes": 15}}
    assert (told["bytes"], told["hot_parts"], told["week_bytes"]) == (15, 1, 0)
    assert (told["retired_files"], told["retired_bytes"]) == (1, 7)
    assert figures(parts, [], WEEK_NS + 1)["week_bytes"] == 15


@pytest.fixture
def data(tmp_path: Path, sealed_hours: Fill) -> Path:
    sealed_hours(tmp_path, 3)
    with closing(Store.open(tmp_path)) as store:
        for work in compact.plan(store.parts()):
            store.replace(work.inputs, merge(tmp_path, work, 3), 1, hot_since=work.hot_since)
    return tmp_path


def cold(data: Path) -> list[Part]:
    with closing(Store.open_readonly(data)) as store:
        return [part for part in store.parts() if not layout.is_hot(part.path)]


def take(data: Path, bytes_max: int) -> tuple[int, list[str]]:
    taken = sample(data, bytes_max)
    with closing(Store.open(data)) as store:
        note(taken, store)
    return taken.parts, [finding.where for finding in taken.findings]


def test_samples_go_through_everything_and_what_was_damaged_is_looked_at_until_it_is_whole(data: Path) -> None:
    parts = sorted(cold(data), key=lambda part: part.path)
    broken = data / parts[1].path
    whole = broken.read_bytes()
    middle = len(whole) // 3
    broken.write_bytes(whole[:middle] + bytes(32) + whole[middle + 32 :])
    assert take(data, 1) == (1, [])
    assert take(data, 1) == (1, [parts[1].path])
    assert take(data, 1) == (2, [parts[1].path])
    broken.write_bytes(whole)
    assert take(data, 1) == (2, [])
    assert take(data, 1) == (1, [])
    assert take(data, 1 << 30) == (len(parts), [])


def test_a_sector_of_a_part_that_came_back_otherwise_is_found(data: Path) -> None:
    (one,) = (part for part in cold(data) if part.table_name == "quotes" and "hour=20" in part.path)
    path = data / one.path
    whole = path.read_bytes()
    assert inspect(data, one).findings == []
    missed = []
    for at in range(0, len(whole), SECTOR):
        sector = bytes(byte ^ 0x55 for byte in whole[at : at + SECTOR])
        path.write_bytes(whole[:at] + sector + whole[at + SECTOR :])
        if not inspect(data, one).findings:
            missed.append(at)
    path.write_bytes(whole)
    assert missed == []
    path.unlink()
    assert [finding.what for finding in inspect(data, one).findings] == ["part missing"]
