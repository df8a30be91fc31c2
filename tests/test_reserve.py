from __future__ import annotations

from pathlib import Path

from recorder.reserve import RESERVE_FILE_BYTES, Order, Reserve
from recorder.settings import Disk

MB = 1 << 20
SETTINGS = Disk(reserve_bytes=100 * MB, resume_bytes=200 * MB)


def test_it_halts_once_below_the_reserve_and_resumes_once_above_the_other_limit(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, SETTINGS)
    free = [300, 101, 99, 0, 150, 199, 200, 500, 99]
    orders = [reserve.judge(mb * MB) for mb in free]
    assert orders == [None, None, Order.HALT, None, None, None, Order.RESUME, None, Order.HALT]


def test_its_file_takes_room_and_gives_it_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, SETTINGS)
    reserve.lay_up()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 >= RESERVE_FILE_BYTES
    reserve.give_up()
    reserve.give_up()
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_room_for_its_file_it_does_without(tmp_path: Path) -> None:
    Reserve(tmp_path / "missing", SETTINGS).lay_up()
