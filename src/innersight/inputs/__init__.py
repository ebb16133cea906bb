"""The one way to be given images: files, folders, tar files, data sets, arrays, tensors; decoded ahead by threads."""

from innersight.inputs.entry import ImageEntry, entries
from innersight.inputs.kinds import Given, given, is_empty, repeatable
from innersight.inputs.labels import Label, class_of, label_notes
from innersight.inputs.numbers import again, by_number, chosen, count
from innersight.inputs.reader import ImageReader, Images, read, read_one
from innersight.inputs.reading import Loaded, ahead, batched, content_of, network_input, stream, threads
from innersight.inputs.tensors import Assumed

__all__ = [
    "Assumed",
    "Given",
    "ImageEntry",
    "ImageReader",
    "Images",
    "Label",
    "Loaded",
    "again",
    "ahead",
    "batched",
    "by_number",
    "chosen",
    "class_of",
    "content_of",
    "count",
    "entries",
    "given",
    "is_empty",
    "label_notes",
    "network_input",
    "read",
    "read_one",
    "repeatable",
    "stream",
    "threads",
]
