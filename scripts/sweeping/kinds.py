"""What can be swept: one entry per command, on top of the functions behind it."""

import dataclasses
import fcntl
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

import hftgym
from hftgym import EnvParams, plots, roster
from hftgym.envs.checks import checked_seed
from hftgym.evaluation import tabulate
from hftgym.presets import named_market
from scripts import backtest, backtest_parts, calibrate, evaluate
from scripts.sweeping.content import content
from scripts.sweeping.engine import Rows
from scripts.sweeping.task import Task

Values = Mapping[str, Any]
PARAMS = "params."


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A command as a sweep sees it.

    Attributes:
        options: Its options that a sweep may set -> their types; those of the market begin with "params.".
        needed: Options without a default.
        build: From a task's values to the command's arguments; raises a ValueError or TypeError for those that the
            command refuses.
        perform: From the arguments to rows; the path is a folder for files that are a task's own.
        metric: The column that the summary is about, unless another is asked for.
        seeds: The option that says how many seeds a task takes, from `seed` on, and its default; no option and 1 where
            a task takes one.
        defaults: Values of options that are not given, where these are files: their content belongs to the task.
    """

    options: Callable[[], Mapping[str, Any]]
    needed: tuple[str, ...]
    build: Callable[[Values], Any]
    perform: Callable[[Any, Path], Rows]
    metric: str
    seeds: tuple[str, int] = ("", 1)
    defaults: Callable[[], Values] = dict


def perform(task: Task, *, runs: Path = Path("runs/sweeps/runs")) -> Rows:
    """Return a task's results: flat rows of plain values, a function of the task alone.

    Args:
        task: Which.
        runs: Where the folders of trainings are, by key.

    Raises:
        ValueError: A file of the task is not the one that it was; or the command refuses the values.
    """
    kind = KINDS[task.kind]
    _check_unchanged(task)
    rows = kind.perform(kind.build(task.values), runs / task.key)
    _check_unchanged(task)  # or it was read after a change
    made = {"hftgym": hftgym.__version__, "machine": platform.node()}
    return [row | made for row in rows]


def _check_unchanged(task: Task) -> None:
    for name, known in task.files.items():
        if content(Path(name)) != known:
            raise ValueError(f"{name} was changed while the sweep was running: start it again")


def files_of(values: Values) -> list[str]:
    """Return the values of a task that are paths of files."""
    market = [name for name in (values.get("market", ""),) if name.endswith((".json", ".toml"))]
    agents = [name for name in values.get("policies", ()) if name.lower().endswith(".onnx")]
    return [*(values[name] for name in ("tape", "config") if name in values), *market, *agents]


def _options(arguments: type, *without: str) -> Callable[[], Mapping[str, Any]]:
    """Return what tells the options of a command's dataclass, those of the market one by one."""

    def options() -> Mapping[str, Any]:
        hints = get_type_hints(arguments)
        names = [field.name for field in dataclasses.fields(arguments) if field.name not in without]
        plain = {name: str if hints[name] is Path else hints[name] for name in names if name != "params"}
        if "params" not in names:
            return plain
        market = get_type_hints(EnvParams)
        return plain | {PARAMS + field.name: market[field.name] for field in dataclasses.fields(EnvParams)}

    return options


