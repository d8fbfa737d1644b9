"""The info of a batch: a dictionary that is copied out of the environments when it is first read."""

from collections.abc import Callable
from typing import Any


class BatchInfo(dict[str, Any]):
    """A `dict` of arrays, filled at the first look into it.

    Copying eleven arrays per step would cost a third of the batch's speed, and most callers read one of them or none.
    The values are those of the step that returned the info; looking for the first time after a further step raises,
    because they are gone. `dict(info)` makes an ordinary copy.
    """

    def __init__(self, read: Callable[[], dict[str, Any]], extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._read: Callable[[], dict[str, Any]] | None = read

    def _fill(self) -> None:
        if self._read is not None:
            values = self._read()
            self._read = None
            for key, value in values.items():
                dict.setdefault(self, key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as an ordinary dictionary."""
        return dict, (dict(self),)


def _after_filling(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def call(self: BatchInfo, *args: Any, **kwargs: Any) -> Any:
        self._fill()
        return method(self, *args, **kwargs)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


for _name in (
    *("__getitem__", "__contains__", "__iter__", "__len__", "__eq__", "__ne__", "__repr__", "__or__", "__ror__"),
    *("__delitem__", "__reversed__", "keys", "values", "items", "get", "pop", "popitem", "setdefault", "copy", "clear"),
):
    setattr(BatchInfo, _name, _after_filling(_name))
