"""What to do when the configuration changed while recording goes on: each channel is kept, added, changed or removed.

Pure. In: the settings that hold and those that shall. Out: a plan of channels; a channel whose wishes are the same is
left alone, whatever else of the file changed, so a symbol more for a profile feed costs the other symbols nothing. Only
feeds change while it runs; the plan names the other sections that differ, and they hold after a restart.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from recorder.feeds.register import subscriptions
from recorder.message import Stream
from recorder.settings import AnyFeed, Profile, Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """Every channel of either configuration is in exactly one of the first four, in the order of its file."""

    keep: tuple[Stream, ...]
    add: tuple[Stream, ...]
    change: tuple[Stream, ...]
    remove: tuple[Stream, ...]
    restart: tuple[str, ...]  # sections whose changes need one

    def fields(self) -> dict[str, object]:
        """For a lifecycle entry: names of channels, `feed` or `feed/channel`."""
        named = {"added": self.add, "changed": self.change, "removed": self.remove}
        return {
            "kept": len(self.keep),
            **{word: [f"{s.feed}/{s.channel}" if s.channel else s.feed for s in of] for word, of in named.items()},
            "restart_for": list(self.restart),
        }


def plan(old: Settings, new: Settings, rekeyed: Collection[str] = ()) -> Plan:
    """`rekeyed`: names of feeds whose secret is another one than before."""
    before, after = _wishes(old), _wishes(new)
    common = before.keys() & after.keys()
    same = {stream for stream in common if before[stream] == after[stream] and stream.feed not in rekeyed}
    return Plan(
        keep=tuple(stream for stream in after if stream in same),
        add=tuple(stream for stream in after if stream not in common),
        change=tuple(stream for stream in after if stream in common - same),
        remove=tuple(stream for stream in before if stream not in common),
        restart=tuple(name for name in Settings.model_fields if name != "feeds" and _differs(name, old, new)),
    )


def _wishes(settings: Settings) -> dict[Stream, AnyFeed]:
    """What each channel is to be like. The other symbols of a profile feed are no business of a channel."""
    wishes: dict[Stream, AnyFeed] = {}
    for name, feed in settings.feeds.items():
        for subscription in subscriptions(name, feed, ""):
            stream = subscription.stream
            own = feed.model_copy(update={"symbols": [stream.channel]}) if isinstance(feed, Profile) else feed
            wishes[stream] = own
    return wishes


def _differs(name: str, old: Settings, new: Settings) -> bool:
    if name == "data":
        return old.data.absolute() != new.data.absolute()
    return bool(getattr(old, name) != getattr(new, name))
