"""A compiled policy decides as onnxruntime does with the same file, and refuses what it refuses."""

import copy
import gc
import pickle
import sys

import numpy as np
import pytest
from onnx import helper

from hftgym import FEATURES
from hftgym.policies import OnnxPolicy
from hftgym.policies.onnx import ModelFileError
from tests.reference.nets import both, box, lstm, mlp, sealed, small

node = helper.make_node


@pytest.mark.parametrize("model", [mlp((64, 64)), lstm(13)], ids=["mlp", "lstm"])
def test_act_single_and_batch_are_the_same_bits(model):
    _, policy = both(sealed(model))
    observations = box(100)
    states, singles = None, None
    for t, row in enumerate(observations):
        if t % 30 == 0:
            policy.reset()
        start = np.array([t % 30 == 0])
        batch, states = policy.predict(np.stack([row, row]), states, start.repeat(2))
        one, singles = policy.predict(row, singles, start)
        acted = policy.act(row)
        for action in (batch[0], batch[1], one):
            np.testing.assert_array_equal(acted, action)
        for a, b in zip(singles or (), states or (), strict=True):
            np.testing.assert_array_equal(a, b[0])


def test_what_predict_returns_is_the_callers_own(memory):
    _, policy = both(memory)
    a, b = box(2)
    action, state = policy.predict(a)
    kept = [action.copy(), *(part.copy() for part in state)]
    policy.predict(b, state)
    policy.act(b)
    for now, before in zip((action, *state), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_what_converts_is_read_and_what_does_not_is_refused(net, memory):
    for data in (net, memory):
        reference, policy = both(data)
        row = box(1)[0]
        expected = policy.predict(row)[0]
        strided = np.zeros((8, 2), dtype=np.float32)
        strided[:, 0] = row
        frozen = row.copy()
        frozen.setflags(write=False)
        for same in (
            row.astype(np.float64),
            row.tolist(),
            strided[:, 0],
            row.astype(">f4"),
            frozen,
            row[::-1].copy()[::-1],
        ):
            policy.reset()
            np.testing.assert_array_equal(policy.act(same), expected)
            np.testing.assert_array_equal(policy.predict(same)[0], expected)
        for wrong in (row[:7], np.zeros((1, 8), np.float32), np.zeros(9), 1.0, [], "12345678", None, [None] * 8):
            for one in (reference, policy):
                with pytest.raises((ValueError, TypeError)):
                    one.act(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("backend", ["onnxruntime", "compiled"])
def test_an_observation_that_is_not_finite_is_refused_on_every_tier(net, memory, value, backend):
    for data in (net, memory):
        policy = OnnxPolicy.from_bytes(data, backend=backend)
        clean, batch = box(8), box(3)
        expected = [policy.act(row).copy() for row in clean]
        policy.reset()
        for feature in range(8):
            batch = box(3)
            batch[1, feature] = value
            for call, observation in ((policy.act, batch[1]), (policy.predict, batch[1]), (policy.predict, batch)):
                with pytest.raises(ValueError, match=f"finite.*{FEATURES[feature].name}"):
                    call(observation)
            # What was refused has left no trace.
            np.testing.assert_array_equal(policy.act(clean[feature]), expected[feature])


@pytest.mark.parametrize("backend", ["onnxruntime", "compiled"])
def test_an_action_that_is_not_finite_is_not_returned(backend):
    overflows = small(
        node("Mul", ["observation", "ten"], ["a"]),
        node("Sub", ["a", "a"], ["b"]),  # zero, or inf - inf
        node("Add", ["observation", "b"], ["y"]),
        ten=np.float32(10),
    )
    policy = OnnxPolicy.from_bytes(sealed(overflows), backend=backend)
    assert policy.backend == backend
    far = np.full(8, 3e38, dtype=np.float32)
    for call, observation in ((policy.act, far), (policy.predict, far), (policy.predict, np.stack([far, far]))):
        with pytest.raises(FloatingPointError, match="the net returned"):
            call(observation)


def test_a_memory_that_is_not_finite_is_not_passed_on(memory):
    _, policy = both(memory)
    nan, zero = np.full(5, np.nan, np.float32), np.zeros(5, np.float32)
    for state in ((nan, zero), (zero, nan)):
        with pytest.raises(FloatingPointError, match="the net"):
            policy.predict(box(1)[0], state)
        assert np.isfinite(policy.predict(box(1)[0], state, np.array([True]))[0]).all()


def test_a_state_of_another_form_is_refused(memory):
    _, policy = both(memory)
    row, good = box(1)[0], np.zeros(5, np.float32)
    expected = policy.predict(row, (good, good))[0]
    np.testing.assert_array_equal(policy.predict(row, (good.astype(np.float64), good))[0], expected)
    for wrong in (
        (),
        (good,),
        (good, good, good),
        (good, good[:4]),
        [good, good],
        (good, None),
        "state",
        5,
        (good, good[None]),
    ):
        with pytest.raises(ValueError, match="state must be None or a tuple"):
            policy.predict(row, wrong)


def test_episode_start_is_a_truth_value_or_an_array_with_one(memory):
    reference, policy = both(memory)
    row, state = box(1)[0], policy.predict(box(1, seed=4)[0])[1]
    fresh, going_on = policy.predict(row)[0], policy.predict(row, state)[0]
    assert np.abs(fresh - going_on).max() > 1e-3
    for start in (True, np.True_, np.array([True]), np.array(True), [True]):
        np.testing.assert_array_equal(policy.predict(row, state, start)[0], fresh)
    for start in (None, False, np.False_, np.array([False]), np.array(False), [False], (False,), [0]):
        np.testing.assert_array_equal(policy.predict(row, state, start)[0], going_on)
    for one in (reference, policy):
        with pytest.raises(ValueError, match=r"episode_start must have the shape \(1,\), got \(2,\)"):
            one.predict(row, state, np.array([True, False]))
        for start in ([], [[False]], np.array([[False]])):
            with pytest.raises(ValueError, match=r"episode_start must have the shape \(1,\), got"):
                one.predict(row, state, start)


@pytest.mark.parametrize(
    "view",
    [
        lambda rows: np.concatenate([rows, rows], axis=1)[:, :8],
        lambda rows: rows[::7],
        lambda rows: rows[::-1],
        lambda rows: rows[:, ::-1],
        np.asfortranarray,
        lambda rows: np.broadcast_to(rows[0], (9, 8)),
    ],
    ids=["columns", "every seventh", "backwards", "columns backwards", "Fortran", "broadcast"],
)
def test_a_batch_may_be_a_view(view, net):
    rows = view(box(50))
    for backend in ("onnxruntime", "compiled"):
        policy = OnnxPolicy.from_bytes(net, backend=backend)
        np.testing.assert_array_equal(policy.predict(rows)[0], policy.predict(np.array(rows, order="C"))[0])


@pytest.mark.parametrize("duplicate", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy], ids=["pickle", "copy"])
def test_two_policies_of_one_library_share_nothing(memory, duplicate):
    _, original = both(memory)
    twin = duplicate(original)
    assert twin.backend == "compiled"
    rows = box(20)
    expected = [original.act(row).copy() for row in rows]
    original.reset()
    for row, action in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(original.act(row), action)
        np.testing.assert_array_equal(twin.act(row), action)
        assert not np.shares_memory(original.act.__self__[1], twin.act.__self__[1])


def test_act_outlives_its_policy(net):
    _, policy = both(net)
    row = box(1)[0]
    expected, act = policy.act(row).copy(), policy.act
    del policy
    gc.collect()
    np.testing.assert_array_equal(act(row), expected)


def test_no_reference_is_lost_or_kept(memory):
    _, policy = both(memory)
    rows = [box(1)[0], box(1)[0].astype(np.float64), np.full(8, np.nan, np.float32)]
    state = policy.predict(rows[0])[1]
    objects = [*rows, *state, policy.act(rows[0]), state]

    def counts():
        return [sys.getrefcount(one) for one in objects]

    def play():
        for row in rows:
            for call in (lambda row=row: policy.act(row), lambda row=row: policy.predict(row, state)):
                try:
                    call()
                except ValueError:
                    assert row is rows[2]

    play()
    before = counts()
    for _ in range(500):
        play()
    assert counts() == before


def test_a_subclass_may_have_its_own_act(net):
    class Loud(OnnxPolicy):
        def act(self, observation):
            return -super().act(observation)

    row = box(1)[0]
    quiet = OnnxPolicy.from_bytes(net, backend="compiled")
    with pytest.raises(ModelFileError, match="a probe's action is off"):
        Loud.from_bytes(net, backend="compiled")
    assert np.abs(quiet.act(row)).max() > 0
