from __future__ import annotations

import orjson

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.feeds.finlight_rest import Post
from recorder.feeds.rest import post


def article(number: int) -> bytes:
    stamp = "2026-05-26T15:48:28.000Z"
    facts = {"link": f"https://x/{number}", "title": "t", "source": "x", "language": "en"}
    return orjson.dumps({**facts, "publishDate": stamp, "createdAt": stamp})


async def ask(upstreams: Upstreams, key: str = "K") -> tuple[int, list[str]]:
    answer = await post(Post(f"{upstreams.finlight_rest_url}/v2/articles", (("X-API-KEY", key),), b"{}"))
    return answer.status, [each["link"] for each in orjson.loads(answer.body).get("articles", [])]


async def test_what_the_stream_sent_is_found_and_orders_are_followed_until_they_are_withdrawn() -> None:
    async with Upstreams(World(articles_per_s=0), keys=frozenset({"K"})) as upstreams:
        upstreams.finlight.publish(article(1))
        assert await ask(upstreams) == (200, ["https://x/1"])
        assert await ask(upstreams, key="other") == (401, [])
        orders = [{"op": "lag", "seconds": 3600}, {"op": "refuse", "status": 500}, {"op": "limit", "period_max": 1}]
        for order in orders:
            upstreams.order({"upstream": "finlight_rest", **order})
        upstreams.finlight.publish(article(2))
        assert [(await ask(upstreams))[0] for _ in range(2)] == [500, 429]
        upstreams.order({"upstream": "finlight_rest", "op": "heal"})
        assert await ask(upstreams) == (200, ["https://x/1"])
        upstreams.finlight.publish(article(3))
        assert sorted((await ask(upstreams))[1]) == ["https://x/1", "https://x/3"]
