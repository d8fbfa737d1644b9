"""Names of orders that are never used twice, whatever happens to the process."""

import re
from dataclasses import dataclass

# Letters and digits alone, and at most 32: what every venue takes.
OWN = "hft"
_SESSION = re.compile(r"[0-9a-z]{1,16}")


@dataclass(slots=True)
class OrderIds:
    """Numbers orders: `hft<session>n<number>`.

    After a restart the journal gives the session and its next number, so that a name never stands for two orders and
    an order that was sent twice is refused by the venue the second time.

    Args:
        session: 1 to 16 small letters and digits.
        next_number: The first number that was not given away.

    Raises:
        ValueError: The session is spelled otherwise, or the number is negative.
    """

    session: str
    next_number: int = 0

    def __post_init__(self) -> None:
        if not _SESSION.fullmatch(self.session):
            raise ValueError(f"session must be 1 to 16 letters a-z and digits, got {self.session!r}")
        if self.next_number < 0:
            raise ValueError(f"next_number must be at least 0, got {self.next_number}")

    def take(self) -> str:
        """Return the next name."""
        self.next_number += 1
        return f"{OWN}{self.session}n{self.next_number - 1:010d}"


def is_own(order_id: str | None) -> bool:
    """Whether a session of this project has named the order."""
    return bool(order_id) and re.fullmatch(rf"{OWN}[0-9a-z]{{1,16}}n[0-9]{{10,}}", str(order_id)) is not None
