from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import Frame
from recorder.feeds.overlap import BYTES_MAX, FRAMES_MAX, Overlap, Verdict

NEW, REPEAT, VARIANT = Verdict.NEW, Verdict.REPEAT, Verdict.VARIANT


def at(seconds: float) -> Moment:
    ns = int(seconds * SECOND_NS)
    return Moment(ns, ns)


def first_letter(frame: Frame) -> Hashable | None:
    return frame.payload[:1] or None


def frames(*payloads: str) -> list[Frame]:
    return [Frame(payload.encode()) for payload in payloads]


def sift(overlap: Overlap, connection: int, *payloads: str, s: float = 0) -> list[Verdict]:
    return overlap.sift(connection, frames(*payloads), at(s)) or [NEW] * len(payloads)


def test_what_two_connections_bring_is_recorded_once() -> None:
    overlap = Overlap(first_letter, None)
    assert sift(overlap, 1, "a", "b") == [NEW, NEW]
    assert sift(overlap, 2, "b", "c") == [REPEAT, NEW]
    assert sift(overlap, 1, "c", "d") == [REPEAT, NEW]


def test_what_one_connection_brings_twice_is_two_messages() -> None:
    overlap = Overlap(first_letter, None)
    assert sift(overlap, 1, "a", "a") == [NEW, NEW]
    assert sift(overlap, 2, "a", "a", "a") == [REPEAT, REPEAT, NEW]


def test_other_text_under_the_same_identity_is_kept_as_a_variant() -> None:
    overlap = Overlap(first_letter, None)
    sift(overlap, 1, "a1")
    assert sift(overlap, 2, "a2") == [VARIANT]


def test_a_frame_without_identity_is_always_new() -> None:
    overlap = Overlap(first_letter, None)
    sift(overlap, 1, "")
    assert sift(overlap, 2, "") == [NEW]


def test_a_quiet_night_brings_the_newest_article_once_over_many_rotations() -> None:
    overlap = Overlap(first_letter, None)
    assert sift(overlap, 1, "a") == [NEW]
    for connection in range(2, 20):
        assert sift(overlap, connection, "a", s=connection * 6600) == [REPEAT]


def test_a_snapshot_seen_again_after_its_moment_is_a_new_observation() -> None:
    overlap = Overlap(first_letter, SECOND_NS)
    assert sift(overlap, 1, "a", s=0) == [NEW]
    assert sift(overlap, 2, "a", s=0.5) == [REPEAT]
    assert sift(overlap, 1, "a", s=5) == [NEW]
    assert sift(overlap, 2, "a", s=5.001) == [REPEAT]
    assert sift(overlap, 2, "a", s=10) == [NEW]


def test_nothing_is_parsed_while_one_connection_speaks() -> None:
    asked = []

    def identity(frame: Frame) -> Hashable:
        asked.append(frame)
        return frame.payload

    overlap = Overlap(identity, None)
    for _ in range(100):
        assert overlap.sift(1, frames("a"), at(0)) is None
    assert not asked


def test_the_tally_says_what_each_brought() -> None:
    overlap = Overlap(first_letter, None)
    sift(overlap, 1, "a", "b")
    tally = overlap.watch(1, 2)
    sift(overlap, 1, "c", "d", "e")
    sift(overlap, 2, "b", "c", "d", "f")
    assert (tally.both, tally.only_old, tally.only_new) == (3, 1, 1)
    sift(overlap, 1, "f")
    sift(overlap, 2, "e")
    assert (tally.both, tally.only_old, tally.only_new) == (5, 0, 0)


def test_what_is_sent_at_every_subscription_is_no_evidence() -> None:
    overlap = Overlap(first_letter, None)
    sift(overlap, 1, "a")
    tally = overlap.watch(1, 2)
    assert overlap.sift(2, frames("a"), at(0), counted=False) == [REPEAT]
    assert tally.both == 0


def test_memory_is_bounded_in_frames_and_bytes() -> None:
    overlap = Overlap(first_letter, None)
    for _ in range(2 * FRAMES_MAX):
        overlap.sift(1, frames("a"), at(0))
    assert overlap._frames <= FRAMES_MAX + 1
    large = "x" * (BYTES_MAX // 8)
    for _ in range(32):
        overlap.sift(2, frames(large), at(0))
    assert overlap._bytes <= BYTES_MAX + len(large)


def test_any_interleaving_is_recorded_as_often_as_the_busiest_connection_brought_it() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        overlap = Overlap(first_letter, None)
        brought: dict[int, Counter[str]] = {1: Counter(), 2: Counter(), 3: Counter()}
        recorded: Counter[str] = Counter()
        for _ in range(60):
            connection = chance.choice((1, 2, 3))
            letters = chance.choices("abcd", k=chance.randint(1, 3))
            for letter, verdict in zip(letters, sift(overlap, connection, *letters), strict=True):
                brought[connection][letter] += 1
                recorded[letter] += verdict is NEW
        for letter in "abcd":
            assert recorded[letter] == max(counts[letter] for counts in brought.values())
