"""Concurrent map: a function over a stream in several threads, results as they finish, memory flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def concurrent_map(
    work: Callable[[_In], _Out], items: Iterable[_In], *, workers: int
) -> Iterator[tuple[_In, _Out]]:
    """(item, work(item)) in the order in which they finish, `workers` of them running at the same time.

    Items are read only as workers become free. After a failure no further item is started; the running ones
    are awaited and yielded, since they were paid for, and then the first error is raised. A consumer that
    stops early stops the work too.
    """
    source = iter(items)
    if workers == 1:
        for item in source:
            yield item, work(item)
        return
    # Some more than there are workers, so that none of them idles while the consumer is busy.
    max_started = workers + max(2, workers // 2)
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="omop-emb")
    started: dict[Future[_Out], _In] = {}
    first_error: BaseException | None = None
    try:
        while True:
            if first_error is None:
                for item in islice(source, max_started - len(started)):
                    started[pool.submit(work, item)] = item
            if not started:
                break
            for future in wait(started, return_when=FIRST_COMPLETED).done:
                item = started.pop(future)
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield item, future.result()
                elif first_error is None:
                    first_error = error
                    for waiting in started:
                        waiting.cancel()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if first_error is not None:
        raise first_error
