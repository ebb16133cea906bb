"""Names of what a study holds: keys of its items, names of its documents. Written and read here only."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote


@dataclass(frozen=True)
class Key:
    """What an item of a study is called.

    Parameters
    ----------
    panel
        Name of the panel that computes the item.
    layer
        Layer that it is about; empty where it is about none.
    part
        What distinguishes it from other items of the panel and layer, such as the units.
    image
        Id of the one image that it is about; empty where it is about the images that the study was made of.

    Examples
    --------
    >>> str(Key("patterns", "blocks/0", "units=1,2"))
    'patterns/blocks%2F0/units=1,2'
    >>> Key.parse("activations@d1/stage1")
    Key(panel='activations', layer='stage1', part='', image='d1')

    """

    panel: str
    layer: str = ""
    part: str = ""
    image: str = ""

    def __str__(self) -> str:
        head = f"{self.panel}@{quote(self.image, safe='')}" if self.image else self.panel
        return f"{head}/{quote(self.layer, safe=' ')}/{self.part}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key that `str` wrote; of any other text some key that no panel has."""
        head, layer, part = (*text.split("/", 2), "", "")[:3]
        panel, _, image = head.partition("@")
        return cls(panel, unquote(layer), part, unquote(image))

    def words(self) -> str:
        """Return what is computed, for people.

        >>> Key("patterns", "stage1", "units=1,2").words()
        'patterns of stage1, units 1, 2'
        """
        layer = f" of {self.layer}" if self.layer else ""
        part = f", {self.part.replace('=', ' ').replace(',', ', ')}" if self.part else ""
        image = f" of image {self.image}" if self.image else ""
        return f"{self.panel}{layer}{image}{part}"


def document_path(key: str) -> tuple[str, ...]:
    """Return the names of the folders and of the file of a document, under the folder of a study.

    >>> document_path("layer/a/b")
    ('web', 'documents', 'layer', 'a%2Fb.json')
    """
    kind, _, name = key.partition("/")
    return ("web", "documents", *((kind, f"{quote(name, safe='')}.json") if name else (f"{kind}.json",)))


def document_key(folder: Path, path: Path) -> str:
    """Return the key of a document file: `layer/a%2Fb.json` is `layer/a/b`.

    >>> document_key(Path("d"), Path("d/layer/a%2Fb.json"))
    'layer/a/b'
    """
    return "/".join(unquote(part) for part in path.relative_to(folder).with_suffix("").parts)
