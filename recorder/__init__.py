"""Keeps market streams alive, makes every message durable, serves them to SQL and plays them back."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as typing's, which takes as long to import as Python to start
if TYPE_CHECKING:
    from recorder.recording import Recording

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(path: str | os.PathLike[str] = "data") -> Recording:  # noqa: A001 - recorder.open, as gzip.open
    """The recording in a data directory, also while it is made: `.messages()`, `.batches()`, `.replay()`, `.sql()`.

    Only reads. Raises RecorderError where nothing is recorded.
    """
    from recorder.recording import Recording  # Arrow and DuckDB take half a second to import

    return Recording(path)
