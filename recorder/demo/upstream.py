"""One upstream on loopback as a test or the demo sees it: its address, its connections, what may go wrong with it.

In: orders, as method calls. Out: what the imitation and the listener then do, all of it in the ledger. Orders are gone
with the process. Starting and feeding both upstreams is upstreams.py's job.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.clock import Clock
from recorder.replay.upstreams.as_finance_query import FinanceQuery
from recorder.replay.upstreams.as_finlight import Article, Finlight, Recent, admin_kick, error, gateway_error
from recorder.replay.upstreams.faults import Faults
from recorder.replay.upstreams.host import Host
from recorder.replay.upstreams.imitation import Close, Cut, Imitation, Output, Send
from recorder.replay.upstreams.ledger import Ledger


class Upstream:
    """One upstream: its address, its connections, and what may go wrong with it.

    Without `connection` an order concerns all that are open now, or everybody, later ones too, for mute.
    """

    def __init__(self, imitation: Imitation, ledger: Ledger, clock: Clock, backlog_bytes_max: int) -> None:
        self.faults = Faults()
        self.host = Host(imitation, clock=clock, faults=self.faults, ledger=ledger, backlog_bytes_max=backlog_bytes_max)
        self.url = ""

    @property
    def connections(self) -> list[int]:
        """The numbers of the open connections, oldest first."""
        return list(self.host.sockets)

    @property
    def handshakes(self) -> int:
        """How many handshakes there have been, however they were answered."""
        assert self.host.ledger is not None
        return sum(knock.upstream == self.host.imitation.name for knock in self.host.ledger.knocks)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at whenever anything has happened here, without end."""
        await self.host.until(condition)

    # --- ends -------------------------------------------------------------------------------------------------

    def close_all(self, code: int = 1001, reason: str = "Going away") -> None:
        """Close every connection; code 1006 cuts TCP without a close frame."""
        for number in self.connections:
            self.close(number, code, reason)

    def close(self, connection: int, code: int = 1001, reason: str = "Going away") -> None:
        self.host.run([Cut(connection) if code == 1006 else Close(connection, code, reason)])

    def cut(self, connection: int | None = None) -> None:
        """End TCP without a close frame."""
        self.host.run([Cut(number) for number in self._those(connection)])

    # --- handshakes -------------------------------------------------------------------------------------------

    def refuse(self, status: int, times: int = 1, body: str = "") -> None:
        """Answer the next handshakes with an HTTP status: 401, 403, 429, 500, 503."""
        self.faults.refuse(status, times, body.encode())

    def ignore(self, times: int = 1) -> None:
        """Never answer the next handshakes."""
        self.faults.ignore(times)

    def hang_up(self, times: int = 1, after_messages: int = 0, code: int = 1001, reason: str = "Going away") -> None:
        """Accept the next connections and end each after so many messages to it."""
        self.faults.hang_up(times, after_messages, code, reason)

    # --- silence ----------------------------------------------------------------------------------------------

    def mute(self, connection: int | None = None, channel: str | None = None) -> None:
        """No more data; pings are still answered."""
        if connection is not None:
            self.faults.muted_connections.add(connection)
        elif channel is not None:
            self.faults.muted_channels.add(channel)
        else:
            self.faults.muted = True

    def mute_open(self) -> None:
        """No more data on the connections that are open now; those to come are well."""
        self.faults.muted_connections.update(self.connections)

    def unmute(self) -> None:
        self.faults.muted = False
        self.faults.muted_connections.clear()
        self.faults.muted_channels.clear()

    def answer_pings(self, answer: bool = True) -> None:
        """Whether pings are answered, the protocol's and Finlight's own."""
        self.faults.answers_pings = answer

    def heal(self) -> None:
        """Withdraw every order that still waits; closed connections stay closed."""
        self.faults.forget()
        self.answer_pings(True)

    # --- odd frames -------------------------------------------------------------------------------------------

    def send(self, payload: str, connection: int | None = None, binary: bool = False) -> None:
        """Send this, whatever it is: not JSON, an unknown action, a frame of another endpoint."""
        self.host.run([Send(self._those(connection), payload.encode(), "", "odd", not binary)])

    def oversize(self, size_bytes: int, connection: int | None = None) -> None:
        """Send one JSON text message of about this size."""
        self.send('{"action":"sendArticle","data":{"pad":"' + "x" * size_bytes + '"}}', connection)

    def _those(self, connection: int | None) -> list[int]:
        return self.connections if connection is None else [connection]


class FinlightUpstream(Upstream):
    """Finlight, with the things only it can say."""

    def __init__(self, imitation: Finlight, recent: Recent, ledger: Ledger, clock: Clock, backlog: int) -> None:
        super().__init__(imitation, ledger, clock, backlog)
        self.finlight = imitation
        self.recent = recent
        self.on_publish: Callable[[Article], None] | None = None

    def publish(self, article: Article | bytes) -> None:
        """A new article, as an Article or as its JSON object's bytes, which leave unchanged."""
        if isinstance(article, bytes):
            article = Article.of(article)
        self.recent.add(article)
        if self.on_publish is not None:
            self.on_publish(article)
        self.host.run(self.finlight.publish(article, self.host.clock.now()))

    def answer_pings(self, answer: bool = True) -> None:
        super().answer_pings(answer)
        self.finlight.answers_pings = answer

    def kick(self, retry_after_ms: int) -> None:
        """`admin_kick` for everybody; it is the client that closes."""
        self.host.run(self.finlight.tell_all(admin_kick(retry_after_ms)))

    def error(self, text: str) -> None:
        """`error` for everybody."""
        self.host.run(self.finlight.tell_all(error(text)))

    def preempt(self, connection: int | None = None, reason: str = "takeover", new_lease_id: str = "other") -> None:
        """`preempted` and a close 1000, as if another client had taken the slot."""
        outputs: list[Output] = []
        for number in self._those(connection):
            outputs += self.finlight.preempt(number, reason, new_lease_id)
        self.host.run(outputs)

    def gateway_error(self) -> None:
        """API Gateway's own error frame for everybody."""
        self.host.run(self.finlight.tell_all(gateway_error()))


class FinanceQueryUpstream(Upstream):
    """Finance Query, with the things only it can do."""

    def __init__(self, imitation: FinanceQuery, ledger: Ledger, clock: Clock, backlog: int) -> None:
        super().__init__(imitation, ledger, clock, backlog)
        self.finance_query = imitation

    @property
    def channels(self) -> dict[str, tuple[int, ...]]:
        """Who is on which channel: `market`, `hours`, `profile:AAPL`, for quotes the client's whole text."""
        return self.finance_query.channels

    def kill_channel(self, name: str) -> None:
        """The channel's fetch dies: initial frames only until everybody has left. Unknown names: KeyError."""
        self.finance_query.kill(name)

    def kill_endpoint(self, endpoint: str) -> None:
        """The fetches of all channels that now serve `quotes`, `profile`, `market` or `hours` die."""
        self.finance_query.kill_endpoint(endpoint)
