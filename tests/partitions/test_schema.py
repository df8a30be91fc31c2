from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder import __version__
from recorder.partitions import schema
from recorder.partitions.views import STORED, Stored


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_every_column_is_declared_in_full(stored: Stored) -> None:
    names = [column.name for column in stored.columns]
    assert len(names) == len(set(names))
    assert stored.description
    for column in stored.columns:
        assert column.description and column.origin
        assert column.type != pa.timestamp("ns", "UTC"), "the zoned kind breaks time_bucket in DuckDB 2.0"


def rows(stored: Stored, count: int) -> pa.Table:
    declared = schema.arrow_schema(stored.name, stored.columns)
    return pa.table([pa.nulls(count, declared_field.type) for declared_field in declared], schema=declared)


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.name)
def test_files_say_what_wrote_them_and_encode_as_declared(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    table = rows(stored, 3)
    for name, column in enumerate(stored.columns):
        if column.type in (pa.int64(), schema.MOMENT):
            table = table.set_column(name, table.schema.field(name), pa.array([1, 2, 3]).cast(column.type))
        elif column.type == pa.string():
            table = table.set_column(name, table.schema.field(name), pa.array(["a", "b", "c"]))
    schema.write(table.replace_schema_metadata(rows(stored, 0).schema.metadata), stored.columns, path)
    with pq.ParquetFile(path) as file:
        assert file.schema_arrow.metadata[schema.META_SCHEMA] == str(schema.SCHEMA_VERSION).encode()
        assert file.schema_arrow.metadata[schema.META_WRITER] == __version__.encode()
        assert file.schema_arrow.metadata[schema.META_TABLE] == stored.name.encode()
        group = file.metadata.row_group(0)
        chunks = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    for column in stored.columns:
        for path_in_schema, chunk in chunks.items():
            if path_in_schema.split(".")[0] != column.name or column.type == pa.bool_():
                continue
            assert chunk.compression == "ZSTD"
            assert ("RLE_DICTIONARY" in chunk.encodings) == (column.encoding == "dictionary")
            assert ("DELTA_BINARY_PACKED" in chunk.encodings) == (column.encoding == "delta")


def test_same_rows_are_same_bytes(tmp_path: Path) -> None:
    table = rows(STORED[0], 1000)
    schema.write(table, STORED[0].columns, tmp_path / "a")
    schema.write(table, STORED[0].columns, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_flipped_byte_in_a_page_is_noticed(tmp_path: Path) -> None:
    stored = STORED[0]
    path = tmp_path / "part.parquet"
    table = rows(stored, 100)
    text = pa.array([f"frame number {number}" for number in range(100)])
    schema.write(table.set_column(table.schema.get_field_index("text"), "text", text), stored.columns, path)
    whole = path.read_bytes()
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        chunk = group.column([group.column(at).path_in_schema for at in range(group.num_columns)].index("text"))
        at = chunk.data_page_offset + chunk.total_compressed_size - 1
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(OSError), pq.ParquetFile(path, page_checksum_verification=True) as file:
        file.read()
