"""What a scan keeps of one image."""

from dataclasses import dataclass, field

from innersight.scan.scores import ClassScores


@dataclass(frozen=True)
class Record:
    """An image of the scan.

    label : the name of its class in its source. class_ : number of the model's class, or -1. phash : its perceptual
    hash. stamp, digest : see `innersight.inputs.ImageEntry`. broken : why it could not be read. prediction : what the
    network makes of it; None where it gives no numbers. trained : whether the network was trained on it, as far as its
    run records that; None where it has no record.
    """

    number: int
    name: str
    label: str | None
    class_: int
    phash: int
    stamp: str = ""
    digest: str = ""
    broken: str | None = None
    prediction: ClassScores | None = field(default=None, repr=False)
    trained: bool | None = None
