"""Which kinds of feeds there are, and who speaks for each: a new upstream is one file and its lines here.

In: a feed's name, its settings and its secret. Out: one subscription per channel. Pure; nothing to lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recorder.feeds import finance_query, finlight
from recorder.feeds.feed import Subscription
from recorder.settings import AnyFeed

# Each takes the settings class that has its kind; settings.AnyFeed has made sure of the match.
KINDS: Mapping[str, Callable[[str, Any, str], list[Subscription]]] = {
    "finlight": finlight.subscriptions,
    "finlight.raw": finlight.subscriptions,
    "finance_query.quotes": finance_query.subscriptions,
    "finance_query.profile": finance_query.subscriptions,
    "finance_query.market": finance_query.subscriptions,
    "finance_query.hours": finance_query.subscriptions,
}


def subscriptions(name: str, feed: AnyFeed, secret: str) -> list[Subscription]:
    """What the feed of this name wants from its upstream. `secret` may be empty: then no key is sent."""
    return KINDS[feed.kind](name, feed, secret)
