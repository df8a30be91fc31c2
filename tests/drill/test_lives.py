from __future__ import annotations

import pytest

from recorder.drill.lives import plain, stage_of


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("open /recorder.lock", "open /recorder.lock"),
        ("mkdir /quotes/hot/hour=2026-01-31T14", "mkdir /TABLE/hot/hour=#-#-#T#"),
        ("open /market_hours/_views/expired-0123456789abcdef.parquet", "open /TABLE/_views/expired-#.parquet"),
        ("sql INSERT INTO groups VALUES (1, 6, 1767, x'00')", "sql INSERT INTO groups"),
        ("sql SELECT value,\n  crc FROM facts WHERE key = 'standing'", "sql SELECT value, crc FROM facts standing"),
        ("sql INSERT OR REPLACE INTO facts VALUES ('hot_since', x'3f')", "sql INSERT OR REPLACE INTO facts hot_since"),
        ("sql PRAGMA page_size = 4096", "sql PRAGMA page_size = #"),
    ],
)
def test_a_step_has_the_same_name_in_every_life_and_for_every_table(step: str, name: str) -> None:
    assert plain(step) == name


@pytest.mark.parametrize(
    ("step", "stage"),
    [
        ("rename /_aside-1-catalog.duckdb.tmp", "catalogue"),
        ("open /TABLE/_views/expired-#.parquet", "catalogue"),
        ("rename /TABLE/hot/hour=#/_aside-#.parquet.tmp", "publishing"),
        ("sql COMMIT", "sealing"),
        ("open /recorder.lock", "sealing"),
        ("mkdir /", "sealing"),
    ],
)
def test_publishing_and_the_catalogue_are_told_from_what_they_are_part_of(step: str, stage: str) -> None:
    assert stage_of(step, "sealing") == stage
