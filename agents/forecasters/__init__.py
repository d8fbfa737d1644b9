"""Forecasters of the next move: the learned alternative to the static z-score, and the honest test of it."""
