import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

START_NS = 1_723_161_255_088_169_167
START_MS = 1_723_161_256_322


class Wire:
    """Writes lines as Binance sends them and a recorder stores them."""

    START_NS = START_NS
    START_MS = START_MS

    @staticmethod
    def line(message: object, *, local_ns: int = START_NS) -> bytes:
        return f"{local_ns} {json.dumps(message, separators=(',', ':'))}".encode()

    @classmethod
    def stream(cls, name: str, data: object, *, local_ns: int = START_NS) -> bytes:
        return cls.line({"stream": name, "data": data}, local_ns=local_ns)

    @classmethod
    def quote(
        cls, *, venue: str = "binance-usdm", symbol: str = "BTCUSDT", local_ns: int = START_NS, **fields
    ) -> bytes:
        event_ms = fields.pop("E", START_MS)
        data = {"u": 5123107839020, "s": symbol, "b": "61800.20", "B": "2.507", "a": "61800.30", "A": "2.510"}
        if venue == "binance-usdm":
            data = {"e": "bookTicker", **data, "T": event_ms, "E": event_ms}
        return cls.stream(f"{symbol.lower()}@bookTicker", {**data, **fields}, local_ns=local_ns)

    @classmethod
    def trade(
        cls, *, venue: str = "binance-usdm", symbol: str = "BTCUSDT", local_ns: int = START_NS, **fields
    ) -> bytes:
        data = {"e": "trade", "E": START_MS, "T": START_MS, "s": symbol, "t": 5266583935, "p": "61800.30", "q": "0.006"}
        data |= {"X": "MARKET", "m": False} if venue == "binance-usdm" else {"m": False, "M": True}
        return cls.stream(f"{symbol.lower()}@trade", {**data, **fields}, local_ns=local_ns)

    @classmethod
    def depth(cls, *, symbol: str = "BTCUSDT", local_ns: int = START_NS) -> bytes:
        levels = [[f"{61800 - i}.10", "0.014"] for i in range(30)]
        data = {"e": "depthUpdate", "E": START_MS, "s": symbol, "U": 1, "u": 2, "pu": 0, "b": levels, "a": []}
        return cls.stream(f"{symbol.lower()}@depth@0ms", data, local_ns=local_ns)

    @staticmethod
    def write(path: Path, lines: Iterable[bytes], *, packed: bool = False) -> Path:
        content = b"".join(line + b"\n" for line in lines)
        path.write_bytes(gzip.compress(content) if packed else content)
        return path


@pytest.fixture(scope="session")
def wire() -> type[Wire]:
    return Wire


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to overwrite; of session scope, so that hypothesis may use it."""
    return tmp_path_factory.mktemp("tape") / "capture"


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """Find a real capture, or skip."""

    def find(name: str) -> Path:
        default = Path(__file__).resolve().parents[3] / "shared" / "data"
        path = Path(os.environ.get("HFTGYM_DATA", default)) / name
        if not path.is_file():
            pytest.skip(f"real capture {name} not found in {path.parent} (set $HFTGYM_DATA to its folder)")
        return path

    return find
