"""Short animations: frames into one file."""

import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from innersight.errors import InnersightError
from innersight.render.formats import FILMS, check
from innersight.storage.writing import write_bytes

HELD = 5  # times as long as the others the last frame is shown


def write_film(path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], seconds: float) -> Path:
    """Write frames of one size as the animation that the file's ending names.

    seconds : how long each is shown. Raises InnersightError for another ending and a time out of range, and where
    `ffmpeg` is needed and missing.
    """
    check([path], FILMS)
    if not (math.isfinite(seconds) and 0.02 <= seconds <= 60):
        raise InnersightError(f"seconds={seconds}: give a time from 0.02 to 60")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise InnersightError(f"{path}: .mp4 needs the program ffmpeg; install it, or write .webp or .gif")
    images = list(frames)
    if path.suffix == ".mp4":
        return write_bytes(path, _mp4(images, seconds))
    first, *rest = [PILImage.fromarray(image) for image in images]
    times = [round(1000 * seconds)] * len(rest) + [round(1000 * seconds * HELD)]
    buffer = io.BytesIO()
    how = {"quality": 85, "method": 4} if path.suffix == ".webp" else {"optimize": True}
    first.save(buffer, path.suffix[1:], save_all=True, append_images=rest, duration=times, loop=0, **how)
    return write_bytes(path, buffer.getvalue())


def _mp4(images: list[UInt8[np.ndarray, "H W 3"]], seconds: float) -> bytes:
    height, width = images[0].shape[:2]
    # Players want an even number of pixels.
    even = [image[: height // 2 * 2, : width // 2 * 2] for image in images]
    shown = even + even[-1:] * (HELD - 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "film.mp4")
        size, rate = f"{width // 2 * 2}x{height // 2 * 2}", f"{1 / seconds:.6f}"
        command = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate]
        command += ["-i", "-", "-r", "30", "-pix_fmt", "yuv420p", str(file)]
        made = subprocess.run(command, input=b"".join(image.tobytes() for image in shown), capture_output=True)
        if made.returncode:
            raise InnersightError(f"ffmpeg could not write the film: {made.stderr.decode(errors='replace').strip()}")
        return file.read_bytes()
