"""Options that several commands share, and how commands find their settings. Nothing heavy is imported here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class _Path(click.Path):
    """As pathlib's, which is imported when there is one: `--help` needs none, and it takes 4 ms."""

    def coerce_path_result(self, value: Any) -> Any:
        from pathlib import Path

        return Path(value)


path = _Path()


def places(command: Command) -> Command:
    """The two options every command on a recording has."""
    command = click.option("--data", type=path, metavar="DIR", help="The recording, over the configured one.")(command)
    return click.option(
        "--config", type=path, metavar="FILE", help="Default: ./config.toml, then /etc/recorder/config.toml."
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")


def load(config: Path | None, data: Path | None) -> Settings:
    """All settings: what who records needs."""
    from recorder.configuration import load

    return load(config, data, os.environ)


def load_for_reading(config: Path | None, data: Path | None) -> Settings:
    """The settings without their feeds: a mistake in those is no reason not to be shown what is recorded."""
    from recorder.configuration import load

    return load(config, data, os.environ, feeds=False)


def recording(config: Path | None, data: Path | None) -> Path:
    """Where the recording is. Who names it need not have settings, nor right ones."""
    return data if data is not None else load_for_reading(config, data).data
