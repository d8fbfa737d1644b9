"""The kill switch: whoever engages it, and however often, the session cancels everything and stops."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last: the terminal was closed; it does not exist everywhere
_LOOK_EVERY_S = 0.02  # while somebody waits


class KillSwitch:
    """Engaged once, by `engage`, by a signal or by a file that appears, and then for good.

    Every method may be called from any thread and inside a signal handler: there is no lock that could be held.

    Args:
        file: A path; as soon as something is there the switch is engaged, also if it was there before. So it is if
            nobody can tell, because the folder has become unreadable.
    """

    def __init__(self, file: Path | str | None = None) -> None:
        self.file = None if file is None else Path(file)
        self._reasons: list[str] = []  # only ever grows, and the first one counts: appending is atomic

    def engage(self, reason: str) -> None:
        """Stop the session; the first reason stays."""
        if not self._reasons:
            self._reasons.append(reason)

    @property
    def engaged(self) -> bool:
        """Whether to stop. Looks for the file, about a microsecond: to be asked in every tick."""
        if not self._reasons and self.file is not None:
            try:
                os.stat(self.file, follow_symlinks=False)  # noqa: PTH116  a third of the time of Path.lstat
                self.engage(f"file {self.file}")
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                self.engage(f"file {self.file} cannot be looked for: {error.strerror}")
        return bool(self._reasons)

    @property
    def reason(self) -> str | None:
        """Why it was engaged first; None while it is not."""
        return self._reasons[0] if self.engaged else None

    async def tell(self, stop: Callable[[str], None]) -> None:
        """Wait until it is engaged, and tell why."""
        while (reason := self.reason) is None:
            await asyncio.sleep(_LOOK_EVERY_S)
        stop(reason)

    @contextmanager
    def signals(self) -> Iterator["KillSwitch"]:
        """Engage on SIGINT (Ctrl-C), SIGTERM and SIGHUP while inside; they no longer end the process by themselves.

        Raises:
            ValueError: This is not the main thread.
        """
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.engage(f"signal {signal.Signals(number).name}")
