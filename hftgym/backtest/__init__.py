"""Policies on recorded ticks."""

from hftgym.backtest.replay import backtest
from hftgym.backtest.result import REASONS, Backtest, Fills

__all__ = ["REASONS", "Backtest", "Fills", "backtest"]
