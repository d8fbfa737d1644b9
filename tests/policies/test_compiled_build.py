"""A library is compiled once, checked before it decides, and done without where it cannot be had."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from onnx import helper

from hftgym.policies import OnnxPolicy
from hftgym.policies.compiled import build
from tests.reference.nets import both, box, lstm, mlp, sealed, small

node = helper.make_node


def libraries():
    return sorted(build._cache_folder().glob("*.so"))


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


def test_where_there_is_no_temporary_folder_either_onnxruntime_decides(net, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    falls_back(net, "there is nowhere to write a library")


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
        ({"CC": "true"}, "true made no library"),
        ({"CC": '"unbalanced'}, "is no command: No closing quotation"),
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
