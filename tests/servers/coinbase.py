"""Coinbase Exchange's and Coinbase Advanced Trade's feeds, on loopback."""

import json
import re

from tests.servers.played import PlayedServer

_PRODUCT = re.compile(rb'"product_id":"([^"]*)"')


class CoinbaseServer(PlayedServer):
    """Coinbase Exchange: plays captured lines without their times, of the products that were subscribed to."""

    async def subscribe(self, connection) -> None:
        request = await connection.recv()
        self.requests.append(request)
        asked = json.loads(request)
        assert asked["type"] == "subscribe"
        self._products = set(asked["product_ids"])
        channels = [{"name": channel, "product_ids": asked["product_ids"]} for channel in asked["channels"]]
        await connection.send(json.dumps({"type": "subscriptions", "channels": channels}))

    def sends(self, message: bytes) -> bool:
        found = _PRODUCT.search(message)
        return not found or found[1].decode(errors="replace") in self._products


class CoinbaseAdvancedServer(PlayedServer):
    """Coinbase Advanced Trade: one channel per subscription; scripts carry whole envelopes."""

    async def subscribe(self, connection) -> None:
        channels = []
        while len(channels) < 3:
            request = await connection.recv()
            self.requests.append(request)
            asked = json.loads(request)
            assert asked["type"] == "subscribe"
            assert isinstance(asked["channel"], str)
            assert ("product_ids" in asked) == (asked["channel"] != "heartbeats")
            channels.append(asked["channel"])
        assert sorted(channels) == ["heartbeats", "level2", "market_trades"]


async def resubscribed(connection):
    """Wait until the book has been left and subscribed to again."""
    for kind in ("unsubscribe", "subscribe"):
        asked = json.loads(await connection.recv())
        assert asked == {"type": kind, "product_ids": ["BTC-USD"], "channel": "level2"}
