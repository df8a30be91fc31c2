"""The tables as a page for people: every column with its type, what it means and where it comes from.

In: the declarations that files, views and comments are made of. Out: Markdown, which `docs/format.md` holds word for
word. `python -m recorder.partitions.reference` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from recorder.partitions.catalog import CATALOG, publish_catalog
from recorder.partitions.derived import DERIVED
from recorder.partitions.macros import MACROS
from recorder.partitions.schema import Column
from recorder.partitions.views import STORED


def markdown() -> str:
    """Tables in files, views over them and macros, in the order of their declaration."""
    return "\n".join([*_stored(), *_derived(), *_macros()]) + "\n"


def _stored() -> Iterator[str]:
    for stored in STORED:
        yield from (f"### {stored.name}", "", f"{stored.description}.", "")
        yield from ("| column | type | what it is | origin |", "|---|---|---|---|")
        for column in stored.columns:
            yield f"| `{column.name}` | {_type(column)} | {column.description} | {_origin(column)} |"
        yield ""


def _derived() -> Iterator[str]:
    with TemporaryDirectory() as folder:
        publish_catalog(Path(folder))
        with duckdb.connect(Path(folder) / CATALOG, read_only=True) as connection:
            for view in DERIVED:
                yield from (f"### {view.name}", "", f"A view. {view.description}.", "")
                yield from ("| column | type | what it is |", "|---|---|---|")
                for name, of, *_ in connection.execute(f"DESCRIBE {view.name}").fetchall():
                    yield f"| `{name}` | {of} | {view.columns[name]} |"
                yield ""


def _macros() -> Iterator[str]:
    for macro in MACROS:
        yield from (f"### {macro.name}({macro.signature})", "", f"A macro. {macro.description}.", "")
        yield from ("| parameter or column | what it is |", "|---|---|")
        yield from (f"| `{name}` | {text} |" for name, text in {**macro.parameters, **macro.columns}.items())
        yield ""


def _type(column: Column) -> str:
    return str(column.type).replace("timestamp[ns]", "timestamp[ns] UTC")


def _origin(column: Column) -> str:
    return column.origin if column.origin in ("recorder", "the frame") else f"`{column.origin}`"


if __name__ == "__main__":
    print(markdown(), end="")
