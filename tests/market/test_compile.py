"""The machine code: vectorised, and never older than the formulas it was made from."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import hftgym
from hftgym.market import batch
from hftgym.market.compile import source_hash
from hftgym.params import EnvParams

PACKAGE = Path(hftgym.__file__).parent
ONE_STEP = """
import numpy as np
from hftgym.envs import MarketMakingEnv
from hftgym.market.single import step_single
env = MarketMakingEnv()
env.reset(seed=0)
print(env.step(np.zeros(2, dtype=np.float32))[4]["mid"], sum(step_single.stats.cache_hits.values()))
"""


BATCH = """
import hashlib
import numpy as np
from hftgym.envs import MarketMakingVectorEnv
envs = MarketMakingVectorEnv(100, autoreset_mode="SameStep")
envs.reset(seed=0)
actions = np.random.default_rng(0).uniform(-1, 1, (8, 100, 2))
digest = hashlib.sha256()
for step in range(1100):
    for array in envs.step(actions[step % 8])[:4]:
        digest.update(array.tobytes())
print(digest.hexdigest())
"""


def run_in(folder, code=ONE_STEP, **variables):
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_an_edited_formula_is_never_run_from_the_cache(tmp_path):
    """Not even if the file keeps its size and its time, as files installed from a wheel can."""
    shutil.copytree(PACKAGE, tmp_path / "hftgym", ignore=shutil.ignore_patterns("__pycache__"))
    first, hits = run_in(tmp_path)
    assert hits == "0"
    assert run_in(tmp_path) == [first, "1"]

    formula = tmp_path / "hftgym" / "market" / "price.py"
    times = formula.stat()
    text = formula.read_text()
    changed = text.replace("p.sigma * z1 + p.sigma_noise * z2", "p.sigma * z1 - p.sigma_noise * z2")
    assert changed != text
    formula.write_text(changed)
    os.utime(formula, ns=(times.st_atime_ns, times.st_mtime_ns))
    second, hits = run_in(tmp_path)
    assert hits == "0"
    assert second != first


@pytest.mark.slow
def test_a_formula_of_a_kernel_beside_it_counts_too(tmp_path):
    """The grid's kernel takes `units_at` from another file of its folder."""
    shutil.copytree(PACKAGE, tmp_path / "hftgym", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import numpy as np
from hftgym.backtest import zscore_grid
from hftgym.backtest.zscore_grid_kernel import play_sets
prices = 100 + np.sin(np.arange(500.0))
print(zscore_grid(prices, entries=[0.5]).pnl[0], sum(play_sets.stats.cache_hits.values()))
"""
    first, hits = run_in(tmp_path, code)
    assert hits == "0"
    assert run_in(tmp_path, code) == [first, "1"]
    file = tmp_path / "hftgym" / "backtest" / "zscore_kernel.py"
    text = file.read_text()
    changed = text.replace("rule.per_deviation * distance", "0.5 * rule.per_deviation * distance")
    assert changed != text
    file.write_text(changed)
    second, hits = run_in(tmp_path, code)
    assert hits == "0"
    assert second != first


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(tmp_path, suffix):
    shutil.copytree(PACKAGE, tmp_path / "hftgym", ignore=shutil.ignore_patterns("__pycache__"))
    first, _ = run_in(tmp_path)
    files = list(tmp_path.rglob(f"*.{suffix}"))
    assert files
    for path in files:
        path.write_bytes(b"garbage" + path.read_bytes()[:50])
    assert run_in(tmp_path) == [first, "0"]
    assert run_in(tmp_path) == [first, "1"]


@pytest.mark.slow
def test_a_read_only_install_still_runs(tmp_path):
    """Nowhere to write: every process compiles for itself."""
    shutil.copytree(PACKAGE, tmp_path / "hftgym", ignore=shutil.ignore_patterns("__pycache__"))
    blocked = """
import numba.core.caching as caching
def refuse(self):
    raise OSError("read-only")
for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator, caching.UserProvidedCacheLocator):
    locator.ensure_cache_path = refuse
caching.InTreeCacheLocatorFsAgnostic.ensure_cache_path = refuse
"""
    assert run_in(tmp_path, blocked + ONE_STEP)[1] == "0"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_every_processor_gives_the_same_bits(tmp_path):
    """Scalar SSE2 code and the widest that this machine has: strict arithmetic leaves nothing to the compiler."""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path / "generic")}
    root = PACKAGE.parent
    assert run_in(root, BATCH, **plain) == run_in(root, BATCH, NUMBA_CACHE_DIR=str(tmp_path / "native"))


def test_source_hash_sees_every_file(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "hftgym", ignore=shutil.ignore_patterns("__pycache__"))
    own = tmp_path / "hftgym" / "policies" / "recursion.py"
    before = source_hash(own, package=tmp_path / "hftgym")
    assert before == source_hash(PACKAGE / "policies" / "recursion.py")
    for path in [own, tmp_path / "hftgym" / "observation.py", *(tmp_path / "hftgym" / "market").glob("*.py")]:
        text = path.read_text()
        path.write_text(text + "# \n")
        assert source_hash(own, package=tmp_path / "hftgym") != before
        path.write_text(text)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="counts x86 vector registers")
def test_the_batch_is_vectorised():
    """Vectorisation is a decision of the compiler: a formula that stops it costs a factor of ten."""
    # Code from the cache cannot be inspected: compile once more.
    fresh = numba.jit(**batch.step_tiles.targetoptions)(batch.step_tiles.py_func)
    memory = batch.allocate(EnvParams(), 64)
    outputs = np.empty((64, 8), np.float32), np.empty(64), np.empty((2, 64), np.bool_)
    fresh(memory, 0, 1, 1, 1, np.zeros((64, 2), np.float32), *outputs)
    code = "".join(fresh.inspect_asm().values())
    wide = {width: len(re.findall(rf"%{width}\d", code)) for width in ("xmm", "ymm", "zmm")}
    assert max(wide["ymm"], wide["zmm"]) > 1_000, wide
    # No formula calls into libm; a call in the middle of a loop ends its vectorisation.
    assert not re.findall(r"\b(?:exp|log|sin|cos|pow|fmod|floor)@", code)
