"""Carry out items one by one, each kept as soon as it is finished."""

import time
from collections.abc import Callable, Iterable, Iterator

from innersight.errors import InnersightError
from innersight.storage.store import Store
from innersight.study.ask import Work

Watch = Callable[[int, int, str], None]
Failed = Callable[[str, InnersightError], None]


def carry_out(
    store: Store, work: Iterable[Work], watch: Watch | None = None, failed: Failed | None = None
) -> Iterator[tuple[str, bool]]:
    """Compute the items that are not done with the same settings; yield each key, and whether it was computed.

    watch : called with (items done, items in all, name of the next one). failed : told of an item that cannot be made,
    which is left out where it returns; without it the error ends the work. The caller holds the lock of the store.
    """
    work = list(work)
    for number, (key, settings, make) in enumerate(work):
        if watch:
            watch(number, len(work), key)
        missing = not store.done(key, settings)
        if missing:
            start = time.perf_counter()
            try:
                document, tensors = make()
            except InnersightError as error:
                if failed is None:
                    raise
                failed(key, error)
                continue
            store.put(key, settings, document, tensors, time.perf_counter() - start)
        yield key, missing
    if watch:
        watch(len(work), len(work), "done")
