from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import MS_NS
from recorder.journal.figures import BOUNDS_NS, Histogram

# Bounds themselves and their neighbours, and anything up to a minute and a half.
DURATIONS = st.one_of(
    st.sampled_from(BOUNDS_NS).flatmap(lambda b: st.integers(b - 1, b + 1)), st.integers(0, 90_000 * MS_NS)
)


@given(st.lists(st.tuples(DURATIONS, st.integers(1, 5)), min_size=1, max_size=20))
def test_a_group_at_once_counts_as_its_messages_one_by_one(waits: list[tuple[int, int]]) -> None:
    one_by_one, at_once = Histogram(), Histogram()
    for duration_ns, number in waits:
        for _ in range(number):
            one_by_one.take(duration_ns)
    until_ns = 100_000 * MS_NS
    at_once.take_since(sorted((until_ns - duration_ns, number) for duration_ns, number in waits), until_ns)
    assert at_once == one_by_one
    assert sum(at_once.counts) == at_once.count


def test_quantiles_are_bounds_that_hold() -> None:
    histogram = Histogram()
    for ms in range(1, 101):
        histogram.take(ms * MS_NS)
    assert [histogram.quantile_ms(share) for share in (0.5, 0.95, 1)] == [50, 100, 100]
    assert Histogram().quantile_ms(0.99) == 0
