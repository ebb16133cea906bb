"""Files are written whole or not at all: beside their place first, then put there in one step."""

import errno
import os
import platform
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from innersight.errors import WriteError, printable

if TYPE_CHECKING:
    from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_text(path: str | Path, text: str) -> Path:
    """Write text as UTF-8 with LF line ends. Raises WriteError, and then what stood there before is as it was."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write bytes; as `write_text`."""
    with replacing(path) as partial:
        partial.write_bytes(data)
    return Path(path)


def write_tensors(
    path: str | Path,
    tensors: "Mapping[str, Tensor]",
    facts: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> Path:
    """Write a safetensors file with `facts` in its header; as `write_text`.

    durable : wait until it is on the disk, where losing power must not lose it.
    """
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file(plain, partial, dict(facts) if facts else None)
        if durable:
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
    return Path(path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a path of the same name in a new folder beside `path`; what is written there takes its place at the end.

    What is written may be a file or a folder. Where the block raises, or the process is killed, `path` is as it was;
    the next process that writes there removes what a killed one left. Pipes and devices are written directly.

    Raises WriteError, which names `path`, where it cannot be written.
    """
    path = Path(path)
    with naming(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(path.parent) as own:
            yield own / path.name
            # A folder takes the place of an empty one only.
            if (own / path.name).is_dir() and path.is_dir():
                path.replace(own / f"{path.name}.before")
            (own / path.name).replace(path)


@contextmanager
def filling(folder: str | Path) -> Iterator[Path]:
    """Give a new folder; at the end it becomes `folder`, or what was written there is moved into the one there is.

    Other files of `folder` stay. Where the block raises it is as it was, and where the process is killed too, but for
    the moment in which files are moved into a folder that was there. Raises WriteError, which names `folder`.
    """
    folder = Path(folder)
    if not folder.exists():
        with replacing(folder) as whole:
            whole.mkdir()
            yield whole
        return
    with naming(folder), _beside(folder) as own:
        yield own
        for root, _, files in os.walk(own):
            place = folder / Path(root).relative_to(own)
            place.mkdir(exist_ok=True)
            for file in files:
                (Path(root) / file).replace(place / file)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into a WriteError that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _about_writing(error, path):
            raise
        raise WriteError(path, _reason(error), full=is_full(error)) from error


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Inside, threads that fail to write print no traceback: those who gave them the work raise the error again."""
    before = threading.excepthook

    def hook(args: Any) -> None:
        if not isinstance(args.exc_value, OSError):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that there is no room for a file: the disk, a quota or a limit of sizes is reached."""
    if isinstance(error, OSError):
        return error.errno in FULL
    number = re.search(r"os error (\d+)", str(error))
    return "No space left on device" in str(error) or (number is not None and int(number[1]) in FULL)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine left in `folder` on their way to write into it."""
    with os.scandir(folder) as entries:
        left = [e for e in entries if e.name.startswith(_prefix()) and e.is_dir(follow_symlinks=False)]
    for entry in left:
        process = entry.name.removeprefix(_prefix()).partition("-")[0]
        if process.isdecimal() and not _alive(int(process)):
            shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    _remove_leftovers_once(str(folder.absolute()), os.getpid())
    own = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=folder))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _prefix() -> str:
    return f".innersight-{platform.node()[:60]}-"


@lru_cache(1024)
def _remove_leftovers_once(folder: str, _process: int) -> None:
    """Spare listing a folder for every file that is written there; a fork is another process."""
    remove_leftovers(Path(folder))


def _alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere asking may end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _about_writing(error: Exception, path: Path) -> bool:
    """Whether the error is about `path` or what is written in its place, and not about a file that was to be read."""
    if isinstance(error, SafetensorError):
        return "I/O error" in str(error)
    named = getattr(error, "filename", None)
    if named is None or isinstance(named, int):
        return True
    place = Path(os.path.abspath(os.fsdecode(named)))
    target = Path(os.path.abspath(path))
    return place in (target, *target.parents) or any(part.startswith(_prefix()) for part in place.parts)


def _reason(error: Exception) -> str:
    if is_full(error) and getattr(error, "errno", None) != errno.EFBIG:
        return "the disk is full"
    return printable(getattr(error, "strerror", None) or error)
