from __future__ import annotations

from pathlib import Path

import pytest

from recorder.drill import full_disk
from recorder.drill.rig import Rig


@pytest.mark.slow
async def test_where_no_disk_can_be_mounted_files_that_may_not_grow_end_it_loudly_with_all_it_published(
    tmp_path: Path,
) -> None:
    async with Rig(tmp_path, full_disk.SMALL_FILES, file_bytes_max=full_disk.FILE_BYTES_MAX) as rig:
        outcomes = await full_disk.limit_files(rig)
    assert [outcome for outcome in outcomes if not outcome.holds] == []
