"""What `ib_async.IB` does with a gateway, without the gateway: its own classes and events, calls as in its source."""

import asyncio
import itertools
from datetime import UTC, datetime

from eventkit import Event
from ib_async import (
    AccountValue,
    CommissionReport,
    Contract,
    ContractDetails,
    Execution,
    Fill,
    LimitOrder,
    OrderStatus,
    Position,
    Trade,
    TradeLogEntry,
)

from tests.servers.exchange import RefusedError

CONTRACT = Contract(secType="CRYPTO", conId=479624278, symbol="BTC", exchange="PAXOS", currency="USD")
NOW = datetime(2026, 1, 5, tzinfo=UTC)


class IbStub:
    def __init__(self, exchange):
        self.exchange, self.connected, self.trades = exchange, False, {}
        self.others = []  # positions of the login's other accounts
        self.orderStatusEvent, self.commissionReportEvent = Event("orderStatus"), Event("commissionReport")
        self.disconnectedEvent = Event("disconnected")
        self._ids = itertools.count(1)
        exchange.listen(self.push)

    async def connectAsync(self, host, port, clientId, account):  # noqa: N802  as in ib_async, and all below
        await asyncio.sleep(0)
        self.connected = True

    def isConnected(self):  # noqa: N802
        return self.connected

    def managedAccounts(self):  # noqa: N802
        return sorted({"DU1", *(position.account for position in self.others)})

    def disconnect(self):
        self.connected = False

    async def drop(self):
        self.connected = False
        self.disconnectedEvent.emit()

    async def reqContractDetailsAsync(self, contract):  # noqa: N802
        return [ContractDetails(contract=CONTRACT, minTick=0.01, minSize=0.001, sizeIncrement=0.001)]

    def placeOrder(self, contract, order):  # noqa: N802
        order.orderId = next(self._ids)
        status = OrderStatus(orderId=order.orderId, status=OrderStatus.PendingSubmit)
        trade = Trade(contract, order, status, [], [TradeLogEntry(NOW, status.status)])
        self.trades[order.orderRef] = trade
        asyncio.get_running_loop().call_soon(self._arrive, trade)
        return trade

    def _arrive(self, trade):
        trouble = self.exchange.request("place")
        if trouble in ("busy", "refuse"):
            code, text = (100, "Max rate of messages exceeded") if trouble == "busy" else (201, "Order rejected")
            trade.log.append(TradeLogEntry(NOW, OrderStatus.Cancelled, f"Error {code}: {text}", code))
            self._status(trade, OrderStatus.Cancelled)
        elif trouble == "deaf":
            del self.trades[trade.order.orderRef]
        else:
            order, side = trade.order, 1 if trade.order.action == "BUY" else -1
            self.mute = trouble == "mute"
            try:
                self.exchange.place(
                    order.orderRef, side, order.lmtPrice, order.totalQuantity,
                    post_only=False, taking=order.tif == "IOC",
                )  # fmt: skip
            except RefusedError as reason:
                raise AssertionError(reason) from None
            self.mute = False

    mute = False

    def cancelOrder(self, order):  # noqa: N802
        trouble = self.exchange.request("cancel")
        if trouble in (None, "mute"):
            self.mute = trouble == "mute"
            found = self.exchange.find(client_id=order.orderRef)
            asyncio.get_running_loop().call_soon(self.exchange.cancel, found)

    def _status(self, trade, status, filled=0.0):
        trade.orderStatus.status, trade.orderStatus.filled = status, filled
        self.orderStatusEvent.emit(trade)
        trade.statusEvent.emit(trade)

    def push(self, order, status, filled, trade):
        mine = self.trades.get(order.client_id)
        if not self.connected or mine is None or self.mute:
            self.mute = False
            return
        mine.orderStatus.permId = mine.order.permId = order.number
        if trade:
            fill = self._fill(order, trade)
            mine.fills.append(fill)
            self.commissionReportEvent.emit(mine, fill, fill.commissionReport)
        told = {"open": OrderStatus.Submitted, "filled": OrderStatus.Filled, "cancelled": OrderStatus.Cancelled}[status]
        self._status(mine, told, filled)

    def _fill(self, order, trade):
        number, price, size, done = trade
        name, side = f"0000e0d5.{number}.01.01", "BOT" if order.side > 0 else "SLD"
        execution = Execution(
            execId=name, time=NOW, side=side, shares=size, price=price, permId=order.number, cumQty=done,
            orderRef=order.client_id,
        )  # fmt: skip
        return Fill(CONTRACT, execution, CommissionReport(execId=name, commission=0.01, currency="USD"), NOW)

    def _trade(self, order, status):
        """The order as the gateway tells it to a client that asks."""
        action = "BUY" if order.side > 0 else "SELL"
        shown = LimitOrder(action, order.size, order.price, orderRef=order.client_id, permId=order.number)
        filled = order.filled if status == OrderStatus.Submitted else 0.0
        if status != OrderStatus.Submitted:
            shown.filledQuantity = order.filled
        return Trade(CONTRACT, shown, OrderStatus(status=status, filled=filled, permId=order.number), [], [])

    async def reqOpenOrdersAsync(self):  # noqa: N802
        await asyncio.sleep(0)
        for order in self.exchange.open():
            known = self.trades.setdefault(order.client_id, self._trade(order, OrderStatus.Submitted))
            known.orderStatus.status, known.orderStatus.filled = OrderStatus.Submitted, order.filled
            known.orderStatus.permId = known.order.permId = order.number
        return [self.trades[order.client_id] for order in self.exchange.open()]

    async def reqCompletedOrdersAsync(self, apiOnly):  # noqa: N802
        await asyncio.sleep(0)
        ends = {"filled": OrderStatus.Filled, "cancelled": OrderStatus.Cancelled}
        return [self._trade(order, ends[order.status]) for order in self.exchange.orders if order.status in ends]

    async def reqExecutionsAsync(self, asked):  # noqa: N802
        await asyncio.sleep(0)
        return [self._fill(order, trade) for order in self.exchange.orders for trade in order.trades]

    async def accountSummaryAsync(self, account):  # noqa: N802
        return [AccountValue("DU1", "TotalCashValue", str(self.exchange.cash), "USD", "")]

    async def reqPositionsAsync(self):  # noqa: N802
        return [Position("DU1", CONTRACT, self.exchange.units, 0.0), *self.others]
