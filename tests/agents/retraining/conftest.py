import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agents.export import export
from agents.ppo import build_model, make_env
from agents.retraining.folder import ChampionFolder
from agents.retraining.market import Market
from agents.retraining.recipe import Recipe
from agents.retraining.record import Record
from agents.retraining.run import retrain
from hftgym.policies import OnnxPolicy
from hftgym.tape import Findings, Quotes, Tape, TapeReport, Trades

MONDAY = datetime(2026, 11, 16, 3, tzinfo=UTC)
NOTHING = Findings(count=0, first=())


class Champion(ChampionFolder):
    """A champion's folder with what tests ask of it."""

    def ask(self, recipe, *, week=0, said=None):
        """Run what a timer would run in a week."""
        now = MONDAY + timedelta(weeks=week)
        return retrain(self, recipe, now=now, command="a test", say=(said if said is not None else []).append)

    def put(self, data, *, action="promoted"):
        """Commit a model as a run would that has promoted it."""
        records = self.records()
        self.draft.mkdir(parents=True)
        (self.draft / "model.onnx").write_bytes(data)
        number = len(records) + 1
        self.commit(
            Record(
                number=number,
                time="2026-11-16T03:00:00+00:00",
                period=f"week {number}",
                action=action if records else "first",
                champion=records[-1].champion if action == "kept" else number,
                previous=records[-1].champion if records else None,
                sha256=hashlib.sha256(data).hexdigest(),
                command="a test",
                reason="a test",
            ),
            records,
        )

    def whole(self):
        """Return the champion's bytes, which pass every gate."""
        data = self.champion.read_bytes()
        OnnxPolicy.from_bytes(data)
        return data


@pytest.fixture
def folder(tmp_path):
    champion = Champion(tmp_path / "champion")
    with champion.locked():
        pass
    return champion


@pytest.fixture(scope="session")
def models(tiny, tmp_path_factory):
    """The bytes of three exported agents, untrained and different from each other."""
    at, made = tmp_path_factory.mktemp("models"), []
    for seed in range(3):
        model = build_model(tiny, make_env(dataclasses.replace(tiny, seed=seed)))
        model.policy.action_net.weight.data *= 30.0 * (seed + 1)
        model.save(at / "model.zip")
        export(at / "model.zip", at / "model.onnx")
        made.append((at / "model.onnx").read_bytes())
    return made


@pytest.fixture
def recipe(tiny):
    return Recipe(config=tiny, market=Market(params=tiny.params, source="a test"), episodes=100)


@pytest.fixture
def tape():
    return make_tape


def make_tape(seconds: float, *, tick_s: float = 0.1, seed: int = 0) -> Tape:
    """A tape of a random walk: a quote and a trade of either side per tick."""
    generator = np.random.default_rng(seed)
    count = int(seconds / tick_s) + 1
    time = 10**18 + np.arange(count) * int(tick_s * 1e9)
    mid = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 2e-4, count)))
    side = np.where(generator.random(count) < 0.5, 1, -1).astype(np.int8)
    ones = np.ones(count)
    return Tape(
        venue="binance-usdm",
        symbol="TEST",
        quotes=Quotes(
            exchange_ns=time, local_ns=time, bid=mid - 0.02, bid_size=ones, ask=mid + 0.02, ask_size=ones.copy()
        ),
        trades=Trades(
            exchange_ns=time + 1,
            local_ns=time + 1,
            price=mid + side * generator.uniform(0.02, 0.2, count),
            size=ones.copy(),
            taker_side=side,
        ),
        report=TapeReport(
            path=Path("test"),
            lines=2 * count,
            quotes=count,
            trades=count,
            ignored={},
            bad_lines=NOTHING,
            crossed_quotes=NOTHING,
            backwards=NOTHING,
            gaps=NOTHING,
        ),
    )


@pytest.fixture
def snapshot():
    """What is in a folder: name -> bytes."""

    def take(path):
        return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}

    return take
