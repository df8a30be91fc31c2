"""Every error this project raises on purpose.

RecorderError
 +-- ConfigInvalid          a setting is missing, unknown or wrong          exit 2
 +-- RequestInvalid         a parameter of a question or a replay is wrong  exit 2
 +-- DataDirectoryBusy      another recorder holds the data directory       exit 1
 +-- JournalFailed          the journal cannot write; recording must stop   exit 1
 +-- Damaged                something on disk is not what was written       exit 3
      +-- GroupDamaged      a group's checksum or structure does not hold
      +-- PartDamaged       a Parquet file does not hold what was sealed

Each carries its facts as attributes and ends its sentence with what to do next.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


SHOWN_CHARACTERS_MAX = 100  # of what somebody gave


class RecorderError(Exception):
    """Base of all. `exit_code` is what a command answers with."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # Raised in a process of its own and caught in another: the sentence is there, so `__init__` is not asked again.
        return _again, (type(self), self.args, self.__dict__)


def _again(of: type[RecorderError], args: tuple[Any, ...], facts: dict[str, Any]) -> RecorderError:
    error = of.__new__(of, *args)
    error.__dict__.update(facts)
    return error


class ConfigInvalid(RecorderError):
    """One or more settings are wrong; each problem is a sentence of its own."""

    exit_code = 2

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{source} is not usable:\n{lines}\nCorrect it and run `recorder check`.")


class RequestInvalid(RecorderError, ValueError):
    """A parameter of a question or a replay is wrong. `possible` says what would be right.

    All of it is short and clean enough to be said back to whoever asked.
    """

    exit_code = 2

    def __init__(self, parameter: str, given: object, possible: str) -> None:
        self.parameter = _shown(parameter)
        self.given = _shown(given)
        self.possible = possible
        self.request_id: str | int | None = None  # of the operation on a replay that it answers
        super().__init__(f"{self.parameter} is {self.given!r}, which is not possible: {possible}.")


def _shown(given: object) -> str:
    text = given if isinstance(given, str) else "nothing" if given is None else reprlib.repr(given)
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = text[:SHOWN_CHARACTERS_MAX] + "…"
    return text.encode(errors="replace").decode()


class DataDirectoryBusy(RecorderError):
    """Another process records into this data directory."""

    def __init__(self, path: Path, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"{path} is being recorded to by {holder}. "
            "Stop that recorder first, or give this one a directory of its own with --data."
        )


class JournalFailed(RecorderError):
    """The journal could not make messages durable and gave up; nothing unacknowledged was dropped before."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be written: {reason}. Free space or repair the disk, then start again.")


class Damaged(RecorderError):
    """Something on disk is not what was written."""

    exit_code = 3


class GroupDamaged(Damaged):
    """A packed group does not hold together."""

    def __init__(self, first_position: int, reason: str) -> None:
        self.first_position = first_position
        self.reason = reason
        super().__init__(f"the group at position {first_position} is damaged: {reason}. Run `recorder verify`.")


class PartDamaged(Damaged):
    """A Parquet part does not hold what was sealed into it."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} is damaged: {reason}. Run `recorder verify`.")
