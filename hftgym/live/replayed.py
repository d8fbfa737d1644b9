"""A session played again from its journal: what it saw as a tape, and what the policy decides on it now."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hftgym.backtest import Backtest, backtest
from hftgym.live.broker import Fill
from hftgym.live.events import Event, Quote, Trade
from hftgym.live.journal import EVENTS, JournalError, read_session
from hftgym.live.rows import tape_of
from hftgym.params import EnvParams
from hftgym.tape.types import Tape

_START = frozenset({"params", "venue", "symbol", "price_step", "latency_s"})
_BREAKS = frozenset({"disconnected", "gap", "stale", "shutdown"})


class Model(NamedTuple):
    """A model file that has decided, from a tick on."""

    tick: int
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """One session of a journal.

    Attributes:
        start: The values of its "start".
        tape: Its quotes and trades.
        decisions: By tick, the action that was decided, float64 (2,) or (4,), until the stream or the clock broke for
            the first time: after that a session knows less than a replay, which sees the tape in one piece; or until
            another model took over.
        fills: What was filled.
        models: The model files that have decided, and from which tick on; none for a rule.
    """

    start: dict[str, Any]
    tape: Tape
    decisions: dict[int, np.ndarray]
    fills: tuple[Fill, ...]
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """A session beside its replay.

    Attributes:
        recorded: The session.
        backtest: The replay.
        compared: How many decisions there are on both sides.
        differing: The ticks of those in which the two actions are not equal, bit for bit.
    """

    recorded: Recorded
    backtest: Backtest
    compared: int
    differing: tuple[int, ...]


def replay_session(path: Path | str, policy: Any, *, session: int = -1) -> Replayed:
    """Play a policy over what a session saw, with the session's parameters and latency, and compare the decisions.

    With the policy of the session, on paper and with limits that cut nothing, every decision is the same. Where another
    model took over, only those before it are compared; `recorded.models` tells when and which.

    Args:
        path: The journal.
        policy: Anything that `hftgym.backtest.backtest` plays.
        session: Which of the journal's sessions, counted from 0; from the last one if negative.

    Raises:
        JournalError: The journal is damaged, or has no such session, or that has seen no quote.
        ValueError: The session is shorter than one tick.
    """
    recorded = read_recorded(path, session=session)
    params = EnvParams.from_dict(recorded.start["params"])
    listener = _Listener(policy)
    result = backtest(
        listener,
        recorded.tape,
        params,
        latency_s=recorded.start["latency_s"],
        price_step=recorded.start["price_step"] or 0.0,
    )
    both = [(tick, action) for tick, action in recorded.decisions.items() if tick < len(listener.actions)]
    differing = tuple(tick for tick, action in both if not np.array_equal(action, listener.actions[tick]))
    return Replayed(recorded=recorded, backtest=result, compared=len(both), differing=differing)


def read_recorded(path: Path | str, *, session: int = -1) -> Recorded:
    """Return one session of a journal. Arguments and errors as in `replay_session`."""
    count = sum(kind == "start" for kind, _ in read_session(path))
    number = session + count if session < 0 else session
    if not 0 <= number < count:
        raise JournalError(f"{path}: session must be one of {count} sessions, got {session}")
    start: dict[str, Any] = {}
    events: list[Event] = []
    decisions: dict[int, np.ndarray] = {}
    fills, models = list[Fill](), list[Model]()
    current, broken = -1, False
    for kind, values in read_session(path):
        current += kind == "start"
        if current != number:
            continue
        if kind == "start":
            start = values
            if missing := sorted(_START - start.keys()):
                raise JournalError(f"{path}: the start of session {number} lacks {', '.join(missing)}")
        elif kind in EVENTS:
            events.append(EVENTS[kind](**values))
            broken = broken or values.get("kind") in _BREAKS
        elif kind == "holdings":  # the broker's messages had broken
            broken = True
        elif kind == "decision":
            broken = broken or values["tick"] in decisions  # the session's clock has jumped: it counts anew
            if not broken:
                decisions[values["tick"]] = np.array(values["action"], dtype=np.float64)
        elif kind == "model":
            models.append(Model(**values))
            if len(models) > 1 and not broken:
                decisions.pop(values["tick"])  # its first one stands right before it
                broken = True
        elif kind == "fill":
            fills.append(Fill(**values))
    tape = _tape_of(events, start, path=Path(path))
    return Recorded(start=start, tape=tape, decisions=decisions, fills=tuple(fills), models=tuple(models))


def _tape_of(events: list[Event], start: dict[str, Any], *, path: Path) -> Tape:
    quotes = [event for event in events if isinstance(event, Quote)]
    trades = [event for event in events if isinstance(event, Trade)]
    if not quotes:
        raise JournalError(f"{path}: the session has seen no quote, there is nothing to replay")
    step = start["price_step"] or None
    return tape_of(quotes, trades, venue=start["venue"], symbol=start["symbol"], path=path, price_step=step)


class _Listener:
    """A policy whose actions are kept."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.actions: list[np.ndarray] = []

    def predict(self, observation: np.ndarray, **named: Any) -> tuple[Any, Any]:
        """Decide as the policy does."""
        action, state = self._policy.predict(observation, **named)
        self.actions.append(np.array(action, dtype=np.float64))
        return action, state
