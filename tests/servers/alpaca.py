"""An Alpaca account on 127.0.0.1: REST version 2 and the stream of trade updates.

https://docs.alpaca.markets/reference (orders, assets, positions, activities) and .../docs/websocket-streaming.
"""

import json
import uuid
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from tests.servers.ccxt_exchange import serving
from tests.servers.exchange import RefusedError, Sockets

KEY, SECRET = "PKTHEKEYOFTHETESTS", "the-secret-of-the-tests"
EVENTS = {"open": "new", "filled": "fill", "cancelled": "canceled"}
AT = "2026-01-05T12:00:00.123456Z"


def order_id(order):
    return str(uuid.UUID(int=order.number))


def status_of(status, filled):
    return {"open": "partially_filled" if filled else "new", "filled": "filled", "cancelled": "canceled"}[status]


def shown(order, status, filled):
    return {
        "id": order_id(order), "client_order_id": order.client_id, "created_at": AT, "updated_at": AT,
        "submitted_at": AT, "filled_at": None, "asset_id": str(uuid.UUID(int=1)), "symbol": "BTC/USD",
        "asset_class": "crypto", "notional": None, "qty": str(order.size), "filled_qty": str(filled),
        "filled_avg_price": None, "order_class": "", "order_type": "limit", "type": "limit",
        "side": "buy" if order.side > 0 else "sell", "time_in_force": "gtc", "limit_price": str(order.price),
        "stop_price": None, "status": status_of(status, filled), "extended_hours": False, "legs": None,
    }  # fmt: skip


def error(status, code, text):
    return web.json_response({"code": code, "message": text}, status=status)


class AlpacaServer:
    def __init__(self, exchange):
        self.exchange, self.sockets, self.url = exchange, Sockets(), ""
        exchange.listen(self.push)

    def routes(self):
        rest = {
            ("GET", "/assets/{symbol}"): ("asset", self.asset),
            ("GET", "/account"): ("account", self.account),
            ("GET", "/positions"): ("positions", self.positions),
            ("GET", "/account/activities/FILL"): ("fills", self.fills),
            ("POST", "/orders"): ("place", self.place),
            ("GET", "/orders"): ("open", self.open),
            ("DELETE", "/orders/{id}"): ("cancel", self.cancel),
            ("GET", "/orders:by_client_order_id"): ("look", self.look),
        }
        served = [web.route(method, f"/v2{path}", self.checked(*what)) for (method, path), what in rest.items()]
        return [*served, web.get("/stream", self.stream)]

    def checked(self, kind, answer):
        async def serve(request):
            told = (request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY"))
            if told != (KEY, SECRET):
                return error(401, 40110000, f"request is not authorized: {told[0]}")
            trouble = self.exchange.request(kind)
            if trouble == "busy":
                return error(429, 42910000, "rate limit exceeded")
            if trouble == "refuse":
                return error(403, 40310000, "insufficient balance for USD")
            done = None if trouble == "deaf" else await answer(request)
            if trouble in ("deaf", "mute"):
                request.transport.close()
            return done or web.Response()

        return serve

    async def asset(self, request):
        assert request.match_info["symbol"] == "BTC/USD"
        return web.json_response({
            "id": str(uuid.UUID(int=1)), "class": "crypto", "exchange": "CRYPTO", "symbol": "BTC/USD",
            "status": "active", "tradable": True, "min_order_size": "0.001", "min_trade_increment": "0.001",
            "price_increment": "0.01",
        })  # fmt: skip

    async def account(self, request):
        return web.json_response({"id": str(uuid.UUID(int=2)), "status": "ACTIVE", "cash": str(self.exchange.cash)})

    async def positions(self, request):
        held = {"symbol": "BTCUSD", "asset_class": "crypto", "qty": str(self.exchange.units), "side": "long"}
        return web.json_response([held] if self.exchange.units else [])

    async def fills(self, request):
        return web.json_response([
            {
                "id": f"20260105120000123::{uuid.uuid4()}", "activity_type": "FILL", "transaction_time": AT,
                "type": "fill", "price": str(price), "qty": str(size), "side": "buy" if order.side > 0 else "sell",
                "symbol": "BTC/USD", "leaves_qty": str(round(order.size - done, 9)), "order_id": order_id(order),
                "cum_qty": str(done), "order_status": "filled",
            }
            for order in self.exchange.orders for _, price, size, done in order.trades
        ])  # fmt: skip

    async def place(self, request):
        asked = await request.json()
        assert (asked["type"], asked["symbol"]) == ("limit", "BTC/USD")
        side, taking = 1 if asked["side"] == "buy" else -1, asked["time_in_force"] == "ioc"
        try:
            order = self.exchange.place(
                asked["client_order_id"], side, float(asked["limit_price"]), float(asked["qty"]),
                post_only=False, taking=taking,
            )  # fmt: skip
        except RefusedError:
            return error(422, 40010001, "client_order_id must be unique")
        return web.json_response(shown(order, order.status, order.filled))

    async def open(self, request):
        assert request.query["status"] == "open"
        return web.json_response([shown(order, order.status, order.filled) for order in self.exchange.open()])

    async def cancel(self, request):
        order = self.exchange.find(number=uuid.UUID(request.match_info["id"]).int)
        if order is None:
            return error(404, 40410000, "order not found")
        if not self.exchange.cancel(order):
            return error(422, 42210000, f'order is already in "{order.status}" state')
        return web.Response(status=204)

    async def look(self, request):
        order = self.exchange.find(client_id=request.query["client_order_id"])
        if order is None:
            return error(404, 40410000, f"order not found for {request.query['client_order_id']}")
        return web.json_response(shown(order, order.status, order.filled))

    def push(self, order, status, filled, trade):
        data = {"event": EVENTS[status], "timestamp": AT, "order": shown(order, status, filled)}
        if trade:
            number, price, size, done = trade
            event = "fill" if done >= order.size else "partial_fill"
            data |= {"event": event, "execution_id": str(uuid.UUID(int=number)), "price": str(price), "qty": str(size)}
            data["order"] = shown(order, "filled" if event == "fill" else status, done)
        self.sockets.send(json.dumps({"stream": "trade_updates", "data": data}))

    async def stream(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data) if message.type == WSMsgType.TEXT else {}
            if asked.get("action") == "authenticate":
                right = asked["data"] == {"key_id": KEY, "secret_key": SECRET}
                told = {"action": "authenticate", "status": "authorized" if right else "unauthorized"}
                await socket.send_json({"stream": "authorization", "data": told})
            elif asked.get("action") == "listen":
                await socket.send_json({"stream": "listening", "data": {"streams": asked["data"]["streams"]}})
                self.sockets.add(socket)
        self.sockets.discard(socket)
        return socket


@asynccontextmanager
async def alpaca_server(exchange):
    server = AlpacaServer(exchange)
    async with serving(server, server.routes()):
        yield server
