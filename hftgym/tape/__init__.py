"""Recorded ticks: the `Tape` type and the readers that fill it."""

from hftgym.tape.parquet import TapeFile, open_tape
from hftgym.tape.reading import read_tape
from hftgym.tape.report import Findings, TapeError, TapeReport
from hftgym.tape.steps import Steps
from hftgym.tape.types import NO_TIME, Quotes, Tape, Trades
from hftgym.tape.writer import TapeWriter, finish_tape, write_tape

__all__ = [
    "NO_TIME",
    "Findings",
    "Quotes",
    "Steps",
    "Tape",
    "TapeError",
    "TapeFile",
    "TapeReport",
    "TapeWriter",
    "Trades",
    "finish_tape",
    "open_tape",
    "read_tape",
    "write_tape",
]
