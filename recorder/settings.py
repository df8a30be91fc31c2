"""Every setting, with its unit, its limits and its default.

In: a TOML file, `RECORDER_…` variables over it (`RECORDER_JOURNAL__COMMIT_INTERVAL_MS=50`), secrets from
`RECORDER_SECRET_<NAME>` or the systemd credential `<name>`. Out: one frozen `Settings`, or ConfigInvalid that lists every
problem at once. Secrets are looked up when they are needed and are part of no settings object.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET_VARIABLE = "RECORDER_SECRET_"  # noqa: S105 - the prefix of a name, not a secret
FEED_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Section(BaseModel):
    """One table of config.toml: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Journal(Section):
    commit_interval_ms: int = Field(20, ge=1, le=10_000)
    buffer_bytes_max: int = Field(64 << 20, ge=1 << 20)
    group_bytes_max: int = Field(8 << 20, ge=64 << 10, le=256 << 20)
    retry_s: float = Field(1.0, gt=0, le=60)
    give_up_s: float = Field(60.0, ge=0)


class Seal(Section):
    interval_s: float = Field(60.0, ge=0.2, le=3600)
    bytes_max: int = Field(64 << 20, ge=1 << 20)


class Redial(Section):
    first_s: float = Field(0.5, gt=0)
    max_s: float = Field(30.0, gt=0)
    proven_s: float = Field(5.0, ge=0)
    refused_s: float = Field(60.0, gt=0)
    refused_max_s: float = Field(900.0, gt=0)
    handshake_timeout_s: float = Field(10.0, gt=0)


class Limits(Section):
    frame_bytes_max: int = Field(16 << 20, ge=128 << 10)


class Feed(Section):
    """What every kind of feed has."""

    url: str
    secret: str = ""
    rotate_s: float = Field(6600.0, gt=0)
    overlap_s: float = Field(300.0, gt=0)

    @field_validator("url")
    @classmethod
    def _websocket(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("want ws://host or wss://host")
        if parts.username or parts.password:
            raise ValueError("no user or password in an URL: name a secret instead")
        return url


class Finlight(Feed):
    """Subscription fields are Finlight's own, in our spelling; unset ones are left to the server's defaults."""

    kind: Literal["finlight", "finlight.raw"]
    url: str = "wss://wss.finlight.me"
    secret: str = "finlight"  # noqa: S105 - the name under which to look it up
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
    pong_timeout_s: float = Field(60.0, gt=0)
    silence_s: float = Field(3600.0, gt=0)

    @model_validator(mode="after")
    def _raw_has_fewer_fields(self) -> Finlight:
        if self.kind == "finlight.raw":
            enhanced = ("tickers", "include_entities", "exclude_empty_content", "countries", "categories")
            for name in enhanced:
                if getattr(self, name):
                    raise ValueError(f'{name} is not known to the raw stream; leave it out or use kind = "finlight"')
        return self


class FinanceQuery(Feed):
    url: str = "ws://localhost:8000"
    silence_s: float = Field(gt=0)
    poll_s: float = Field(30.0, ge=1)
    connects_per_day_max: int = Field(7000, ge=1)


class Quotes(FinanceQuery):
    kind: Literal["finance_query.quotes"]
    symbols: list[str] = Field(min_length=1)
    silence_s: float = Field(30.0, gt=0)


class Profile(FinanceQuery):
    kind: Literal["finance_query.profile"]
    symbols: list[str] = Field(min_length=1)
    silence_s: float = Field(120.0, gt=0)


class Market(FinanceQuery):
    kind: Literal["finance_query.market"]
    silence_s: float = Field(60.0, gt=0)
    rotate_s: float = Field(86400.0, gt=0)


class Hours(FinanceQuery):
    kind: Literal["finance_query.hours"]
    silence_s: float = Field(30.0, gt=0)


AnyFeed = Annotated[Finlight | Quotes | Profile | Market | Hours, Field(discriminator="kind")]


class Settings(BaseSettings):
    """The whole of config.toml."""

    model_config = SettingsConfigDict(
        env_prefix="RECORDER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: Path = Path("data")
    journal: Journal = Journal()
    seal: Seal = Seal()
    redial: Redial = Redial()
    limits: Limits = Limits()
    feeds: dict[str, AnyFeed] = Field(default_factory=dict)
