"""A Binance spot account on 127.0.0.1, as far as ccxt speaks with it: signed REST, and the WebSocket API's user data.

https://github.com/binance/binance-spot-api-docs: rest-api.md, web-socket-api.md, user-data-stream.md.
"""

import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from tests.servers.exchange import RefusedError, Sockets

KEY, SECRET = "the-key-of-the-tests", "the-secret-of-the-tests"
STATUS = {"open": "NEW", "filled": "FILLED", "cancelled": "CANCELED"}
SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "permissionSets": [["SPOT"]],
    "permissions": [],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000.0", "stepSize": "0.001"},
        {"filterType": "NOTIONAL", "minNotional": "5.0", "applyMinToMarket": True},
    ],
}


def status_of(status, filled):
    return "PARTIALLY_FILLED" if status == "open" and filled > 0 else STATUS[status]


def error(code, text, *, status=400):
    return web.json_response({"code": code, "msg": text}, status=status)


class BinanceServer:
    def __init__(self, exchange):
        self.exchange, self.sockets, self.url = exchange, Sockets(), ""
        exchange.listen(self.push)

    async def rest(self, request):
        body = (await request.text()) or request.query_string
        path, method = request.path.removeprefix("/api/v3/"), request.method
        if path == "exchangeInfo":
            return web.json_response({"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": [SYMBOL]})
        query, _, signature = body.rpartition("&signature=")
        right = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        if request.headers.get("X-MBX-APIKEY") != KEY or not hmac.compare_digest(signature, right):
            return error(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        asked = dict(part.split("=") for part in query.split("&"))
        kind = {("order", "POST"): "place", ("order", "DELETE"): "cancel", ("order", "GET"): "look"}.get((path, method))
        trouble = self.exchange.request(kind or path)
        if trouble == "busy":
            return error(-1003, "Too many requests; current limit is 6000 request weight per 1 MINUTE.", status=429)
        if trouble == "refuse":
            return error(-2010, "Account has insufficient balance for requested action.")
        answer = None if trouble == "deaf" else getattr(self, kind or path)(asked)
        if trouble in ("deaf", "mute"):
            request.transport.close()
        return answer or web.Response()

    def place(self, asked):
        maker, taking = asked["type"] == "LIMIT_MAKER", asked.get("timeInForce") == "IOC"
        side, price, size = 1 if asked["side"] == "BUY" else -1, float(asked["price"]), float(asked["quantity"])
        try:
            order = self.exchange.place(asked["newClientOrderId"], side, price, size, post_only=maker, taking=taking)
        except RefusedError as reason:
            texts = {"duplicate": "Duplicate order sent.", "would take": "Order would immediately match and take."}
            return error(-2010, texts[str(reason)])
        return web.json_response(self.order(order))

    def found(self, asked):
        number = int(asked["orderId"]) if asked.get("orderId") else None
        return self.exchange.find(number=number, client_id=asked.get("origClientOrderId"))

    def cancel(self, asked):
        order = self.found(asked)
        if order is None or not self.exchange.cancel(order):
            return error(-2011, "Unknown order sent.")
        # The client's id of a cancelled order is under origClientOrderId.
        shown = self.order(order) | {"origClientOrderId": order.client_id, "clientOrderId": "cancel"}
        return web.json_response(shown)

    def look(self, asked):
        order = self.found(asked)
        return web.json_response(self.order(order)) if order else error(-2013, "Order does not exist.")

    def openOrders(self, asked):  # noqa: N802  the exchange's own name of the path
        return web.json_response([self.order(order) for order in self.exchange.open()])

    def myTrades(self, asked):  # noqa: N802  the exchange's own name of the path
        return web.json_response([
            {
                "symbol": "BTCUSDT", "id": number, "orderId": order.number, "orderListId": -1, "price": f"{price:.8f}",
                "qty": f"{size:.8f}", "quoteQty": f"{price * size:.8f}", "commission": "0.01000000",
                "commissionAsset": "USDT", "time": int(time.time() * 1000), "isBuyer": order.side > 0,
                "isMaker": True, "isBestMatch": True,
            }
            for order in self.exchange.orders if asked.get("orderId") in (None, str(order.number))
            for number, price, size, _ in order.trades
        ])  # fmt: skip

    def account(self, asked):
        held = {"USDT": self.exchange.cash, "BTC": self.exchange.units}
        balances = [{"asset": name, "free": f"{amount:.8f}", "locked": "0.00000000"} for name, amount in held.items()]
        return web.json_response({"accountType": "SPOT", "balances": balances, "permissions": ["SPOT"]})

    def order(self, order):
        now = int(time.time() * 1000)
        return {
            "symbol": "BTCUSDT", "orderId": order.number, "orderListId": -1, "clientOrderId": order.client_id,
            "transactTime": now, "price": f"{order.price:.8f}", "origQty": f"{order.size:.8f}",
            "executedQty": f"{order.filled:.8f}", "cummulativeQuoteQty": f"{order.filled * order.price:.8f}",
            "status": status_of(order.status, order.filled), "timeInForce": "GTC", "type": "LIMIT_MAKER",
            "side": "BUY" if order.side > 0 else "SELL", "time": now, "updateTime": now, "isWorking": True,
        }  # fmt: skip

    def push(self, order, status, filled, trade):
        kind = "TRADE" if trade else {"open": "NEW", "cancelled": "CANCELED"}[status]
        number, price, size, done = trade or (-1, 0.0, 0.0, filled)
        now = int(time.time() * 1000)
        event = {
            "e": "executionReport", "E": now, "s": "BTCUSDT", "c": order.client_id, "S": "BUY" if order.side > 0 else
            "SELL", "o": "LIMIT_MAKER", "f": "GTC", "q": f"{order.size:.8f}", "p": f"{order.price:.8f}",
            "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": kind, "X": status_of(status, done),
            "r": "NONE", "i": order.number, "l": f"{size:.8f}", "z": f"{done:.8f}", "L": f"{price:.8f}",
            "n": "0.01" if trade else "0", "N": "USDT" if trade else None, "T": now, "t": number, "I": 1, "w": True,
            "m": True, "M": False, "O": now, "Z": f"{done * order.price:.8f}", "Y": f"{size * price:.8f}",
            "Q": "0.00000000",
        }  # fmt: skip
        self.sockets.send(json.dumps({"subscriptionId": 0, "event": event}))

    async def stream(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data) if message.type == WSMsgType.TEXT else {}
            if asked.get("method") == "userDataStream.subscribe.signature":
                if asked["params"]["apiKey"] != KEY:
                    refused = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
                    await socket.send_json({"id": asked["id"], "status": 401, "error": refused})
                    continue
                await socket.send_json({"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}})
                self.sockets.add(socket)
        self.sockets.discard(socket)
        return socket


@asynccontextmanager
async def serving(server, routes):
    """Serve routes on a port that the system chooses, and set the server's `url`."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def binance_server(exchange):
    server = BinanceServer(exchange)
    routes = [web.get("/ws-api/v3", server.stream), web.route("*", "/api/v3/{path}", server.rest)]
    async with serving(server, routes):
        yield server
