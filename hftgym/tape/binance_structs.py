"""Binance's messages as typed msgspec structs: quick to decode, and refused if a field is odd, missing or too many."""

from typing import Any, Literal

import msgspec


class Data(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields that all events have; forbidding others leaves no part of a line unchecked."""

    s: str


class SpotQuote(Data, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The best prices on the spot market; u is the book's update number."""

    u: int
    b: str
    B: str
    a: str
    A: str


class UsdmQuote(SpotQuote, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The best prices on the USD-M market, with times."""

    e: Literal["bookTicker"]
    T: int
    E: int


class TradeEvent(Data, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One trade; m tells that the buyer was the maker."""

    e: Literal["trade"]
    E: int
    T: int
    t: int
    p: str
    q: str
    m: bool
    X: Literal["MARKET"] | msgspec.UnsetType = msgspec.UNSET  # USD-M
    M: bool | msgspec.UnsetType = msgspec.UNSET  # spot


class AggTradeEvent(Data, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Trades of one order at one price."""

    e: Literal["aggTrade"]
    E: int
    T: int
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the field's name
    m: bool
    M: bool | msgspec.UnsetType = msgspec.UNSET  # spot


def combined_decoder(data: type[Data]) -> "msgspec.json.Decoder[Any]":
    """Return a decoder of messages of a combined stream: objects with `stream` and `data`, and nothing else."""
    message = msgspec.defstruct("Message", [("stream", str), ("data", data)], forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(message)
