"""A policy with a memory: one tick after the other, alone and in a batch, and what is refused."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from hftgym import EnvParams
from hftgym.policies import OnnxPolicy
from hftgym.policies.onnx import ModelFileError
from hftgym.rollout import rollout
from tests.reference.remembering import WIDTHS, remembering_bytes, remembering_step, remembering_weights

TICKS, LANES = 60, 7
ZEROS = tuple(np.zeros((LANES, width), dtype=np.float32) for width in WIDTHS.values())


@pytest.fixture(scope="module")
def data():
    return remembering_bytes()


@pytest.fixture
def policy(data):
    return OnnxPolicy.from_bytes(data)


@pytest.fixture(scope="module")
def story():
    """Observations (TICKS, LANES, 8), random episode starts (TICKS, LANES), and what the formula makes of them."""
    generator = np.random.default_rng(7)
    observations = generator.uniform(-1, 1, size=(TICKS, LANES, 8)).astype(np.float32)
    starts = generator.random((TICKS, LANES)) < 0.1
    starts[0] = True
    state, expected = ZEROS, []
    for observation, start in zip(observations, starts, strict=True):
        action, state = remembering_step(remembering_weights(), observation, start, state)
        expected.append((action, *state))
    return observations, starts, expected


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0)


def test_a_batch_follows_the_formula(policy, story):
    state = tuple(np.full_like(part, np.nan) for part in ZEROS)  # a start forgets even what is no number
    for observation, start, expected in zip(*story, strict=True):
        action, state = policy.predict(observation, state, start)
        assert (action.dtype, *(part.dtype for part in state)) == (np.float32,) * 3
        same((action, *state), expected)


def test_one_lane_alone_is_its_lane_in_the_batch(policy, story):
    for lane in range(LANES):
        state = None
        for observation, start, expected in zip(*story, strict=True):
            action, state = policy.predict(observation[lane], state, start[lane : lane + 1])
            same((action, *state), [part[lane] for part in expected])


def test_act_remembers_what_predict_is_handed(policy, story):
    for lane in range(LANES):
        for observation, start, expected in zip(*story, strict=True):
            if start[lane]:
                policy.reset()
            policy.predict(observation[lane - 1])  # leaves the memory of act alone
            same([policy.act(observation[lane])], [expected[0][lane]])


def test_no_state_is_a_start_everywhere(policy):
    observations = np.random.default_rng(2).uniform(-1, 1, size=(LANES, 8)).astype(np.float32)
    fresh = policy.predict(observations)
    for again in (
        policy.predict(observations, None, np.zeros(LANES, dtype=bool)),
        policy.predict(observations, ZEROS, None),
        policy.predict(observations, ZEROS, np.zeros(LANES, dtype=bool)),
        policy.predict(observations, tuple(part + 5 for part in ZEROS), np.ones(LANES, dtype=bool)),
        (policy.actions(observations), fresh[1]),
    ):
        same((again[0], *again[1]), (fresh[0], *fresh[1]))
    moved, _ = policy.predict(observations, tuple(part + 5 for part in ZEROS))
    assert np.abs(moved - fresh[0]).max() > 0.1


def test_what_predict_returns_is_the_callers_own(policy):
    a, b = np.random.default_rng(3).uniform(-1, 1, size=(2, 8)).astype(np.float32)
    first = policy.predict(a)
    kept = copy.deepcopy(first)
    second = policy.predict(b, first[1])
    same((first[0], *first[1]), (kept[0], *kept[1]))
    assert not any(np.shares_memory(x, y) for x in first[1] for y in second[1])


def test_what_is_refused_leaves_the_memory_as_it_was(policy):
    a, b = np.random.default_rng(4).uniform(-1, 1, size=(2, 8)).astype(np.float32)
    policy.act(a)
    expected = policy.act(b).copy()
    policy.reset()
    policy.act(a)
    far = np.zeros(8, dtype=np.float32)
    for bad, error in ((np.full(8, np.nan, np.float32), ValueError), (far[:7], ValueError), (far[None], ValueError)):
        with pytest.raises(error, match="observation"):
            policy.act(bad)
    np.testing.assert_array_equal(policy.act(b), expected)


def without_c(graph):
    """Let the action depend on h alone."""
    graph.node[-2].op_type = "Identity"
    del graph.node[-2].input[1]


def test_a_memory_that_overflows_is_refused():
    weights = remembering_weights() | {"F": np.zeros((2, 2), dtype=np.float32)}
    policy = OnnxPolicy.from_bytes(remembering_bytes(weights, graph=without_c))
    far = np.full(8, 3e38, dtype=np.float32) * np.sign(weights["C"][:, 0])
    for call, observation in ((policy.act, far), (policy.predict, far), (policy.predict, far[None])):
        with pytest.raises(FloatingPointError, match="new memory c is not finite"):
            call(observation)
    # A large memory, whose square overflows, is one all the same.
    action, state = policy.predict(far / np.float32(1e12))
    assert np.abs(state[1]).max() > 1e25
    assert np.isfinite(action).all()


@pytest.mark.parametrize("name", list(WIDTHS))
def test_a_memory_that_is_not_finite_is_refused(policy, name):
    place = list(WIDTHS).index(name)
    row = np.zeros(8, dtype=np.float32)
    one = tuple(np.zeros(width, dtype=np.float32) for width in WIDTHS.values())
    one[place][0] = np.nan
    for observation, state in ((row, one), (row[None], tuple(part[None] for part in one))):
        with pytest.raises(FloatingPointError, match="the net returned"):
            policy.predict(observation, state)
        assert np.isfinite(policy.predict(observation, state, np.array([True]))[0]).all()


@pytest.mark.parametrize(
    ("observation", "state", "start", "message"),
    [
        (
            np.zeros(8),
            (np.zeros(3),),
            None,
            r"state must be None or a tuple of float32 arrays, h \(3,\), c \(2,\); got",
        ),
        (np.zeros(8), (np.zeros(2), np.zeros(3)), None, r"got \(\(2,\), \(3,\)\)"),
        (np.zeros(8), (np.zeros((1, 3)), np.zeros((1, 2))), None, r"got \(\(1, 3\), \(1, 2\)\)"),
        (np.zeros(8), np.zeros(5), None, "got ndarray"),
        (np.zeros((4, 8)), (np.zeros((3, 3)), np.zeros((3, 2))), None, r"h \(4, 3\), c \(4, 2\); got \(\(3, 3\)"),
        (np.zeros((4, 8)), [np.zeros((4, 3)), np.zeros((4, 2))], None, "state must be None or a tuple"),
        (
            np.zeros(8),
            (np.zeros(3), np.zeros(2)),
            np.zeros(2, bool),
            r"episode_start must have the shape \(1,\), got \(2,\)",
        ),
        (
            np.zeros((4, 8)),
            (np.zeros((4, 3)), np.zeros((4, 2))),
            np.zeros(3, bool),
            r"episode_start .*\(4,\), got \(3,\)",
        ),
    ],
)
def test_a_state_of_another_form_is_refused(policy, observation, state, start, message):
    with pytest.raises(ValueError, match=message):
        policy.predict(observation.astype(np.float32), state, start)


def test_whatever_converts_is_read(policy):
    row = np.random.default_rng(5).uniform(-1, 1, size=8).astype(np.float32)
    state = tuple(np.full(width, 0.25) for width in WIDTHS.values())
    expected, after = policy.predict(row, tuple(part.astype(np.float32) for part in state), False)
    for same_row in (row.tolist(), row.astype(np.float64), np.repeat(row, 2)[::2]):
        action, memory = policy.predict(same_row, state, np.array([False]))
        same((action, *memory), (expected, *after))


@pytest.mark.parametrize("duplicate", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_copy_starts_an_episode(policy, duplicate):
    a, b = np.random.default_rng(6).uniform(-1, 1, size=(2, 8)).astype(np.float32)
    fresh = policy.act(b).copy()
    policy.reset()
    policy.act(a)
    np.testing.assert_array_equal(duplicate(policy).act(b), fresh)
    assert np.abs(policy.act(b) - fresh).max() > 1e-3


def test_a_whole_market_is_played(policy):
    """`rollout` carries the state; the batch earns what its members earn."""
    params = dataclasses.replace(EnvParams(), horizon=40)
    both = rollout(policy, episodes=6, seed=3, params=params).figures.j
    alone = [rollout(policy, episodes=1, seed=3 + i, params=params).figures.j[0] for i in range(6)]
    np.testing.assert_allclose(both, alone, atol=1e-4)


def changed(**values):
    return {"alter": lambda manifest: manifest.update(values)}


def poisoned(graph):
    tensor = next(tensor for tensor in graph.initializer if tensor.name == "D")
    tensor.raw_data = np.full((2, 2), np.nan, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alter": lambda manifest: manifest.pop("state")}, "state is None, expected the widths"),
        (changed(state={"h": 3}), r"the net's inputs are .*'c'.*expected .*'h', 'tensor\(float\)', \['batch', 3\]\)\]"),
        (changed(state={"c": 2, "h": 3}), "the net's inputs are"),
        (changed(state={"h": 3, "c": 4}), r"expected .*\('c', 'tensor\(float\)', \['batch', 4\]\)"),
        (changed(state={}), r"expected \[\('observation', 'tensor\(float\)', \['batch', 8\]\)\]"),
        (changed(state={"h": 0, "c": 2}), "each from 1 to 65,536"),
        (changed(state={"h": True, "c": 2}), "each from 1 to 65,536"),
        (changed(state=[3, 2]), "expected the widths"),
        ({"graph": lambda graph: graph.output.pop()}, "the net's outputs are"),
        ({"graph": poisoned}, r"a probe must give a finite action: .*the net returned \[nan, nan\]"),
        (changed(obs_version=2), "obs_version is 2"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ModelFileError, match=message) as raised:
        OnnxPolicy.from_bytes(remembering_bytes(**changes), name="altered.onnx")
    assert "altered.onnx" in str(raised.value)


def test_probes_are_one_episode(data):
    """With the memory of the last one they give something else: a file whose probes were taken singly is refused."""

    def singly(manifest):
        rows = np.array(manifest["probes"]["observations"], dtype=np.float32)
        start = np.ones(len(rows), dtype=bool)
        state = tuple(np.zeros((len(rows), width)) for width in WIDTHS.values())
        manifest["probes"]["actions"] = remembering_step(remembering_weights(), rows, start, state)[0].tolist()

    with pytest.raises(ModelFileError, match="a probe's action is off by"):
        OnnxPolicy.from_bytes(remembering_bytes(alter=singly))
    manifest = OnnxPolicy.from_bytes(data).manifest
    assert list(json.loads(json.dumps(manifest["state"]))) == ["h", "c"]


def test_flips_and_cuts_are_refused(data):
    generator = np.random.default_rng(0)
    for place, bit in zip(generator.integers(len(data), size=1_000), generator.integers(8, size=1_000), strict=True):
        broken = bytearray(data)
        broken[place] ^= 1 << int(bit)
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(bytes(broken))
    for size in generator.integers(len(data), size=200):
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(data[: int(size)])


def test_there_is_no_other_backend(data):
    with pytest.raises(ValueError, match="backend must be one of onnxruntime, got 'tpu'"):
        OnnxPolicy.from_bytes(data, backend="tpu")