def _parted(values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a command, and those of its market."""
    market = {name.removeprefix(PARAMS): value for name, value in values.items() if name.startswith(PARAMS)}
    return {name: value for name, value in values.items() if not name.startswith(PARAMS)}, market


def _evaluate_arguments(values: Values) -> evaluate.Arguments:
    plain, market = _parted(values)
    if "market" in plain:
        if market:
            raise ValueError(f"market leaves no place for changes to the default one, got {PARAMS}{next(iter(market))}")
        named_market(plain["market"])
    _check_policies(plain.get("policies", ()))
    if plain.get("episodes", 2) < 2:
        raise ValueError(f"episodes must be at least 2 (a spread needs two), got {plain['episodes']}")
    checked_seed(plain.get("seed", 0))
    plain["policies"] = tuple(plain.get("policies", ()))
    return evaluate.Arguments(**plain, params=EnvParams.from_dict(market))


def _evaluate(arguments: evaluate.Arguments, _: Path) -> Rows:
    params = evaluate.chosen_market(arguments)
    summary = evaluate.summary_of(tabulate(evaluate.played(arguments, params)), params)
    return summary.with_columns(summary["unknown_because"].fill_null("")).to_dicts()


def _backtest_arguments(values: Values) -> backtest.Arguments:
    plain, market = _parted(values)
    _check_policies(plain.get("policies", ()))
    plain |= {"tape": Path(plain["tape"]), "policies": tuple(plain.get("policies", ()))}
    arguments = backtest.Arguments(**plain, params=EnvParams.from_dict(market))
    backtest.refuse_without_effect(arguments.params)
    backtest_parts.with_fees(arguments.params, arguments.fees, "")
    _check_ranges(split=arguments.split, tick_s=arguments.tick_s, unit=arguments.unit)
    return arguments


def _backtest(arguments: backtest.Arguments, _: Path) -> Rows:
    market = backtest_parts.load(arguments)
    rows = backtest_parts.result_table(backtest_parts.play(market, arguments)).to_dicts()
    # The option of the same name says where they come from.
    return [{{"fees": "fees_paid"}.get(name, name): value for name, value in row.items()} for row in rows]


def _calibrate_arguments(values: Values) -> calibrate.Arguments:
    arguments = calibrate.Arguments(**{**values, "tape": Path(values["tape"])})
    _check_ranges(split=arguments.split, tick_s=arguments.tick_s, coins=arguments.coins)
    if arguments.market is not None:
        named_market(arguments.market)
    return arguments


def _calibrate(arguments: calibrate.Arguments, _: Path) -> Rows:
    found = calibrate.measured(calibrate.tape_of(arguments), arguments)
    row: dict[str, Any] = {}
    for name, one in found.estimates.items():
        row |= {name: one.value, f"{name}_se": one.error}
    steps = {"price_step": found.price_step, "size_step": found.size_step}
    counts = {"ticks": found.ticks, "orders_measured": found.orders, "warnings": "; ".join(found.warnings)}
    return [row | dict(found.statistics) | steps | counts | {"params": found.params.to_json()}]


def _train_options() -> Mapping[str, Any]:
    from agents.ppo_config import RecurrentConfig  # has every field that a configuration can have

    return {"config": str, "market": str, **_options(RecurrentConfig)()}


def _train_defaults() -> Values:
    from agents.ppo_config import DEFAULT_CONFIG

    return {"config": str(DEFAULT_CONFIG)}


def _train_arguments(values: Values) -> Any:
    from agents.ppo import PPOConfig, check_deployable

    plain, market = _parted(values)
    recipe = _recipe(plain.pop("config"), plain.pop("market", ""))
    changed = {**recipe, **plain, "params": recipe["params"] | market}
    config = PPOConfig.from_dict({name: value for name, value in changed.items() if value is not None})
    check_deployable(config.params)
    return config


@cache
def _recipe(config: str, market: str) -> Mapping[str, Any]:
    """Return a configuration file's values; read once, because thousands of tasks may vary one."""
    from scripts import train

    return train.recipe(Path(config), market).to_dict()


def _train(config: Any, folder: Path) -> Rows:
    from agents.curve import read_curve
    from agents.ppo import train
    from agents.run_folder import RunFolder

    folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    # Beside the run: two sweeps may come to the same training, and the second one then finds it finished.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        model = train(config, folder, resume=True, progress=False)
    points = read_curve(RunFolder(folder).curve)
    nothing = dict.fromkeys(("timesteps", "j", "j_error", "share", "fraction"))
    row = dataclasses.asdict(points[-1]) if points else {**nothing, "cpu_s": time.process_time() - began}
    return [row | {"model": os.fspath(model.resolve())}]


def _check_policies(names: tuple[str, ...]) -> None:
    rules = [name if name.lower().endswith(".onnx") else roster.rule_name(name) for name in names]
    if len(set(rules)) < len(rules):
        raise ValueError(f"policies must differ from each other, got {', '.join(names)}")
    plots.policy_colors(rules)  # raises if they are too many


def _check_ranges(*, split: float, **positive: float) -> None:
    if not 0 < split <= 1:
        raise ValueError(f"split must be above 0 and at most 1, got {split}")
    for name, value in positive.items():
        if value <= 0:
            raise ValueError(f"{name} must be above 0, got {value}")


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "evaluate": Kind(
            options=_options(evaluate.Arguments, "out"),
            needed=(),
            build=_evaluate_arguments,
            perform=_evaluate,
            metric="j_mean",
            seeds=("episodes", evaluate.Arguments().episodes),
        ),
        "backtest": Kind(
            options=_options(backtest.Arguments, "out", "grid"),
            needed=("tape",),
            build=_backtest_arguments,
            perform=_backtest,
            metric="pnl",
        ),
        "calibrate": Kind(
            options=_options(calibrate.Arguments, "out", "seed"),
            needed=("tape",),
            build=_calibrate_arguments,
            perform=_calibrate,
            metric="nominal_volatility",
        ),
        "train": Kind(
            options=_train_options,
            needed=(),
            build=_train_arguments,
            perform=_train,
            metric="share",
            defaults=_train_defaults,
        ),
    }
)
