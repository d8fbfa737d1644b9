"""The engine of one machine: a few processes that take one task after the other, and may die."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol

from scripts.sweeping.engine import ATTEMPTS, WORKER_ENVIRONMENT, Outcome, Perform, attempt
from scripts.sweeping.task import Task


class LocalEngine:
    """Worker processes on this machine.

    Every worker is a pool of one: a death breaks that pool alone, and says which task it was.

    Args:
        workers: How many, at least 1.

    Raises:
        ValueError: There are less.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._workers = workers

    def run(self, tasks: Sequence[Task], perform: Perform) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task, see `Engine.run`."""
        waiting = deque((task, 1) for task in tasks)
        workers = [_Worker() for _ in range(min(self._workers, len(tasks)))]
        idle = list(workers)
        running: dict[Future[Outcome], tuple[_Worker, Task, int]] = {}
        outcomes: list[Outcome] = []
        try:
            while waiting or running:
                while waiting and idle:
                    (task, number), worker = waiting.popleft(), idle.pop()
                    running[worker.submit(perform, task)] = worker, task, number
                # Whoever takes them takes his time: the workers have their next tasks by now.
                yield from outcomes
                outcomes = []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    worker, task, number = running.pop(future)
                    idle.append(worker)
                    if _died(future) and number < ATTEMPTS:
                        waiting.appendleft((task, number + 1))
                    else:
                        outcomes.append(_outcome(future, task))
            yield from outcomes
        finally:
            for worker in workers:
                worker.end()


def _died(future: Future[Outcome]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _outcome(future: Future[Outcome], task: Task) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        text = f"the worker died in each of {ATTEMPTS} attempts: killed, out of memory, or crashed in native code"
        return Outcome(task, None, text, 0.0)
    return Outcome(task, None, f"{type(error).__name__}: {error}", 0.0)  # its rows cannot be sent, for one


class _Worker:
    """A process that is started when it gets a task, and again if it died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._hang_up: Callable[[], None] = lambda: None
        self._kill: Callable[[], None] = lambda: None

    def submit(self, perform: Perform, task: Task) -> Future[Outcome]:
        """Give the worker a task."""
        if self._pool is not None:
            try:
                return self._pool.submit(attempt, perform, task)
            except BrokenProcessPool:
                self.end()
        spawn = multiprocessing.get_context("spawn")
        theirs, ours = spawn.Pipe(duplex=False)
        self._hang_up = ours.close
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_watch, initargs=(theirs,))
        others = set(multiprocessing.active_children())
        with _prepared():
            future = self._pool.submit(attempt, perform, task)  # starts the process
        (process,) = set(multiprocessing.active_children()) - others
        self._kill = process.kill
        theirs.close()
        return future

    def end(self) -> None:
        """End the process, whatever it does."""
        self._hang_up()
        self._kill()  # native code may keep it from noticing
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def _prepared() -> Iterator[None]:
    """Let what is started here be a worker: one thread each, and Ctrl-C is for the sweep, which ends its workers."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Line(Protocol):
    """The worker's end of a pipe from the sweep."""

    def poll(self, timeout: float | None, /) -> bool: ...


def _watch(sweep: _Line) -> None:
    """End this process when the other end of a pipe is closed: by the sweep, or by its death."""

    def wait_for_the_end() -> None:
        sweep.poll(None)
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
