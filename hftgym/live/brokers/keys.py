"""Keys of accounts: from the environment or a keyring, and never in anything that is printed."""

import os
import re
from dataclasses import dataclass
from importlib import import_module

_LONGEST = 200  # of an error's text
_QUERY = re.compile(r"\?[^\s\"']*")


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The key and secret of one account; neither can be printed by accident."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Keys(hidden)"

    def hidden(self, text: object) -> str:
        """Return a short text without keys, and without the queries of addresses, which hold signatures."""
        clean = str(text)
        for value in (self.key, self.secret):
            clean = clean.replace(value, "(hidden)") if value else clean
        return _QUERY.sub("?(hidden)", clean)[:_LONGEST]

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse: a pickle would hold the keys in plain text."""
        raise TypeError("keys cannot be pickled")


def find_keys(venue: str) -> Keys:
    """Return the keys of a venue's account.

    `HFTGYM_<VENUE>_KEY` and `HFTGYM_<VENUE>_SECRET` in the environment; otherwise, where the package `keyring` is
    installed, the entries `key` and `secret` of the service `hftgym-<venue>`.

    Args:
        venue: Its name in small letters, such as "binance".

    Raises:
        LookupError: One of the two is nowhere.
    """
    found = [_find(venue, name) for name in ("key", "secret")]
    if not all(found):
        raise LookupError(
            f"no keys for {venue}: set {_variable(venue, 'key')} and {_variable(venue, 'secret')}, or store "
            f"them with `keyring set hftgym-{venue} key` and `keyring set hftgym-{venue} secret`"
        )
    return Keys(str(found[0]), str(found[1]))


def _variable(venue: str, name: str) -> str:
    return f"HFTGYM_{venue}_{name}".upper()


def _find(venue: str, name: str) -> str | None:
    if value := os.environ.get(_variable(venue, name)):
        return value
    try:
        keyring = import_module("keyring")
    except ImportError:
        return None
    return keyring.get_password(f"hftgym-{venue}", name)
