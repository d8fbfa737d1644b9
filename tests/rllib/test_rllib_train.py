"""Training through RLlib, in this process and in others."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from agents.checkpoint import load_model
from agents.curve import read_curve, truth_of
from agents.export import TOLERANCE, export
from agents.parity import story_of
from agents.rllib.handover import module_actions, stable_agent
from agents.rllib.module import QuotingModule
from agents.rllib.train import train
from agents.run_folder import RunError, RunFolder
from hftgym.exact_value import paths_for
from hftgym.policies import OnnxPolicy
from hftgym.rollout import rollout

pytestmark = [
    pytest.mark.slow,
    # RLlib registers its environment anew with every runner.
    pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0"),
    # Ray reads its own deprecated options when it is imported.
    pytest.mark.filterwarnings("ignore:.*`use_.*is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def short(recipe):
    """The recipe of the bar, for a seventh of its steps."""
    return replace(recipe, total_timesteps=80_000, checkpoint_every=40_000, evaluate_every=40_000)


@pytest.fixture(scope="module")
def trained(short, cluster, tmp_path_factory):
    return train(short, tmp_path_factory.mktemp("runs") / "short")


def test_a_short_training_learns(trained, short):
    first, *_, last = read_curve(RunFolder(trained.parent).curve)
    untrained = paths_for(short.params, ticks=2_000, env_id=short.env_id, seed=0).value(stable_agent(short))
    assert last.timesteps >= short.total_timesteps > first.timesteps
    assert last.j - untrained[0] > 10.0 * np.hypot(last.j_error, untrained[1])
    assert last.cpu_s > first.cpu_s > 0.0


def test_the_exported_file_acts_like_rllibs_module(trained, short, tmp_path):
    manifest = export(trained, tmp_path / "model.onnx")
    assert (manifest["algo"], manifest["env_id"], manifest["seed"]) == ("RLlibPPO", short.env_id, short.seed)
    assert manifest["timesteps"] >= short.total_timesteps
    agent = load_model(trained)
    module = QuotingModule(
        observation_space=agent.observation_space, action_space=agent.action_space, model_config={"recipe": short}
    )
    module.policy.load_state_dict(agent.policy.state_dict())
    seen = story_of(agent, short.params, short.env_id, widths={}).observations[:, 0]
    policy = OnnxPolicy(tmp_path / "model.onnx")
    actions = policy.predict(seen)[0]
    assert len(seen) == 10_000
    assert np.abs(actions - module_actions(module, seen)).max() <= TOLERANCE
    assert actions.std(axis=0).min() > 0.01
    played = rollout(policy, episodes=256, seed=10**6, params=short.params).figures.j
    assert abs(played.mean() - read_curve(RunFolder(trained.parent).curve)[-1].j) < 5.0 * played.std() / 16.0


def test_a_finished_run_goes_on_when_its_budget_grows(trained, short):
    before = trained.read_bytes()
    assert train(short, trained.parent, resume=True).read_bytes() == before
    with pytest.raises(RunError, match="holds a run that has a model: resume it"):
        train(short, trained.parent)
    with pytest.raises(RunError, match=r"was started with gamma = 0\.99"):
        train(replace(short, gamma=0.9), trained.parent, resume=True)
    # The work may be shared differently by now.
    longer = replace(short, total_timesteps=120_000, env_runners=2)
    train(longer, trained.parent, resume=True)
    points = read_curve(RunFolder(trained.parent).curve)
    assert [point.timesteps >= 120_000 for point in points[-2:]] == [False, True]
    assert points[-1].cpu_s > points[-2].cpu_s
    assert points[-1].share > points[0].share
    assert load_model(trained).num_timesteps == points[-1].timesteps


def test_a_damaged_checkpoint_is_skipped(tiny, cluster, tmp_path):
    train(tiny, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    newest, older, *_ = folder.newest_first()
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes(data)
    folder.model.unlink()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        train(tiny, folder.path, resume=True)
    assert any(f"skipping the unreadable checkpoint {newest}" in str(warning.message) for warning in caught)
    assert load_model(folder.model).num_timesteps >= tiny.total_timesteps > int(older.stem.removeprefix("step_"))


def test_two_learners_share_a_batch(tiny, cluster, tmp_path):
    assert train(replace(tiny, learners=2), tmp_path / "run").exists()


def test_what_the_cluster_cannot_hold_is_refused(tiny, cluster, tmp_path):
    with pytest.raises(RunError, match="4 env_runners and 0 learners need 4 CPU, the cluster has 2"):
        train(replace(tiny, env_runners=4), tmp_path / "run")
    with pytest.raises(RunError, match="need 1 GPU, the cluster has 0"):
        train(replace(tiny, learners=1, gpus_per_learner=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rllibs_ppo_reaches_97_percent_of_the_optimum(recipe, cluster, tmp_path):
    train(recipe, tmp_path / "run")
    last, truth = read_curve(RunFolder(tmp_path / "run").curve)[-1], truth_of(recipe)
    assert truth is not None
    assert last.j - 5.0 * last.j_error > 0.97 * truth.optimum
