"""Finlight's articles out of a recording: which recorded messages are news, and what was the newest before.

In: recorded messages of one or several feeds. Out: articles for the imitation, each as often as the feed that brought
it most often brought it; what a feed brings again because it was dialled anew is no news. What was fetched over REST
never was on the wire, and is not put there: it is no frame, and came when the recorder asked for it. The look for the
newest article goes back from what was played last.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

from recorder.clock import Moment
from recorder.message import Mark, Message
from recorder.replay.encoding import Wanted
from recorder.replay.relay import past
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.relay import Relay
from recorder.replay.sessions import Sessions
from recorder.replay.track import Plan
from recorder.replay.upstreams.as_finlight import Finlight
from recorder.replay.upstreams.finlight_articles import Article
from recorder.replay.upstreams.finlight_articles import Wanted as Filters
from recorder.replay.upstreams.imitation import LATER, Later, Output

KEEP_S = 30.0  # the official clients are back within half a second to ten
REMEMBERED_MAX = 20_000  # identities of articles, for repeats
UNPARSED_BYTES_MAX = 16 << 20
ATTENTIVE_AFTER = 1_000  # articles behind a snapshot, one of which may be the same
RECENT_MAX = 500  # articles that need not be looked up
NO_FRAME = Mark.ODD | Mark.REST


class _Known:
    """What is known of one article."""

    def __init__(self) -> None:
        self.brought: Counter[str] = Counter()  # by feed
        self.shown = 0


class Repeats:
    """Which articles are news. What is remembered is bounded: a repeat after REMEMBERED_MAX others is news.

    As long as one feed alone brings articles, and no snapshot lately, nothing is parsed, which would take half of the
    time there is for one at full speed: they are remembered as they are, and looked into when there is a reason.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self._feed: str | None = None  # the only one so far; "" where there were several
        self._attentive = 0  # articles that may still be a snapshot's, live
        self._unparsed: deque[Article] = deque()
        self._unparsed_bytes = 0

    def is_new(self, article: Article, feed: str, *, snapshot: bool) -> bool:
        """Told each recorded article once, in order. `snapshot`: sent because somebody subscribed, or a variant."""
        self._attentive = ATTENTIVE_AFTER if snapshot else max(0, self._attentive - 1)
        if not self._attentive and self._feed in (None, feed):
            self._feed = feed
            self._unparsed.append(article)
            self._unparsed_bytes += len(article.frame)
            while self._unparsed_bytes > UNPARSED_BYTES_MAX:
                self._unparsed_bytes -= len(self._unparsed.popleft().frame)
            return True
        self._parse()
        self._feed = feed if self._feed in (None, feed) else ""
        return self._is_new(article, feed, snapshot=snapshot)

    def shown(self, article: Article) -> None:
        """It was shown as the newest one."""
        self._parse()
        self._attentive = ATTENTIVE_AFTER
        if (known := self._of(article)) is not None:
            known.shown = max(known.shown, 1)

    def _is_new(self, article: Article, feed: str, *, snapshot: bool) -> bool:
        known = self._of(article)
        if known is None:
            return True
        if not snapshot:
            known.brought[feed] += 1
        is_new = known.shown == 0 if snapshot else known.brought[feed] > known.shown
        known.shown += is_new
        return is_new

    def _parse(self) -> None:
        while self._unparsed and self._feed is not None:
            self._is_new(self._unparsed.popleft(), self._feed, snapshot=False)
        self._unparsed_bytes = 0

    def _of(self, article: Article) -> _Known | None:
        identity = article.identity
        if identity is None:
            return None
        known = self._known.setdefault(identity, _Known())
        self._known.move_to_end(identity)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return known


class FinlightRelay(Relay):
    """One stream, enhanced or raw, from the feeds that `wanted` selects."""

    def __init__(self, stream: str, sessions: Sessions, asked: Asked, plan: Plan, wanted: Wanted) -> None:
        smoothed = Finlight(self, limit_s=None, idle_s=None, keep_s=KEEP_S)
        self.finlight = Finlight(self) if asked.as_recorded else smoothed
        self.stream = stream
        self._repeats = Repeats()
        self._recent: deque[Article] = deque(maxlen=RECENT_MAX)
        super().__init__(self.finlight, sessions, asked, plan, wanted)

    @property
    def is_listening(self) -> bool:
        return self.finlight.is_listening

    @property
    def kept_bytes(self) -> int:
        return self.finlight.kept_bytes

    @property
    def kept_for_somebody(self) -> bool:
        return self.finlight.expects_somebody

    def handle(self, message: Message, now: Moment) -> list[Output]:
        if message.mark & NO_FRAME:
            return []
        article = Article(message.payload)
        snapshot = bool(message.mark & (Mark.INITIAL | Mark.VARIANT))
        if not self._repeats.is_new(article, message.stream.feed, snapshot=snapshot):
            return []
        self._recent.append(article)
        return self.finlight.publish(article, now, [self.stream])

    def connections(self, message: Message) -> list[int]:  # noqa: ARG002 - one stream is all there is
        return list(self.host.sockets)

    def moved(self, now: Moment) -> list[Output]:  # noqa: ARG002 - nothing is said
        self._repeats = Repeats()
        self._recent.clear()
        return []

    # --- as the imitation's source --------------------------------------------------------------------------------

    def newest(self, wanted: Filters) -> Article | Later | None:
        """The newest article played, or recorded before, that passes the filters."""
        for article in reversed(self._recent):
            if wanted(article):
                return article
        selection = self.wanted.selection

        def find(before: int) -> Article | None:
            found = past.newest(
                self._sessions.timeline,
                before,
                selection,
                lambda message: not message.mark & NO_FRAME and wanted(Article(message.payload)),
            )
            return Article(found.payload) if found is not None else None

        def then(article: Article | None, now: Moment) -> list[Output]:  # noqa: ARG001 - the seam's signature
            if article is not None:
                self._repeats.shown(article)
            return self.finlight.answer(wanted, article)

        self.look(find, then, None)
        return LATER
