"""A stream of texts through a caller: several batches under way, results as they come, memory flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_flight(
    work: Callable[[_In], _Out], items: Iterable[_In], *, workers: int
) -> Iterator[tuple[_In, _Out]]:
    """(item, work(item)) in the order in which they finish, `workers` of them under way at once.

    Items are drawn as room comes, so a stream is never held whole. When one fails, no further one is begun,
    those under way are waited for and yielded, and then the first error is raised: what was paid for is not
    thrown away. A consumer that stops early stops the work too.
    """
    source = iter(items)
    if workers == 1:
        for item in source:
            yield item, work(item)
        return
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="omop-emb")
    under_way: dict[Future[_Out], _In] = {}
    error: BaseException | None = None
    try:
        while True:
            # Some more than there are workers, so that none of them idles while the consumer is busy.
            while error is None and len(under_way) < workers + max(2, workers // 2):
                try:
                    item = next(source)
                except StopIteration:
                    break
                under_way[pool.submit(work, item)] = item
            if not under_way:
                break
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                item = under_way.pop(future)
                if future.cancelled():
                    continue
                failed = future.exception()
                if failed is None:
                    yield item, future.result()
                elif error is None:
                    error = failed
                    for waiting in under_way:
                        waiting.cancel()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if error is not None:
        raise error
