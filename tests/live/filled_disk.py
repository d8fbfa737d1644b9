"""A session through a real socket on a disk that fills up. Run as `filled_disk.py FOLDER COPY`: FOLDER is the disk.

Prints what happened as JSON, and leaves the journal as COPY, because the disk may end with the process.
"""

import json
import shutil
import sys
from pathlib import Path

from hftgym.live.journal import JournalError, SessionJournal, read_session
from hftgym.live.paper import PaperBroker
from hftgym.live.recovery import recover
from tests.live.faulted import QUICK, Quoting, messages, rows, through_a_socket
from tests.tapes import random_tape


class Watched(PaperBroker):
    """Notes what rests when everything is to be cancelled, and afterwards."""

    in_market: tuple = ()

    async def cancel_all(self):
        before = self.in_flight()
        await super().cancel_all()
        Watched.in_market = (before, self.in_flight())


def main(folder, copy):
    events = rows(random_tape(7))
    error, journal = None, SessionJournal(folder / "journal")
    try:
        through_a_socket(events, [messages(events)], limits=QUICK, journal=journal, broker=Watched, policy=Quoting())
    except JournalError as full:
        error = str(full)
    journal.close()
    kinds = [record.kind for record in read_session(folder / "journal")]
    left = recover(folder / "journal")
    shutil.copy(folder / "journal", copy)
    told = {"error": error, "in_market": Watched.in_market, "records": len(kinds), "stop": left.stop}
    print(json.dumps({**told, "cash": left.cash, "inventory": left.inventory, "ticks": left.ticks}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
