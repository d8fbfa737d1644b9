"""Recorded ticks: the `Tape` type, the readers that fill it, and what can be measured on it."""

from hftgym.tape.calibration import Calibration, calibrate, estimate
from hftgym.tape.reading import read_tape
from hftgym.tape.report import Findings, TapeError, TapeReport
from hftgym.tape.steps import Steps
from hftgym.tape.types import NO_TIME, Quotes, Tape, Trades

__all__ = [
    "NO_TIME",
    "Calibration",
    "Findings",
    "Quotes",
    "Steps",
    "Tape",
    "TapeError",
    "TapeReport",
    "Trades",
    "calibrate",
    "estimate",
    "read_tape",
]
