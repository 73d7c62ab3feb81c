"""The same work in several processes, results in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from forethought.errors import UsageError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_work: Callable[[Any], Any] | None = None  # set in a worker process only


def spread(one: Callable[[ItemT], ResultT], items: Sequence[ItemT], workers: int) -> Iterator[ResultT]:
    """`map(one, items)` over `workers` processes of one torch thread each; with one worker, in this process.

    Workers inherit `one` by forking, so agents need not be picklable. Raises UsageError where there is no fork.
    """
    if workers < 1:
        raise UsageError(f"got {workers} workers, expected at least 1")
    if workers == 1:
        yield from map(one, items)
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise UsageError(f"got {workers} workers, but this system cannot fork processes; use workers=1")
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, initializer=_adopt, initargs=(one,)) as pool:
        yield from pool.map(_call, items)


def _adopt(one: Callable[[Any], Any]) -> None:
    global _work
    torch.set_num_threads(1)
    _work = one


def _call(item: Any) -> Any:
    assert _work is not None
    return _work(item)
