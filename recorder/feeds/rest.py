"""HTTP for one request at a time: the only file that asks over HTTP.

In: a request, as finlight_rest.py makes it, or a page to get. Out: the answer whole, or RestFailed with a sentence that
says no more of an URL than its host. Every request has a connection of its own, one deadline and a limit on the answer.
Redirects are answers like any other: nobody who was not named in the settings gets the key. No proxies, no cookies, no
compression. Whether to try again is backfill.py's job.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import h11

from recorder.errors import RecorderError
from recorder.feeds.finlight_rest import Post

TIMEOUT_S = 30.0  # DNS, TCP, TLS, the question and the whole answer
ANSWER_BYTES_MAX = 32 << 20  # a page has 100 articles; the stream's are 128 KB at most
HEADERS_BYTES_MAX = 64 << 10
HAPPY_EYEBALLS_S = 0.25  # RFC 8305 8
READ_BYTES = 256 << 10


class Answer(NamedTuple):
    """Header names are lower case; of several of one name the last."""

    status: int
    headers: dict[str, str]
    body: bytes


class RestFailed(RecorderError):
    """There was no answer, or not all of it."""


async def post(
    request: Post,
    *,
    timeout_s: float = TIMEOUT_S,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> Answer:
    """Ask once. Raises RestFailed."""
    return await _ask("POST", request, "rest_url", timeout_s, answer_bytes_max, tls)


async def get(url: str, *, named: str, timeout_s: float, answer_bytes_max: int) -> Answer:
    """Get a page once. `named`: where the URL is set, for the sentences. Raises RestFailed."""
    return await _ask("GET", Post(url, (), b""), named, timeout_s, answer_bytes_max, ssl.create_default_context)


async def _ask(
    method: str,
    request: Post,
    named: str,
    timeout_s: float,
    answer_bytes_max: int,
    tls: Callable[[], ssl.SSLContext],
) -> Answer:
    parts = urlsplit(request.url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout_s):
            # Reading the system's CAs takes 40 ms, too long for a loop that also reads frames.
            context = await asyncio.to_thread(tls) if secure else None
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, happy_eyeballs_delay=HAPPY_EYEBALLS_S
            )
            try:
                return await _converse(method, request, parts, reader, writer, answer_bytes_max)
            finally:
                writer.transport.abort()  # the answer is there or given up: nothing is left to be polite about
    except TimeoutError:
        raise RestFailed(f"No whole answer from {where} within {timeout_s:g} s. Check the network.") from None
    except ssl.SSLCertVerificationError as error:
        raise RestFailed(
            f"The certificate of {where} is not valid: {error.verify_message} Check {named}, the clock, the CAs."
        ) from None
    except ssl.SSLError as error:
        raise RestFailed(f"TLS with {where} failed: {error.reason}. Check the scheme of {named}.") from None
    except (socket.gaierror, UnicodeError) as error:
        raise RestFailed(f"No address for {where}: {error}. Check {named} and the resolver.") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        raise RestFailed(f"No connection to {where}: {why}. Check that the server is reachable.") from None
    except h11.ProtocolError as error:
        raise RestFailed(f"{where} did not answer in proper HTTP: {error}. Check {named}.") from None


async def _converse(
    method: str,
    request: Post,
    parts: SplitResult,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer_bytes_max: int,
) -> Answer:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_BYTES_MAX)
    length = str(len(request.body))
    headers = [("host", parts.netloc), *request.headers, ("content-length", length), ("connection", "close")]
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    asked = h11.Request(method=method, target=target, headers=headers)
    for event in (asked, h11.Data(data=request.body), h11.EndOfMessage()):
        writer.write(http.send(event) or b"")
    answer: h11.Response | None = None
    body = bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(READ_BYTES))
            case h11.Response() as answer:
                pass
            case h11.Data(data=data):
                body += data
                if len(body) > answer_bytes_max:
                    raise RestFailed(f"{parts.netloc} answered with more than {answer_bytes_max} bytes.")
            case h11.EndOfMessage():
                break
            case h11.InformationalResponse():
                pass
            case _:
                raise h11.RemoteProtocolError("the connection ended before the answer did")
    assert answer is not None
    return Answer(
        answer.status_code, {name.decode(): value.decode("latin-1") for name, value in answer.headers}, bytes(body)
    )
