"""How soon the recorder notices each fault of a network or an upstream, how soon it receives again, what is lost.

One recorder with the product's defaults, a feed of news and one of quotes for every fault, each with an imitated
upstream and a proxy of its own. Every fault lasts until it was noticed and 15 s longer, so that dialling in vain is
part of it. What was sent is compared with what was recorded, message by message. Takes six minutes; as root it also
takes away a host name.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from _bench import Report, arguments, quantile, run, scratch
from _network import Certificates, Fault, Names, Place, faults
from _network_lines import NEWS_SILENCE_S, Course, Line, as_markdown, lines

from recorder.clock import Clock
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.drill.proxy import Proxy
from recorder.settings import Settings

NEWS_PER_S = 5.0
REFRESH_S = 1.0  # of quotes
PROVEN_S = 7.0  # a connection that lived so long is redialled at once
APART_S = 0.25  # between two faults, so that none is measured through another
DOWN_S = 15.0
NOTICED_S_MAX = 120.0
MENDED_S_MAX = 400.0
POLL_S = 0.02
TAIL_S = 2.0
REDIAL_MS_MAX = 10.0
LATE_S_MAX = 1.0


async def follow(course: Course, daemon: Daemon, clock: Clock, after_s: float) -> None:
    """The whole course of one fault."""
    await asyncio.sleep(after_s)
    course.begun = clock.now()
    course.fault.begin(course.place)
    if not course.fault.harmless:
        await _until(daemon, course, open_gap=True, within_s=NOTICED_S_MAX)
    if course.fault.passing:
        course.mended = course.begun
    else:
        await asyncio.sleep(DOWN_S)
        course.mended = clock.now()
        course.fault.mend(course.place)
    await _until(daemon, course, open_gap=False, within_s=MENDED_S_MAX)
    course.well = clock.now()


async def _until(daemon: Daemon, course: Course, *, open_gap: bool, within_s: float) -> None:
    """A mute Finlight connection opens its gap only when another has proved it mute; then it is closed already."""
    (channel,) = [k.channel for k in daemon.roster.keepers if k.channel.subscription.stream.feed == course.place.feed]
    rotations, reconnects = channel.rotations, channel.reconnects
    with suppress(TimeoutError):  # the table shows it
        async with asyncio.timeout(within_s):
            while (channel.gap is not None) != open_gap:
                if open_gap and (channel.rotations > rotations or channel.reconnects > reconnects):
                    return
                await asyncio.sleep(POLL_S)


async def measure(folder: Path, report: Report) -> list[Line]:
    clock = Clock()
    certificates, names = Certificates(folder), _names(folder, report)
    courses: list[Course] = []
    async with AsyncExitStack() as stack:
        for seed, fault in enumerate(faults(certificates, names)):
            for kind in ("news", "quotes"):
                world = World(seed, articles_per_s=NEWS_PER_S if kind == "news" else 0.0)
                upstreams = await stack.enter_async_context(Upstreams(world, refresh_s=REFRESH_S))
                courses.append(
                    Course(fault, await _place(stack, fault, kind, upstreams, certificates, names), upstreams)
                )
        daemon = Daemon(_settings(folder / "data", courses), {course.place.feed: "key" for course in courses})
        recording = asyncio.create_task(daemon.run())
        while any(keeper.channel.gap for keeper in daemon.roster.keepers):  # noqa: ASYNC110 - nothing tells of all at once
            await asyncio.sleep(POLL_S)
        report.said(f"{len(courses)} feeds receive; each is going to be broken")
        await asyncio.gather(
            *(follow(course, daemon, clock, PROVEN_S + n * APART_S) for n, course in enumerate(courses))
        )
        await asyncio.sleep(TAIL_S)
        end_ns = clock.now().utc_ns
        for course in courses:  # what is said to nobody is nobody's loss
            course.place.upstream.mute()
        await asyncio.sleep(TAIL_S)
        daemon.stop()
        await recording
    found = list(lines(courses, folder / "data", end_ns))
    _claims(courses, found, report)
    return found


async def _place(
    stack: AsyncExitStack,
    fault: Fault,
    kind: str,
    upstreams: Upstreams,
    certificates: Certificates,
    names: Names | None,
) -> Place:
    feed = f"{kind}-{fault.name}"
    upstream = upstreams.finlight if kind == "news" else upstreams.finance_query
    port = int(upstream.url.rpartition(":")[2])
    proxy = await stack.enter_async_context(Proxy(port, Clock(), certificates.server if fault.tls else None))
    place = Place(feed, upstream, proxy, "wss" if fault.tls else "ws")
    if fault.named and names:
        place.host = f"{feed}.test"
        names.give(place.host)
    return place


def _settings(data: Path, courses: list[Course]) -> Settings:
    feeds: dict[str, dict[str, Any]] = {}
    for course in courses:
        if course.place.feed.startswith("news"):
            feed: dict[str, Any] = {"kind": "finlight"}
            if course.fault.name == "mute":
                feed["silence_s"] = NEWS_SILENCE_S
        else:
            feed = {"kind": "finance_query.quotes", "symbols": ["AAPL", "MSFT"]}
        feeds[course.place.feed] = feed | {"url": course.place.url}
    return Settings.model_validate({"data": data, "feeds": feeds})


def _names(folder: Path, report: Report) -> Names | None:
    try:
        return Names(folder)
    except PermissionError as error:
        report.said(f"{error}; that fault is left out")
        return None


def _claims(courses: list[Course], found: list[Line], report: Report) -> None:
    both = list(zip(courses, found, strict=True))
    late_s = [
        max(0.0, line.noticed_s - course.threshold_s) if line.noticed_s else float("inf")
        for course, line in both
        if course.fault.silent
    ]
    report.take("silence noticed, beyond the threshold, worst", max(late_s), "s")
    report.claim(f"silence is noticed within its threshold and {LATE_S_MAX:g} s", holds=max(late_s) <= LATE_S_MAX)
    noted_ms = [line.noted_ms for line in found if line.noted_ms is not None]
    dialled_ms = [line.dialled_ms for line in found if line.dialled_ms is not None]
    report.take("connection lost to dialled, entries, worst", max(noted_ms), "ms")
    report.take("connection cut to SYN at the other end, median", quantile(dialled_ms, 0.5), "ms")
    report.take("connection cut to SYN at the other end, worst", max(dialled_ms), "ms")
    report.claim(
        f"{len(noted_ms)} lost connections were redialled within {REDIAL_MS_MAX:g} ms",
        holds=max(noted_ms) <= REDIAL_MS_MAX,
    )
    lost, doubled = sum(line.lost for line in found), sum(line.doubled for line in found)
    report.take("sent", sum(line.sent for line in found), "messages")
    report.take("lost within recorded gaps", sum(line.lost_in_gaps for line in found), "messages")
    report.take("lost outside", lost, "messages")
    report.claim(f"whatever was lost, gaps say so: {lost} outside", holds=lost == 0)
    report.claim(f"nothing is doubled or altered: {doubled}", holds=doubled == 0)
    report.claim("every feed receives again", holds=all(f.receiving_s for c, f in both if not c.fault.harmless))


def main() -> int:
    options = arguments(__doc__, rounds=None).parse_args()
    logging.disable(logging.WARNING)
    report = Report("Faults of the network and of upstreams", as_json=options.json)
    with scratch(options.dir) as folder:
        found = asyncio.run(measure(Path(folder), report))
    if not options.json:
        print(as_markdown(found))
    return report.finish()


if __name__ == "__main__":
    run(main)
