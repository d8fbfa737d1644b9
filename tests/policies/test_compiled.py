"""A compiled policy does what onnxruntime does with the same file, refuses what it refuses, or is not used."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from onnx import helper

from hftgym import FEATURES
from hftgym.policies import OnnxPolicy
from hftgym.policies.compiled import build
from tests.reference.nets import lstm, mlp, policy_model, sealed
from tests.reference.remembering import remembering_model, remembering_weights

node = helper.make_node
LOW, HIGH = [f.low for f in FEATURES], [f.high for f in FEATURES]
ONE = {"one": np.float32([1, 2, 3, 4, 5, 6, 7, 8]), "low": np.float32(-1), "high": np.float32(1)}
TWO = {"pick": np.random.default_rng(2).normal(0, 0.6, size=(8, 2)).astype(np.float32)}
END = [node("MatMul", ["y", "pick"], ["raw"]), node("Clip", ["raw", "low", "high"], ["action"])]
INDEX = {name: np.array(value) for name, value in {"i0": [0], "i1": [1], "i2": [2], "i8": [8], "n1": [-1]}.items()}
MATRIX = {"m": np.random.default_rng(3).normal(0, 0.5, size=(1, 8)).astype(np.float32)}


def small(*nodes, **constants):
    return policy_model([*nodes, *END], ONE | TWO | INDEX | MATRIX | constants)


INT8 = {
    "bias": np.zeros(8, np.float32),
    "q": np.random.default_rng(4).integers(-127, 128, size=(8, 8)).astype(np.int8),
    "s": np.float32([0.01] * 8),
}
GRAPHS = {
    "mlp 8": mlp((8,)),
    "mlp 64-64": mlp((64, 64)),
    "mlp 7-130-33": mlp((7, 130, 33)),
    "mlp 48": mlp((48,)),
    "relu": mlp((32, 20), activation="Relu"),
    "sigmoid": mlp((17,), activation="Sigmoid"),
    "lstm 1": lstm(1, seed=1),
    "lstm 13": lstm(13),
    "lstm 64": lstm(64),
    "remembering": remembering_model(remembering_weights()),
    "sub mul div": small(
        node("Sub", ["observation", "one"], ["a"]), node("Mul", ["a", "m"], ["b"]), node("Div", ["b", "one"], ["y"])
    ),
    "min max": small(node("Min", ["observation", "m"], ["a"]), node("Max", ["a", "low"], ["y"])),
    "clip one end": small(node("Clip", ["observation", "", "low"], ["a"]), node("Add", ["a", "high"], ["y"])),
    "concat slice": small(
        node("Concat", ["observation", "observation", "observation"], ["a"], axis=1),
        node("Slice", ["a", "i2", "i8", "i1"], ["b"]),
        node("Split", ["b"], ["c", "d"], axis=1),
        node("Concat", ["d", "c", "d"], ["e"], axis=1),
        node("Slice", ["e", "n1", "i0", "i1", "n1"], ["y"]),
    ),
    "transpose": small(
        node("Reshape", ["observation", "shape"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        node("Flatten", ["b"], ["c"]),
        node("Gather", ["c", "order"], ["y"], axis=1),
        shape=np.array([-1, 2, 4]),
        order=np.array([7, 6, 5, 4, 0, 0, 1, 2]),
    ),
    "outer": small(
        node("Unsqueeze", ["observation", "i2"], ["a"]),
        node("Mul", ["a", "row"], ["b"]),
        node("Slice", ["b", "i1", "i2", "i2"], ["c"]),
        node("Squeeze", ["c", "i2"], ["y"]),
        row=np.float32([[[1, 2, 3]]]),
    ),
    "int8": small(
        node("DequantizeLinear", ["q", "s"], ["w"], axis=0),
        node("Gemm", ["observation", "w", "bias"], ["y"], transB=1),
        **INT8,
    ),
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Libraries go to a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def net():
    return sealed(mlp((16, 16)))


@pytest.fixture(scope="module")
def memory():
    return sealed(lstm(5))


def both(data):
    policies = [OnnxPolicy.from_bytes(data, backend=backend) for backend in ("onnxruntime", "compiled")]
    assert [policy.backend for policy in policies] == ["onnxruntime", "compiled"]
    return policies


def box(*shape, seed=3):
    return np.random.default_rng(seed).uniform(LOW, HIGH, size=(*shape, 8)).astype(np.float32)


def libraries():
    return sorted(build._cache_folder().glob("*.so"))


SLOW = ("mlp 8", "mlp 48", "sigmoid", "lstm 1", "min max", "clip one end", "outer", "transpose")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in GRAPHS])
def test_decides_as_onnxruntime_does(name):
    reference, compiled = both(sealed(copy.deepcopy(GRAPHS[name])))
    states = [None, None]
    start = np.random.default_rng(0).random((40, 50)) < 0.1
    bounds = 0
    for t, observations in enumerate(box(40, 50)):
        expected, states[0] = reference.predict(observations, states[0], start[t])
        actions, states[1] = compiled.predict(observations, states[1], start[t])
        np.testing.assert_allclose(actions, expected, atol=1e-5, rtol=0)
        for ours, theirs in zip(states[1] or (), states[0] or (), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
        bounds += int((np.abs(expected) < 1).sum())
    assert bounds > 400  # not all of it was clipped


@pytest.mark.parametrize("name", ["mlp 64-64", "lstm 13"])
def test_act_single_and_batch_are_the_same_bits(name):
    _, policy = both(sealed(copy.deepcopy(GRAPHS[name])))
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


def test_the_second_time_nothing_is_compiled(net, monkeypatch):
    both(net)
    monkeypatch.setattr(build, "_compiled", lambda *_: pytest.fail("it was compiled again"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    both(net)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:1_000], lambda data: b"", lambda data: data[:-9] + b"x" + data[-8:]]
)
def test_a_damaged_library_is_made_anew(damage):
    data = sealed(mlp((9,), seed=7))
    known = set(libraries())
    both(data)
    (path,) = set(libraries()) - known
    whole = path.read_bytes()
    path.unlink()  # a library that is loaded keeps its bytes; the file below is another one
    path.write_bytes(damage(whole))
    both(data)
    (path,) = set(libraries()) - known
    assert build._digest(path.read_bytes()) == path.stem.split("-")[1]
    path.unlink()


def test_several_at_once_compile_without_harm():
    data, found = sealed(mlp((10,), seed=8)), []
    threads = [threading.Thread(target=lambda: found.append(both(data)[1].act(box(1)[0]).tolist())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(tuple, found))) == 1
    assert not list(build._cache_folder().glob("*.tmp"))


def test_where_nothing_can_be_written_it_works_too(net, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    both(net)


def falls_back(data, message):
    with pytest.warns(RuntimeWarning, match=f"onnxruntime decides: .*{message}") as caught:
        policy = OnnxPolicy.from_bytes(data, backend="compiled")
    assert len(caught) == 1
    assert policy.backend == "onnxruntime"
    np.testing.assert_array_equal(policy.act(box(1)[0]), OnnxPolicy.from_bytes(data).act(box(1)[0]))


def test_an_op_that_is_not_covered_falls_back():
    falls_back(sealed(small(node("Softmax", ["observation"], ["y"]))), "the op Softmax")
    products = small(
        *(node("Unsqueeze", ["observation", i], [f"o{i}"]) for i in ("i1", "i2")),
        node("MatMul", ["oi2", "oi1"], ["a"]),
        node("Gather", ["a", "first"], ["y"], axis=1),
        first=np.array(3),
    )
    falls_back(sealed(products), "the weights 'oi1', which are not float32 constants")


def test_a_library_that_acts_otherwise_falls_back(monkeypatch):
    for data in (sealed(mlp((11,), seed=9)), sealed(lstm(3, seed=9))):
        monkeypatch.setattr(build, "_compiled", _with("exp2_of(x * all(", "exp2_of(x * all(1.0001f * "))
        falls_back(data, r"it differs from onnxruntime by .*e-0\d, at most 1e-05 is allowed")
        monkeypatch.undo()


def test_a_reset_by_a_product_is_found_out(monkeypatch):
    """NaN * 0 is NaN: only a memory that begins as NaN shows it."""
    data = sealed(lstm(4, seed=9))
    monkeypatch.setattr(build, "_compiled", _with("] ? 0x0.0p+0f : ", "] * 0.0f + "))
    falls_back(data, "it differs from onnxruntime by nan")


def _with(old, new):
    compiled = build._compiled

    def altered(command, source):
        assert old in source
        return compiled(command, source.replace(old, new))

    return altered


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PATH": "/nowhere", "CC": ""}, "there is no C compiler: install gcc or clang, or set CC"),
        ({"CC": "no-such-compiler -O2"}, "CC='no-such-compiler -O2' is not there"),
        ({"CC": "false"}, "false failed"),
    ],
)
def test_without_a_compiler_onnxruntime_decides_and_says_so(net, tmp_path, environment, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(net)
    code = f"""
