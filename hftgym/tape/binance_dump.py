"""Binance's public data (data.binance.vision): trades, aggTrades and bookTicker as CSV, with or without a header line.

Which market and kind a file holds shows in the shape of its lines: spot rows end in `is_best_match`, those of USD-M
futures do not. The symbol stands in the name alone (`BTCUSDT-trades-2024-08-08.csv`, also inside a zip). Times are the
matching engine's (`time`, `transact_time`, `transaction_time`), in ms or µs; there are none of receipt.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hftgym.tape.builder import TapeBuilder
from hftgym.tape.delimited import Block, Field, parse
from hftgym.tape.lines import content_name, read_blocks, read_head
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError

EXPECTED = "id,price,qty,quote_qty,time,is_buyer_maker (or as aggTrades and bookTicker have it)"
NO_LOCAL_TIMES = "the file has no times of receipt: local_ns is the exchange's time"

_NAME = re.compile(r"([A-Za-z0-9]+(?:_[A-Za-z0-9]+)?)-(?:trades|aggTrades|bookTicker)\b")
_COIN_M = re.compile(r"USD_(PERP|\d{6})$")

_ID, _PRICE, _SIZE, _TIME = Field("id", "int"), Field("price", "float"), Field("size", "float"), Field("time", "int")
_MAKER = Field("is_buyer_maker", "bool")
_TRADE = (_ID, _PRICE, _SIZE, Field("quote size", "skip"), _TIME, _MAKER)
_AGGREGATE = (_ID, _PRICE, _SIZE, Field("first id", "skip"), Field("last id", "skip"), _TIME, _MAKER)
_BEST = Field("is best match", "skip")
_QUOTE = (
    _ID,
    *(Field(name, "float") for name in ("bid", "bid_size", "ask", "ask_size")),
    _TIME,
    Field("event time", "skip"),
)

_N, _T, _B = r"-?\d[\d.eE+-]*", r"(?:\d{13}|\d{16})", "(?:true|false)"  # a number, a time, a boolean


class Layout(NamedTuple):
    """One kind of file: its columns, its header without case and underscores, and what a line of it looks like."""

    venue: str
    kind: str
    fields: tuple[Field, ...]
    header: str
    line: str


_LAYOUTS = (
    Layout(
        *("binance-spot", "trade", (*_TRADE, _BEST), "id,price,qty,quoteqty,time,isbuyermaker,isbestmatch"),
        f"{_N},{_N},{_N},{_N},{_T},{_B},{_B}",
    ),
    Layout(
        *("binance-usdm", "trade", _TRADE, "id,price,qty,quoteqty,time,isbuyermaker"),
        f"{_N},{_N},{_N},{_N},{_T},{_B}",
    ),
    Layout(
        *("binance-spot", "aggTrade", (*_AGGREGATE, _BEST)),
        "aggtradeid,price,quantity,firsttradeid,lasttradeid,transacttime,isbuyermaker,isbestmatch",
        f"{_N},{_N},{_N},{_N},{_N},{_T},{_B},{_B}",
    ),
    Layout(
        *("binance-usdm", "aggTrade", _AGGREGATE),
        "aggtradeid,price,quantity,firsttradeid,lasttradeid,transacttime,isbuyermaker",
        f"{_N},{_N},{_N},{_N},{_N},{_T},{_B}",
    ),
    Layout(
        *("binance-usdm", "bookTicker", _QUOTE),
        "updateid,bestbidprice,bestbidqty,bestaskprice,bestaskqty,transactiontime,eventtime",
        f"{_N},{_N},{_N},{_N},{_N},{_T},{_T}",
    ),
)
_COIN_M_HEADER = "id,price,qty,baseqty,time,isbuyermaker"


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether the first line is a header of Binance's, or has the shape of one of its files."""
    first = head.partition(b"\n")[0]
    return _layout(first) is not None or _header(first) == _COIN_M_HEADER


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a file into the builder, see `hftgym.tape.recording.Feed`."""
    first = read_head(path).partition(b"\n")[0]
    symbol = _symbol(path, choice)
    layout = _layout(first)
    if layout is None or _COIN_M.search(symbol):
        raise TapeError(f"{path}: is of the COIN-M market; its sizes are contracts, not coins, and cannot be read yet")
    builder.note(NO_LOCAL_TIMES)
    with closing(read_blocks(path)) as blocks:
        for lines in blocks:
            has_header = builder.lines == 0 and _header(lines[0]) == layout.header
            builder.ignore("header", int(has_header))
            rows = parse(lines[has_header:], layout.fields, first=builder.lines + 1 + has_header, builder=builder)
            _add(rows, layout, symbol, builder)
            builder.advance(len(lines))
            yield


def _add(rows: Block, layout: Layout, symbol: str, builder: TapeBuilder) -> None:
    is_quote = layout.kind == "bookTicker"
    rows = rows.positive(("bid", "bid_size", "ask", "ask_size") if is_quote else ("price", "size"), builder)
    is_ms, is_us = ((rows["time"] >= start) & (rows["time"] < 4 * start) for start in (10**12, 10**15))
    rows, is_ms = rows.demand("time", is_ms | is_us, "a time in ms or µs since 1970", builder), is_ms[is_ms | is_us]
    time_ns = rows["time"] * np.where(is_ms, 1_000_000, 1_000)
    builder.clocks(time_ns, rows.lines)
    if is_quote:
        columns = (time_ns, time_ns, *(rows[name] for name in ("bid", "bid_size", "ask", "ask_size")))
        builder.quotes(columns, rows.lines, venue=layout.venue, symbol=symbol)
    else:
        columns = (time_ns, time_ns, rows["price"], rows["size"], np.where(rows["is_buyer_maker"], -1, 1))
        aggregate = layout.kind == "aggTrade"
        builder.trades(columns, rows.lines, venue=layout.venue, symbol=symbol, aggregate=aggregate)
        builder.numbers(layout.kind, rows["id"], rows.lines, symbol=symbol)


def _symbol(path: Path, choice: Choice) -> str:
    named = _NAME.match(content_name(path))
    if named is None and choice.symbol is None:
        raise TapeError(
            f"{path}: does not say which market it holds; keep Binance's name, such as BTCUSDT-trades-2024-08-08.csv, "
            "or pass symbol="
        )
    return named[1].upper() if named else str(choice.symbol)


def _layout(line: bytes) -> Layout | None:
    text = line.decode(errors="replace").removesuffix("\r")
    for layout in _LAYOUTS:
        if _header(line) == layout.header or re.fullmatch(layout.line, text, re.IGNORECASE):
            return layout
    return None


def _header(line: bytes) -> str:
    return line.decode(errors="replace").strip().lower().replace("_", "").removeprefix("\ufeff")
