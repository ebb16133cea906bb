"""HDF5 files of Keras (.h5, the weights in .keras): what their datasets declare, and that nothing is elsewhere."""

import math
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from innersight.errors import InnersightError, MissingExtraError, printable
from innersight.storage.bounded import check_claim, reading


def check_hdf5(file: BufferedIOBase, where: str, *, present: int) -> None:
    """Raise InnersightError unless all data of an HDF5 file is in the file, and no more is declared than it can hold.

    where : its name, for messages. present : its bytes. Raises InnersightError for links and datasets that are in other
    files, which the library would open, and MissingExtraError without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "keras") from error
    with reading(where, "HDF5 file"), h5py.File(file, "r") as found:
        check_claim(sum(_claims(h5py, found, where)), present, where)


def _claims(h5py: Any, root: Any, where: str) -> Iterator[int]:
    """Yield the bytes that each dataset and attribute declares; every object once, as groups may hold each other."""
    waiting, seen = [root], set()
    while waiting:
        item = waiting.pop()
        token = h5py.h5o.get_info(item.id).addr
        if token in seen:
            continue
        seen.add(token)
        attributes = [item.attrs.get_id(name) for name in item.attrs]
        yield sum(math.prod(one.shape or ()) * one.dtype.itemsize for one in attributes)
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise InnersightError(f"{where}: refused, the values of {printable(item.name)} are in another file")
            yield item.nbytes
        elif isinstance(item, h5py.Group):
            for name in item:
                if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                    raise InnersightError(f"{where}: refused, {printable(name)} is a link to something else")
                waiting.append(item[name])
