"""Recorded ticks: the `Tape` type, the readers that fill it, its parquet file, and what can be measured on it."""

from hftgym.tape.calibration import Calibration, calibrate, estimate
from hftgym.tape.ohlcv import ohlcv
from hftgym.tape.parquet import TapeFile, open_tape
from hftgym.tape.reading import Chunks, read_chunks, read_tape, read_trades
from hftgym.tape.report import Findings, TapeError, TapeReport
from hftgym.tape.simulate import simulate_tape
from hftgym.tape.steps import Steps
from hftgym.tape.types import NO_TIME, Quotes, Tape, Trades
from hftgym.tape.writer import TapeWriter, finish_tape, write_tape

__all__ = [
    "NO_TIME",
    "Calibration",
    "Chunks",
    "Findings",
    "Quotes",
    "Steps",
    "Tape",
    "TapeError",
    "TapeFile",
    "TapeReport",
    "TapeWriter",
    "Trades",
    "calibrate",
    "estimate",
    "finish_tape",
    "ohlcv",
    "open_tape",
    "read_chunks",
    "read_tape",
    "read_trades",
    "simulate_tape",
    "write_tape",
]
