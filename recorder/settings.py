"""Every setting, with its unit, its limits and its default.

In: nested dicts as a TOML file gives them. Out: one frozen `Settings`, or pydantic's ValidationError with every problem
at once. Finding and reading the file, the environment and the secrets, and saying in sentences what is wrong, is
configuration.py's job. Secrets are part of no settings object: a feed only knows the name of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import ge, gt, lt
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from recorder.lifecycle import RECORDER_FEED

FEED_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
SECRET_NAME = re.compile(r"(?!sk_)[a-z][a-z0-9_]{0,31}")  # short and lower case, which a real key hardly ever is
SYMBOL_CHARACTERS_MAX = 64
DAY_S = 86_400
FINLIGHT_CONNECTION_S = 7_200  # Finlight closes every connection at this age
FINLIGHT_HOST, FINLIGHT_REST = "wss.finlight.me", "https://api.finlight.me"


class Section(BaseModel):
    """One table of config.toml: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


def _compared(words: str, holds: Callable[[Any, Any], bool], other: str) -> AfterValidator:
    """Compares a field to `other`, declared before it. An `other` that is wrong itself is not compared to."""

    def check(value: float, info: ValidationInfo) -> float:
        if other in info.data and not holds(value, info.data[other]):
            raise ValueError(f"should be {words} {other}, which is {info.data[other]}")
        return value

    return AfterValidator(check)


class Journal(Section):
    commit_interval_ms: int = Field(20, ge=1, le=10_000)
    group_bytes_max: int = Field(8 << 20, ge=64 << 10, le=256 << 20)
    buffer_bytes_max: Annotated[int, _compared("at least", ge, "group_bytes_max")] = Field(64 << 20, ge=1 << 20)
    retry_s: float = Field(1.0, gt=0, le=60)
    give_up_s: float = Field(60.0, ge=0)


class Seal(Section):
    interval_s: float = Field(60.0, ge=0.2, le=3600)
    bytes_max: int = Field(64 << 20, ge=1 << 20)


class Compact(Section):
    interval_s: float = Field(600.0, ge=0.2, le=86_400)
    level: int = Field(19, ge=1, le=19)
    grace_s: float = Field(86_400.0, ge=0)


def _feed_name(name: str) -> str:
    if not FEED_NAME.fullmatch(name):
        raise ValueError("is no name for a feed: a small letter first, then small letters, digits, _ and -, at most 63")
    if name == RECORDER_FEED:
        raise ValueError("is the name of the recorder's own entries; choose another")
    return name


FeedName = Annotated[str, AfterValidator(_feed_name)]


