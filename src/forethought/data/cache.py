"""A cache bounded in bytes: what was used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class ByteCache(Generic[K, V]):
    """Values by key, at most `limit` bytes of them as `size` counts them; a value larger than that is never kept.

    >>> cache = ByteCache[str, bytes](10, len)
    >>> for name in ("a", "b", "c"):
    ...     cache.put(name, b"12345")
    >>> cache.get("a"), cache.get("c"), cache.bytes
    (None, b'12345', 10)
    """

    def __init__(self, limit: int, size: Callable[[V], int]) -> None:
        self.limit, self.bytes = limit, 0
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, or None."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, at the cost of older ones."""
        if key in self._values:
            self.bytes -= self._size(self._values.pop(key))
        if self._size(value) > self.limit:
            return
        self._values[key] = value
        self.bytes += self._size(value)
        while self.bytes > self.limit:
            self.bytes -= self._size(self._values.popitem(last=False)[1])
