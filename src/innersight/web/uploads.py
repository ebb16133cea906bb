"""An image sent to the server: bounded in bytes and pixels before anything decodes it, and kept under its digest."""

import hashlib
import io
import warnings
from collections.abc import AsyncIterator

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from innersight.errors import InnersightError, printable
from innersight.storage.study_folder import StudyFolder
from innersight.study.panels.images import ImageRequest

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 50_000_000
FOLDER = "images"
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tiff", "AVIF": "avif"}


class TooLargeError(InnersightError):
    """Raised for an image of too many bytes or pixels."""


async def read(stream: AsyncIterator[bytes]) -> bytes:
    """Return the body of a request. Raises TooLargeError as soon as it is more than 32 MiB."""
    parts = bytearray()
    async for part in stream:
        parts += part
        if len(parts) > MAX_BYTES:
            raise TooLargeError(f"the image is larger than {MAX_BYTES // 2**20} MiB: send a smaller one")
    return bytes(parts)


def keep(data: bytes, name: str, inside: StudyFolder) -> ImageRequest:
    """Put an image into the study's folder `images` and return the request that adds it.

    Only the header is read here: the process that computes decodes it. Raises TooLargeError for one of more than 50
    million pixels, InnersightError for what is no image.
    """
    suffix = _suffix(data, printable(name))
    file = f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
    if inside.file(FOLDER, file) is None:
        inside.put(data, FOLDER, file)
    return ImageRequest(kind="image", file=file, name=printable(name)[:200])


def _suffix(data: bytes, name: str) -> str:
    if data.startswith(b"\x93NUMPY"):
        return "npy"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            with PILImage.open(io.BytesIO(data), formats=list(SUFFIXES)) as opened:
                width, height, kind = opened.width, opened.height, opened.format
    except PILImage.DecompressionBombError as error:
        raise TooLargeError(f"{name}: more than {MAX_PIXELS:,} pixels; send a smaller image") from error
    # What Pillow throws at damaged headers.
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise InnersightError(f"{name}: not an image; send one of {', '.join(SUFFIXES.values())}, npy") from error
    if width * height > MAX_PIXELS:
        raise TooLargeError(f"{name}: {width}x{height} pixels are more than {MAX_PIXELS:,}; send a smaller image")
    return SUFFIXES[str(kind)]
