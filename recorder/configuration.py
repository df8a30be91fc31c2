"""From config.toml, the environment and systemd to Settings, and in plain sentences what is wrong with them.

In: the file given, else ./config.toml, else /etc/recorder/config.toml; `RECORDER_…` variables over it
(`RECORDER_JOURNAL__COMMIT_INTERVAL_MS=50`, arrays written as in the file). Out: `Settings`, or ConfigInvalid with every
problem. A secret is `RECORDER_SECRET_<NAME>` or the systemd credential `<name>`; no sentence here ever shows one, nor a
value that could be one by mistake: that of an unknown key, of `secret`, `token`, `heartbeat`, of an URL.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recorder.errors import ConfigInvalid
from recorder.settings import AnyFeed, Settings

PLACES = (Path("config.toml"), Path("/etc/recorder/config.toml"))
PREFIX = "RECORDER_"
SECRET_VARIABLE = "RECORDER_SECRET_"  # noqa: S105 - the prefix of a name, not a secret
OTHER_VARIABLES = ("RECORDER_DEBUG",)

# What pydantic says in its own words, by the type of its error.
WORDS = {
    "model_attributes_type": "should be a table",
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "path_type": "should be a path",
    "list_type": 'should be an array like ["AAPL", "MSFT"]',
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
}
KINDS: dict[str, type[BaseModel]] = {
    kind: model
    for model in get_args(get_args(AnyFeed)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}  # fmt: skip


def find(config: Path | None) -> Path | None:
    """The file that holds: the one given, else the first of PLACES that is there."""
    return config or next((place for place in PLACES if place.is_file()), None)


def load(config: Path | None, data: Path | None, environ: Mapping[str, str], *, feeds: bool = True) -> Settings:
    """Reads the settings. `data` is over everything and, like RECORDER_DATA, relative to where we are.

    `feeds` False: without any, whatever the file says of them.

    A data path in the file is relative to the file's folder, so that it means the same from everywhere.
    Raises ConfigInvalid.
    """
    file = find(config)
    values = _read(file) if file else {}
    variables, problems = _overlay(values, environ)
    if data is not None:
        values["data"] = str(data)
    if not feeds:
        values.pop("feeds", None)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_sentence(details, variables) for details in error.errors()]
        raise ConfigInvalid(str(file or "the configuration"), problems) from None
    if problems:
        raise ConfigInvalid(str(file or "the configuration"), problems)
    base = file.parent if file and data is None and ("data",) not in variables else Path()
    return settings.model_copy(update={"data": base / settings.data.expanduser()})


def secret(name: str, environ: Mapping[str, str]) -> str | None:
    """The secret of this name, from the environment, else from systemd's credentials; None where neither has it.

    Raises ConfigInvalid where it is there and no HTTP header could carry it.
    """
    variable = SECRET_VARIABLE + name.upper()
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / name
    value, source = environ.get(variable, ""), variable
    if not value.strip() and "CREDENTIALS_DIRECTORY" in environ and credential.is_file():
        value, source = credential.read_text(encoding="utf-8", errors="replace"), str(credential)
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigInvalid(source, ["should be one line of plain ASCII; write the key anew"])
    return value or None


def feed_secrets(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Every feed's secret by the feed's name; feeds that name none are left out.

    Raises ConfigInvalid with every secret that cannot be found, and where there is nothing to record at all.
    """
    found = {name: secret(feed.secret, environ) for name, feed in settings.feeds.items() if feed.secret}
    problems = [
        f"feeds.{name} wants the secret {settings.feeds[name].secret!r}, which is nowhere: "
        f"set {SECRET_VARIABLE}{settings.feeds[name].secret.upper()}, or add "
        f"LoadCredential={settings.feeds[name].secret}:FILE to the systemd unit"
        for name, value in found.items()
        if value is None
    ]
    if not settings.feeds:
        problems = ["feeds is empty, so there is nothing to record: add a table like [feeds.quotes], see config.toml"]
    if problems:
        raise ConfigInvalid("the configuration", problems)
    return {name: value for name, value in found.items() if value is not None}