class Retain(Section):
    days: float = Field(0.0, ge=0)
    bytes_max: int = Field(0, ge=0)
    feeds: dict[FeedName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether anything is ever let go."""
        return bool(self.days or self.bytes_max or self.feeds)


class Redial(Section):
    first_s: float = Field(0.5, gt=0)
    max_s: Annotated[float, _compared("at least", ge, "first_s")] = Field(30.0, gt=0)
    proven_s: float = Field(5.0, ge=0)
    refused_max_s: float = Field(900.0, ge=60)
    handshake_timeout_s: float = Field(10.0, gt=0)


class Disk(Section):
    reserve_bytes: int = Field(256 << 20, ge=16 << 20)
    resume_bytes: Annotated[int, _compared("more than", gt, "reserve_bytes")] = Field(512 << 20)


class Health(Section):
    heartbeat: str = ""
    heartbeat_s: float = Field(60.0, ge=1, le=86_400)

    @field_validator("heartbeat")
    @classmethod
    def _name_only(cls, name: str) -> str:
        return secret_name(name)


class Limits(Section):
    frame_bytes_max: int = Field(16 << 20, ge=128 << 10)


def _address(url: str, plain: str, secure: str) -> str:
    """Scheme, host and path of an upstream, without a slash at the end."""
    form = f"should be {plain}://host, {plain}://host:port or {secure}://host"
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:  # its text may quote what stands where the port should
        raise ValueError(form) from None
    if parts.scheme not in (plain, secure) or not parts.hostname or not port_fits or not url.isprintable():
        raise ValueError(form)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("holds more than host and path; a key is never part of it: name it with `secret`")
    return url.rstrip("/")


class Replay(Section):
    """The server of `recorder serve`. Limits are for all its clients together unless they say otherwise."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8765, ge=0, le=65535)
    token: str = ""
    origins: list[str] = Field(default_factory=list)
    sessions_max: int = Field(32, ge=1)
    listeners_max: int = Field(256, ge=1)
    listener_buffer_bytes_max: int = Field(8 << 20, ge=64 << 10)
    message_bytes_max: int = Field(128 << 10, ge=1 << 10)
    messages_per_s_max: int = Field(100, ge=1)
    handshake_timeout_s: float = Field(10.0, gt=0)
    idle_s: float = Field(120.0, gt=0)
    grace_s: float = Field(10.0, ge=0)

    @field_validator("token")
    @classmethod
    def _name_only(cls, name: str) -> str:
        return secret_name(name)


def secret_name(name: str) -> str:
    """A name under which a key is looked up, or "" for none."""
    if name and not SECRET_NAME.fullmatch(name):
        raise ValueError("should be the short lower-case name under which to look the key up, never the key itself")
    return name


class Feed(Section):
    """What every kind of feed has."""

    url: str
    secret: str = ""
    rotate_s: float = Field(6600.0, gt=0)
    overlap_s: Annotated[float, _compared("less than", lt, "rotate_s")] = Field(300.0, gt=0)

    @field_validator("url")
    @classmethod
    def _websocket(cls, url: str) -> str:
        return _address(url, "ws", "wss")

    @field_validator("secret")
    @classmethod
    def _name_only(cls, name: str) -> str:
        return secret_name(name)


class Finlight(Feed):
    """Subscription fields are Finlight's own, in our spelling; unset ones are left to the server's defaults."""

    kind: Literal["finlight", "finlight.raw"]
    url: str = "wss://wss.finlight.me"
    secret: str = "finlight"  # noqa: S105 - the name under which to look it up
    rotate_s: float = Field(6600.0, gt=0, lt=FINLIGHT_CONNECTION_S)
    query: str | None = None
    sources: list[str] | None = None
    exclude_sources: list[str] | None = None
    opt_in_sources: list[str] | None = None
    language: str | None = None
    tickers: list[str] | None = None
    include_content: bool = False
    include_entities: bool = False
    exclude_empty_content: bool = False
    countries: list[str] | None = None
    categories: list[str] | None = None
    include_updates: bool = True
    takeover: bool = False
    ping_s: float = Field(25.0, gt=0)
    pong_timeout_s: Annotated[float, _compared("more than", gt, "ping_s")] = Field(60.0, gt=0)
    silence_s: float = Field(3600.0, gt=0)
    backfill: bool = True
    rest_url: str | None = None
    backfill_delay_s: float = Field(60.0, gt=0)
    backfill_again_s: Annotated[float, _compared("more than", gt, "backfill_delay_s")] = Field(600.0, gt=0)
    backfill_requests_per_day_max: int = Field(500, ge=10)

    @property
    def backfill_url(self) -> str | None:
        """Where gaps are filled from; None: nowhere. Finlight is never sent a key that was meant for another server."""
        if not self.backfill:
            return None
        parts = urlsplit(self.url)
        own = parts.scheme == "wss" and parts.hostname == FINLIGHT_HOST
        return self.rest_url or (FINLIGHT_REST if own else None)

    @field_validator("rest_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return url and _address(url, "http", "https")

    @field_validator("tickers", "include_entities", "exclude_empty_content", "countries", "categories")
    @classmethod
    def _raw_has_fewer_fields(cls, value: object, info: ValidationInfo) -> object:
        if value and info.data.get("kind") == "finlight.raw":
            raise ValueError('is not known to the raw stream; leave it out or use kind = "finlight"')
        return value


class FinanceQuery(Feed):
    url: str = "ws://localhost:8000"
    silence_s: float = Field(gt=0)
    connects_per_day_max: int = Field(7000, ge=1)
    poll_s: float = Field(30.0, ge=1)

    @field_validator("poll_s")
    @classmethod
    def _within_the_day(cls, poll_s: float, info: ValidationInfo) -> float:
        budget = info.data.get("connects_per_day_max", DAY_S)
        if DAY_S / poll_s > budget:
            raise ValueError(f"should be at least {DAY_S / budget:.1f}: connects_per_day_max is {budget}")
        return poll_s


def _symbol(symbol: str) -> str:
    """One symbol as Finance Query takes it: the list of them is one comma-separated text, nothing is trimmed."""
    if not 0 < len(symbol) <= SYMBOL_CHARACTERS_MAX:
        raise ValueError(f"should have 1 to {SYMBOL_CHARACTERS_MAX} characters")
    if "," in symbol or " " in symbol or not symbol.isprintable():
        raise ValueError("should be one symbol, without commas, blanks or control characters")
    return symbol


def _each_once(symbols: list[str]) -> list[str]:
    doubled = sorted({s for s in symbols if [t.upper() for t in symbols].count(s.upper()) > 1})
    if doubled:
        raise ValueError(f"names {', '.join(doubled)} more than once")
    return symbols


Symbols = Annotated[list[Annotated[str, AfterValidator(_symbol)]], Field(min_length=1), AfterValidator(_each_once)]


class Quotes(FinanceQuery):
    kind: Literal["finance_query.quotes"]
    symbols: Symbols
    silence_s: float = Field(30.0, gt=0)


class Profile(FinanceQuery):
    kind: Literal["finance_query.profile"]
    symbols: Symbols
    silence_s: float = Field(120.0, gt=0)


class Market(FinanceQuery):
    kind: Literal["finance_query.market"]
    silence_s: float = Field(60.0, gt=0)
    rotate_s: float = Field(86400.0, gt=0)


class Hours(FinanceQuery):
    kind: Literal["finance_query.hours"]
    silence_s: float = Field(30.0, gt=0)


AnyFeed = Annotated[Finlight | Quotes | Profile | Market | Hours, Field(discriminator="kind")]


class Settings(Section):
    """The whole of config.toml."""

    data: Path = Path("data")
    journal: Journal = Journal()
    seal: Seal = Seal()
    redial: Redial = Redial()
    disk: Disk = Disk()
    compact: Compact = Compact()
    retain: Retain = Retain()
    health: Health = Health()
    limits: Limits = Limits()
    replay: Replay = Replay()
    feeds: dict[FeedName, AnyFeed] = Field(default_factory=dict)

    @field_validator("data")
    @classmethod
    def _names_a_folder(cls, data: Path) -> Path:
        if not str(data).isprintable():
            raise ValueError("should be a path without control characters")
        return data

    @field_validator("limits")
    @classmethod
    def _frame_fits_the_buffer(cls, limits: Limits, info: ValidationInfo) -> Limits:
        journal = info.data.get("journal")
        if journal and limits.frame_bytes_max > journal.buffer_bytes_max:
            raise ValueError(
                f"frame_bytes_max should not be more than journal.buffer_bytes_max, {journal.buffer_bytes_max}"
            )
        return limits