import numpy as np
from hftgym.policies import OnnxPolicy
policy = OnnxPolicy({str(path)!r}, backend="compiled")
print(policy.backend, policy.act(np.zeros(8)).tolist() == OnnxPolicy({str(path)!r}).act(np.zeros(8)).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert done.stdout == "onnxruntime True\n", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"{path}: the backend 'compiled' cannot be used, so onnxruntime decides: " in done.stderr
    assert message in done.stderr
    assert "-c" in done.stderr or "<string>" in done.stderr  # it points at who asked


def test_a_fresh_process_with_a_cached_library_needs_no_onnx(net, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(net)
    both(net)
    code = f"""
import sys, time
began = time.perf_counter()
from hftgym.policies import OnnxPolicy
imported = time.perf_counter()
policy = OnnxPolicy({str(path)!r}, backend="compiled")
print(policy.backend, *[name for name in ("torch", "numba", "onnx", "agents", "polars") if name in sys.modules])
print(f"import {{imported - began:.3f}} s, load {{time.perf_counter() - imported:.3f}} s", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout == "compiled\n", done.stderr
    print(done.stderr)


def test_no_flag_gives_up_ieee_arithmetic():
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only", "-fassociative-math", "-funsafe-math-optimizations"} & {
        *build._FLAGS
    }