def heartbeat_url(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The page to get while all is well, a secret as a whole; None: there is none to get. Raises ConfigInvalid."""
    name = settings.health.heartbeat
    if not name:
        return None
    url = secret(name, environ)
    if url is None:
        problem = (
            f"health.heartbeat wants the secret {name!r}, which is nowhere: set {SECRET_VARIABLE}{name.upper()}, "
            f"or add LoadCredential={name}:FILE to the systemd unit"
        )
        raise ConfigInvalid("the configuration", [problem])
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or " " in url:
        problem = f"the secret {name!r} of health.heartbeat should be http://… or https://…"
        raise ConfigInvalid("the configuration", [problem])
    return url


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(str(file), [f"not TOML: {error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigInvalid(str(file), [f"not UTF-8: byte {error.start}"]) from None
    except OSError as error:
        raise ConfigInvalid(str(file), [f"cannot be read: {error.strerror}"]) from None


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Writes the environment's settings into `values`. Returns which variable set which key, and problems."""
    variables: dict[tuple[str, ...], str] = {}
    problems = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable.startswith(SECRET_VARIABLE) or variable in OTHER_VARIABLES:
            continue
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        table: Any = values
        for step in path[:-1]:
            table = table.setdefault(step, {}) if isinstance(table, dict) else None
        value: Any = text
        if text.lstrip().startswith("["):
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                problems.append(f'{variable}: should be an array like ["AAPL", "MSFT"]')
                continue
        if isinstance(table, dict):
            table[path[-1]] = value
            variables[path] = variable
        else:
            problems.append(f"{variable}: {'.'.join(path[:-1])} is no table")
    return variables, problems


def _sentence(details: ErrorDetails, variables: Mapping[tuple[str, ...], str]) -> str:
    """One problem: the key and where it came from, the value given unless it could be a secret, what would be right."""
    where, kind = details["loc"], details["type"]
    path = tuple(str(step) for at, step in enumerate(where) if step != "[key]" and not (at == 2 and step in KINDS))
    if kind.startswith("union_tag"):
        path += ("kind",)
    key = ".".join(map(_shown, path))
    if path in variables:
        key = f"{variables[path]} ({key})"
    if kind in ("missing", "union_tag_not_found"):
        return f"{key} is missing" + (f"; it should be one of {', '.join(KINDS)}" if path[-1] == "kind" else "")
    if kind == "extra_forbidden":
        return f"{key} is not a setting; {_instead(str(where[-1]), _names(where[:-1]), in_feed=where[0] == 'feeds')}"
    if kind == "union_tag_invalid":
        tag = str(details["ctx"]["tag"])
        return f'{key} = "{tag[:60]}" is not a kind of feed; {_instead(tag, KINDS, in_feed=False)}'
    wrong = details["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    wrong = WORDS.get(kind, wrong)
    if where[-1] == "[key]":
        return f"{key} {wrong}"
    return f"{key}{_given(path[-1], details['input'])}: {wrong}"


def _shown(name: str) -> str:
    """A part of a key as a terminal can bear it."""
    return name if name.isprintable() and len(name) <= 70 else json.dumps(name[:70])


def _names(where: tuple[int | str, ...]) -> Iterable[str]:
    """The keys of the table at this place of the settings."""
    if not where:
        return Settings.model_fields
    model = KINDS[str(where[2])] if where[0] == "feeds" else Settings.model_fields[str(where[0])].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)
    return model.model_fields


def _instead(name: str, names: Iterable[str], *, in_feed: bool) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"the nearest is {near[0]}"
    if in_feed and any(word in name.lower() for word in ("key", "token", "password")):
        return f"keys are never in the file: set {SECRET_VARIABLE}… to it, and `secret` to the rest of that name"
    return f"there are {', '.join(names)}"


def _given(name: str, value: object) -> str:
    """` = value`, or nothing where it is no plain value or could be a secret."""
    if not isinstance(value, str | int | float) or name in ("secret", "token", "heartbeat"):
        return ""
    if name in ("url", "rest_url"):
        scheme, colon, _ = str(value).partition("://")
        return f' = "{scheme[:10]}://…"' if colon else ""
    return f" = {json.dumps(value, ensure_ascii=False)[:80]}"
