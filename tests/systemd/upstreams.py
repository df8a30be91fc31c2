"""Both upstreams inside the container, where the real ones would be: wss://wss.finlight.me and ws://localhost:8000.

Run as a unit of its own by the recorder's interpreter. Arguments: files with a certificate, its key, the only API key.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World

FINLIGHT_PORT = 443
FINANCE_QUERY_PORT = 8000


async def main(certificate: str, private_key: str, api_key: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, private_key)
    keys = frozenset({Path(api_key).read_text()})
    async with (
        Upstreams(World(1, articles_per_s=20), refresh_s=0.5, keys=keys) as upstreams,
        await _front(FINLIGHT_PORT, upstreams.finlight_url, tls),
        await _front(FINANCE_QUERY_PORT, upstreams.finance_query_url, None),
    ):
        print("both upstreams are there", flush=True)
        await asyncio.Event().wait()


async def _front(port: int, url: str, tls: ssl.SSLContext | None) -> asyncio.Server:
    """A port that leads to the imitation's, through TLS where the real one has it."""
    behind = urlsplit(url).port

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    return await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
