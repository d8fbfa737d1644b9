"""The kill switch: every way to engage it, once and for good."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hftgym.live.kill import KillSwitch

ROOT = Path(__file__).parents[2]


def test_the_first_reason_stays(tmp_path):
    switch = KillSwitch(tmp_path / "stop")
    assert (switch.engaged, switch.reason) == (False, None)
    switch.engage("dashboard")
    switch.engage("something else")
    (tmp_path / "stop").touch()
    assert (switch.engaged, switch.reason) == (True, "dashboard")


@pytest.mark.parametrize("appear", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_file_that_appears_stays_seen(tmp_path, appear):
    path = tmp_path / "stop"
    switch = KillSwitch(path)
    assert not switch.engaged
    appear(path)
    assert switch.engaged
    path.rename(tmp_path / "gone")
    assert (switch.engaged, switch.reason) == (True, f"file {path}")
    assert not KillSwitch(path).engaged


def test_a_file_that_cannot_be_looked_for_engages():
    switch = KillSwitch(Path("/tmp") / ("x" * 300))
    assert switch.reason is not None
    assert "cannot be looked for" in switch.reason


def test_many_threads_agree_on_one_reason():
    switch, start, seen = KillSwitch(), threading.Barrier(8), []

    def engage(name):
        start.wait()
        for _ in range(1_000):
            switch.engage(name)
            seen.append(switch.reason)

    threads = [threading.Thread(target=engage, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_engages_and_the_process_goes_on_to_clean_up(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    switch = KillSwitch()
    with switch.signals():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert (switch.engaged, switch.reason) == (True, f"signal {name}")
    assert signal.getsignal(number) == before


def test_ctrl_c_reaches_a_session_that_waits_in_its_event_loop():
    code = """
import asyncio
from hftgym.live.kill import KillSwitch
async def session(switch):
    print("running", flush=True)
    while not switch.engaged:
        await asyncio.sleep(0.01)
    print("cleaned up after", switch.reason)
with KillSwitch().signals() as switch:
    asyncio.run(session(switch))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("cleaned up after signal SIGINT\n", 0)
