"""`recorder check`: would `run` start, and is the disk what it needs?

In: settings that are valid already. Out: feeds, where their secrets come from, the data folder, the free space and the
latency of its fsync. Writes one small file aside and removes it; a recorder that is running is not disturbed. As
ExecStartPre of the systemd unit it keeps a broken configuration from replacing a working one.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from recorder.clock import MS_NS, Clock
from recorder.commands import show
from recorder.configuration import feed_secrets, heartbeat_url
from recorder.disk import ASIDE
from recorder.settings import Profile, Settings

SYNCS = 50
SYNC_BYTES = 4096  # a group of a quiet feed
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FREE_BYTES_LOW = 1 << 30  # a market feed writes 700 MB a day before it is sealed


@dataclass(frozen=True, slots=True)
class Disk:
    """What the data folder's disk can do. `exists` is False where `run` will make the folder."""

    path: str
    exists: bool
    free_bytes: int
    fsync_ms_p50: float
    fsync_ms_p99: float


def main(settings: Settings, file: Path | None, *, as_json: bool) -> int:
    """`file` is where the settings are from. Raises ConfigInvalid, and OSError where the data folder is no good."""
    secrets: dict[str, str] = {}
    warnings = []
    try:
        secrets = feed_secrets(settings, os.environ)
        heartbeat_url(settings, os.environ)
    except PermissionError as error:
        # systemd 252 hides a service's credentials from its ExecReload=; the recorder itself looks at them again.
        warnings.append(f"{error.filename} cannot be read from here, so keys were not looked at")
    disk = measure(settings.data)
    feeds = [
        {
            "feed": name,
            "kind": feed.kind,
            "url": feed.url,
            "connections": len(feed.symbols) if isinstance(feed, Profile) else 1,
            "secret": feed.secret if name in secrets else None,
        }
        for name, feed in settings.feeds.items()
    ]
    warnings += [
        f"feeds.{name} sends its key over ws:// to {feed.url}, readable on the way: use wss://"
        for name, feed in settings.feeds.items()
        if name in secrets and feed.url.startswith("ws:") and urlsplit(feed.url).hostname not in LOOPBACK
    ]
    if disk.free_bytes < FREE_BYTES_LOW:
        warnings.append(f"{disk.path} has {show.size(disk.free_bytes)} left: free some before the disk is full")
    if as_json:
        origin = str(file) if file else None
        show.json({"config": origin, "feeds": feeds, "disk": asdict(disk), "warnings": warnings})
    else:
        show.table(["feed", "kind", "url", "connections", "secret"], [list(feed.values()) for feed in feeds])
        print(f"\nconfig  {file or 'none, the environment and the defaults hold'}")
        print(f"data    {disk.path}" + ("" if disk.exists else " (will be made)"))
        print(f"free    {show.size(disk.free_bytes)}")
        print(f"fsync   p50 {disk.fsync_ms_p50:.2f} ms, p99 {disk.fsync_ms_p99:.2f} ms")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return 0


def measure(data: Path) -> Disk:
    """Times `SYNCS` writes made durable one by one in the folder, or in the nearest above it that is there."""
    folder = next(path for path in (data, *data.absolute().parents) if path.exists())
    aside = folder / f"{ASIDE}{os.getpid()}-check.tmp"
    sync = getattr(os, "fdatasync", os.fsync)
    clock, took_ms = Clock(), []
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(SYNCS):
            began_ns = clock.now().monotonic_ns
            os.write(descriptor, bytes(SYNC_BYTES))
            sync(descriptor)
            took_ms.append((clock.now().monotonic_ns - began_ns) / MS_NS)
    finally:
        os.close(descriptor)
        aside.unlink()
    took_ms.sort()
    return Disk(
        path=str(data),
        exists=folder == data,
        free_bytes=shutil.disk_usage(folder).free,
        fsync_ms_p50=round(took_ms[SYNCS // 2], 3),
        fsync_ms_p99=round(took_ms[SYNCS * 99 // 100], 3),
    )
