"""What the readers of JSON messages share: parsing one line, checking its fields, and saying what is wrong with it."""

import json
import re
from typing import Any

LARGEST = 1e18  # no price and no size of any market comes near; above, a field was misread or mangled

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class BadLineError(ValueError):
    """Why a line cannot be read."""


def parse_object(line: bytes, at: int) -> dict[str, Any]:
    """Return the JSON object that begins at a place of the line and fills it to its end."""
    try:
        message = json.loads(line[at:].decode())
    except UnicodeDecodeError as error:
        raise BadLineError(f"not UTF-8 text at column {error.start + at + 1}") from None
    except json.JSONDecodeError as error:
        what = "broken JSON" if line.endswith((b"}", b"}\r")) else "the line is cut off"
        raise BadLineError(f"{what}: {error.msg} at column {error.pos + at + 1}") from None
    except RecursionError:
        raise BadLineError("JSON nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise BadLineError(f"broken JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadLineError(f"the JSON must be an object, got {shown(message)}")
    return message


def positive(text: object, key: str) -> float:
    """Return a decimal in quotes, above 0 and below `LARGEST`."""
    value = decimal(text)
    if not 0.0 < value < LARGEST:
        raise BadLineError(f"field {key!r} must be a decimal in quotes, above 0 and below 1e18, got {shown(text)}")
    return value


def decimal(text: object) -> float:
    """Return the value of a decimal in quotes; anything else is NaN."""
    # Python's own spelling of numbers is wider than a venue's: no underscores, spaces or digits of other scripts.
    return float(text) if isinstance(text, str) and _DECIMAL.fullmatch(text) else float("nan")


def name(value: object, key: str) -> str:
    """Return a name that can be printed."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 64:
        raise BadLineError(f"field {key!r} must be a name, got {shown(value)}")
    return value


def shown(value: object) -> str:
    """Return a short text that can be printed anywhere."""
    if value is None:
        return "nothing"
    return ascii(value)[:60] if isinstance(value, str | int | float) else f"a JSON {type(value).__name__}"
