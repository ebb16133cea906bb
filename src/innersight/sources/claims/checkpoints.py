"""What `torch.save` wrote: an archive with a pickle and an entry for each storage; before torch 1.6, one stream."""

import io
from io import BufferedIOBase

from innersight.errors import InnersightError, printable
from innersight.sources.claims import pickles
from innersight.sources.claims.archives import archive, is_archive, read_entry
from innersight.sources.claims.pickles import MAX_PICKLE, Declared, ForeignError
from innersight.storage.bounded import check_claim, reading

WHAT = "checkpoint of weights"
MAGIC = 0x1950A86A20F9469CFC6C


def check_checkpoint(file: BufferedIOBase, where: str) -> None:
    """Raise InnersightError unless a file holds tensors and plain containers only, and all that it declares.

    where : the file's name, for messages.
    """
    if is_archive(file):
        declared = _archived(file, where)
    else:
        declared = _streamed(file, where)
        if sum(declared.storages.values()) > file.seek(0, 2):
            raise InnersightError(
                f"{where}: refused, its tensors claim {sum(declared.storages.values()):,} bytes in a file of "
                f"{file.seek(0, 2):,}: it is cut off or damaged"
            )
    check_claim(declared.tensors, file.seek(0, 2), where)
    file.seek(0)


def _archived(file: BufferedIOBase, where: str) -> Declared:
    with archive(file, where, what=WHAT) as found:
        sizes = {entry.filename: entry.file_size for entry in found.infolist()}
        _check_kind({name.partition("/")[2] for name in sizes}, where)
        name = next(name for name in sizes if name.partition("/")[2] == "data.pkl")
        content = read_entry(found, name, where, limit=MAX_PICKLE)
    declared = _declared(io.BytesIO(content), where)
    for key, size in declared.storages.items():
        held = sizes.get(f"{name.removesuffix('.pkl')}/{key}", 0)
        # torch itself would read on behind the entry.
        if held < size:
            raise InnersightError(f"{where}: refused, its storage {printable(key)} claims {size:,} bytes of {held:,}")
    return declared


def _check_kind(names: set[str], where: str) -> None:
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise InnersightError(
            f"{where}: a TorchScript program, whose layers cannot be read: load the Python network it was made from, "
            "or a torch.export of it with pt2:FILE"
        )
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        raise InnersightError(f"{where}: a program of torch.export: write pt2:{where}")
    if "data.pkl" not in names:
        raise InnersightError(f"{where}: not a readable {WHAT} (an archive without data.pkl)")


def _streamed(file: BufferedIOBase, where: str) -> Declared:
    """Read the four pickles of the older format, up to the bytes of the storages."""
    if _declared(file, where).value != MAGIC:
        raise InnersightError(f"{where}: not a readable {WHAT}: torch.save() did not write it")
    for _ in range(2):
        _declared(file, where)
    return _declared(file, where)


def _declared(file: BufferedIOBase, where: str) -> Declared:
    try:
        with reading(where, WHAT):
            return pickles.declared(file)
    except ForeignError as error:
        raise InnersightError(_foreign(where, error)) from error
    except InnersightError as error:
        raise error if str(error).startswith(where) else InnersightError(f"{where}: refused, {error}") from error


def _foreign(where: str, error: ForeignError) -> str:
    name = printable(error.name)
    if error.whole:
        return (
            f"{where}: refused, the file holds Python objects that would run code when read, a whole {name}: where you "
            "trust it, net = torch.load(FILE, weights_only=False) and innersight.load(net), or save net.state_dict() "
            "and load that into the network that a function of yours returns: python:MODULE:FUNCTION?checkpoint=FILE"
        )
    return (
        f"{where}: refused, the file holds Python objects that would run code when read ({name}); save the network's "
        "state_dict() with safetensors, and keep hyperparameters plain numbers and texts"
    )
