"""Finlight's WebSocket protocol, the client's side: the enhanced stream and the raw one.

In: what a connection brings and what time it is. Out: actions. Nothing is stored here, so a power cut costs nothing;
dialling, closing and waiting are the channel's job, writing is the journal's. The same code talks to the vendor and to
any server that speaks the protocol under another URL and path.

The server keeps nothing and nothing can be asked for again, so every reaction below is chosen to be connected again as
soon as the server lets us, and a frame is recorded whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import orjson

from recorder import __version__, settings
from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alarm,
    Alive,
    Frame,
    HangUp,
    Keep,
    Request,
    RetryAfter,
    Send,
    Subscription,
    Suspect,
)
from recorder.feeds.finlight_tables import CLOSES, ERRORS, FIELDS, KICKED_S, PREEMPTED, REFUSALS, parse, seconds
from recorder.message import Kind, Mark, Stream

INITIAL_WITHIN_NS = 2 * SECOND_NS
STALLED_NS = 5 * SECOND_NS
ALARMS_MAX = 20  # different texts a connection may raise; the frames themselves are all recorded
ALARM_CHARACTERS_MAX = 300

# How an article starts in compact and in Python's JSON. A frame that starts like this is recorded without being parsed.
ARTICLE_STARTS = (b'{"action":"sendArticle","data":{', b'{"action": "sendArticle", "data": {')

_Label = tuple[Kind, Mark]
_ARTICLE: _Label = (Kind.DATA, Mark.NONE)
_REPLY: _Label = (Kind.REPLY, Mark.NONE)
_ODD: _Label = (Kind.DATA, Mark.ODD)


def subscriptions(name: str, feed: settings.Finlight, secret: str) -> list[Subscription]:
    """The one channel of a Finlight feed."""
    return [FinlightSubscription(name, feed, secret)]


class FinlightSubscription:
    """One subscription of either stream. `nonce` gives a text that no other connection had."""

    break_first = False
    slots_limited = True
    snapshots = False
    farewell = (4000, "Proactive rotation")

    def __init__(
        self, name: str, feed: settings.Finlight, secret: str, nonce: Callable[[], str] = lambda: str(uuid4())
    ) -> None:
        self.stream = Stream(name, feed.kind)
        self.may_take_over = feed.takeover
        self._feed = feed
        self._secret = secret
        self._nonce = nonce

    def connect(self, now: Moment, *, takeover: bool) -> FinlightConversation:  # noqa: ARG002 - the seam's signature
        # The names must stay in lower case: the server looks them up case-sensitively and answers X-Api-Key with 401.
        headers = [("x-client-version", f"python/recorder@{__version__}"), ("user-agent", f"recorder/{__version__}")]
        if self._secret:
            headers.insert(0, ("x-api-key", self._secret))
        if takeover:
            headers.append(("x-takeover", "true"))
        url = _url(self._feed.url, raw=self._feed.kind == "finlight.raw")
        return FinlightConversation(self._feed, Request(url, tuple(headers)), self._nonce())

    def identity(self, frame: Frame) -> Hashable | None:
        """Link, isUpdate and revisedDate: a revision of an article is a message of its own."""
        match parse(frame.payload):
            case {"action": "sendArticle", "data": {"link": str(link), **article}}:
                revised = article.get("revisedDate")
                return link, article.get("isUpdate") is True, revised if isinstance(revised, str) else None
        return None

    def rotate_at(self, opened: Moment) -> int:
        return opened.monotonic_ns + _ns(self._feed.rotate_s)


class FinlightConversation:
    """One connection. Silent means no frame of any kind: articles prove life as well as the pongs to our JSON pings do,
    and a connection that delivers is never cut. Protocol pings are neither sent nor needed.
    """

    def __init__(self, feed: settings.Finlight, request: Request, nonce: str) -> None:
        self.request = request
        self._feed = feed
        self._nonce = nonce
        self._ping_ns = _ns(feed.ping_s)
        self._patience_ns = _ns(feed.pong_timeout_s)
        self._silence_ns = _ns(feed.silence_s)
        self._ping_at = self._silent_at = self._unproven_at = self._suspect_at = NEVER_NS
        self._initial_until = 0
        self._proven = False  # admitted, or receiving articles
        self._has_article = False
        self._excused = False
        self._over = False
        self._alarmed: set[str] = set()

    @property
    def wake_ns(self) -> int:
        return NEVER_NS if self._over else min(self._ping_at, self._silent_at, self._unproven_at, self._suspect_at)

    def opened(self, now: Moment) -> list[Action]:
        at = now.monotonic_ns
        self._ping_at = at + self._ping_ns
        self._silent_at = self._unproven_at = at + self._patience_ns
        self._suspect_at = at + self._silence_ns
        self._initial_until = at + INITIAL_WITHIN_NS
        values = {field: getattr(self._feed, name) for name, field in FIELDS.items()}
        asked = {field: value for field, value in values.items() if value is not None and value is not False}
        return [Send(orjson.dumps({**asked, "clientNonce": self._nonce}).decode())]

    def received(self, frames: Sequence[Frame], now: Moment) -> list[Action]:
        was_over = self._over
        self._silent_at = now.monotonic_ns + self._patience_ns
        self._excused = False
        keeps: list[Keep] = []
        reactions: list[Action] = []
        begin, current = 0, _ARTICLE
        has_article = self._has_article
        for index, frame in enumerate(frames):
            if has_article and frame.is_text and frame.payload.startswith(ARTICLE_STARTS):
                label = _ARTICLE
            else:
                label = self._label(frame, now, reactions)
                has_article = self._has_article
            if label is not current and label != current:
                if index > begin:
                    keeps.append(Keep(frames[begin:index], *current))
                begin, current = index, label
        keeps.append(Keep(frames[begin:], *current))
        if was_over:
            return [*keeps]
        proof: list[Action] = []
        if any(_is_article(keep) for keep in keeps):
            self._prove()
            if self._suspect_at != NEVER_NS:
                self._suspect_at = now.monotonic_ns + self._silence_ns
            proof.append(Alive(data=True))
        elif self._proven and not self._over:
            proof.append(Alive(data=False))
        return [*proof, *keeps, *reactions]

    def tick(self, now: Moment) -> list[Action]:
        if self._over:
            return []
        at = now.monotonic_ns
        if at - self.wake_ns > STALLED_NS and not self._excused:
            # This process slept, so answers may wait unread in the socket: the upstream gets its time once more.
            self._excused = True
            self._silent_at = at + self._patience_ns
            if not self._proven:
                self._unproven_at = at + self._patience_ns
        actions: list[Action] = []
        if at >= self._silent_at:
            self._hang_up(actions, HangUp(1000, "", "silent"))
        elif at >= self._unproven_at:
            self._hang_up(actions, HangUp(1000, "", "not admitted"))
        else:
            if at >= self._ping_at:
                self._ping_at = at + self._ping_ns
                actions.append(Send(f'{{"action": "ping", "t": {now.utc_ns // MS_NS}}}'))
            if at >= self._suspect_at:
                self._suspect_at = NEVER_NS  # once per connection: the next one counts for itself
                actions.append(Suspect("no article"))
        return actions

    def closed(self, code: int, reason: str, now: Moment) -> list[Action]:  # noqa: ARG002 - the seam's signature
        if self._over:
            return []  # hanging up, we have said already when to come back
        self._over = True
        return [CLOSES[code]] if code in CLOSES else []

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: Moment) -> list[Action]:  # noqa: ARG002
        self._over = True
        if status not in REFUSALS:
            return []
        wait = REFUSALS[status]
        if status == 429 and "retry-after" in headers:
            wait = replace(wait, seconds=seconds(headers["retry-after"], wait.seconds))
        return [wait]

    # --- reading one frame --------------------------------------------------------------------------------------

    def _label(self, frame: Frame, now: Moment, reactions: list[Action]) -> _Label:
        kind, mark = self._read(frame, now, reactions)
        # The official Python client takes JSON from a binary frame as if it were text, so we do.
        return kind, mark if frame.is_text else mark | Mark.BINARY

    def _read(self, frame: Frame, now: Moment, reactions: list[Action]) -> _Label:
        message = parse(frame.payload)
        match message:
            case {"action": "sendArticle", "data": {}}:
                return Kind.DATA, self._article_mark(now)
            case {"action": "pong"}:
                pass
            case {"action": "admit"}:
                self._prove()
                self._initial_until = now.monotonic_ns + INITIAL_WITHIN_NS
                nonce = message.get("clientNonce")
                if nonce and nonce != self._nonce:  # servers of old clients send none
                    got = nonce if isinstance(nonce, str) else "something that is no text"
                    self._alarm(reactions, "feed.nonce_mismatch", f"admit for {got}, we sent {self._nonce}")
            case {"action": "preempted"}:
                self._hang_up(reactions, *PREEMPTED)
            case {"action": "admin_kick"}:
                wait_s = seconds(message.get("retryAfter"), KICKED_S, per_second=1000)
                kick = HangUp(4003, f"Admin kick - retry after {wait_s * 1000:.0f}ms", "kicked by an administrator")
                self._hang_up(reactions, RetryAfter(wait_s, kick.cause), kick)
            case {"action": "error"}:
                text = message.get("data") or message.get("error")
                self._error(reactions, text if isinstance(text, str) else frame.payload.decode())
            case {"message": str(text), "requestId": _} if "action" not in message:
                # API Gateway itself: its back end failed on what we sent. Whether we are subscribed, only admit tells.
                self._alarm(reactions, "feed.error", text)
            case _:
                return _ODD
        return _REPLY

    def _article_mark(self, now: Moment) -> Mark:
        """The enhanced stream begins with the newest article there is, however old; the raw one does not.

        Nothing in the frame says so. The first article within two seconds of the admission (without one: of the
        subscription) is taken for it; a live article can be mistaken for it only where no older one matches.
        """
        first, self._has_article = not self._has_article, True
        if first and self._feed.kind == "finlight" and now.monotonic_ns <= self._initial_until:
            return Mark.INITIAL
        return Mark.NONE

    def _error(self, reactions: list[Action], text: str) -> None:
        for word, wait, hang_up in ERRORS:
            if word in text.lower():
                self._hang_up(reactions, wait, hang_up)
                return
        self._alarm(reactions, "feed.error", text)

    # --- reacting -----------------------------------------------------------------------------------------------

    def _prove(self) -> None:
        self._proven = True
        self._unproven_at = NEVER_NS

    def _hang_up(self, reactions: list[Action], *last: Action) -> None:
        if not self._over:
            self._over = True
            reactions.extend(last)

    def _alarm(self, reactions: list[Action], event: str, text: str) -> None:
        # Half a surrogate pair can be parsed, but neither logged nor written as JSON.
        detail = text[:ALARM_CHARACTERS_MAX].encode(errors="replace").decode()
        if not self._over and detail not in self._alarmed and len(self._alarmed) < ALARMS_MAX:
            self._alarmed.add(detail)
            reactions.append(Alarm(event, detail))


def _is_article(keep: Keep) -> bool:
    return keep.kind is Kind.DATA and (keep.mark is Mark.NONE or Mark.ODD not in keep.mark)


def _url(url: str, *, raw: bool) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if raw:
        path = path.removesuffix("/raw").rstrip("/") + "/raw"
    return urlunsplit((parts.scheme, parts.netloc, path or "/", parts.query, ""))


def _ns(seconds: float) -> int:
    return int(min(seconds * SECOND_NS, NEVER_NS))
