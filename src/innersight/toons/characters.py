"""The cast, as data: a new character is one more entry here.

Teal hair, round glasses, hats, stripes, red and ochre clothes are each worn by several, so that it
takes a part's shape, or two parts together, to give a character away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .canvas import Rgb, rgb


@dataclass(frozen=True)
class Character:
    """What always holds for one character; everything else is the scene's."""

    name: str
    summary: str
    head: str
    hair: str
    hair_colour: Rgb
    eye_colour: Rgb
    clothes: str
    clothes_colour: Rgb
    second_colour: Rgb
    accessories: tuple[tuple[str, Rgb], ...]
    lashes: bool = False
    freckles: bool = False

    def in_colours_of(self, other: Character) -> Character:
        """Return this character in the colours of another: hair, eyes, clothes and accessories; shapes stay."""
        own, others = self.accessories, [colour for _, colour in other.accessories]
        return replace(
            self,
            hair_colour=other.hair_colour,
            eye_colour=other.eye_colour,
            clothes_colour=other.clothes_colour,
            second_colour=other.second_colour,
            accessories=tuple((kind, others[i % len(others)]) for i, (kind, _) in enumerate(own)),
        )


TEAL = rgb("1fa9a3")
RED = rgb("d6453f")
OCHRE = rgb("e0a13a")
CREAM = rgb("fbf1dc")
NAVY = rgb("34508c")
PLUM = rgb("7b4aa3")
CORAL = rgb("ff7f6b")
GREEN = rgb("58b04a")

# fmt: off
CAST: dict[str, Character] = {
    c.name: c
    for c in (
        Character(
            "ambra", "tall teal swirl of hair with a coral flower, ochre dress",
            "oval", "swirl", TEAL, rgb("5b3f8f"), "dress", OCHRE, CREAM,
            (("flower", CORAL),), lashes=True,
        ),
        Character(
            "bosk", "green mohawk, eye patch, red jacket",
            "square", "mohawk", GREEN, rgb("3d6fb0"), "jacket", RED, rgb("3f3a4f"),
            (("patch", rgb("2f2b3d")),),
        ),
        Character(
            "corvo", "bald but for teal tufts and moustache, plum top hat, ochre coat",
            "round", "moustache", TEAL, rgb("6b4a2e"), "jacket", OCHRE, CREAM,
            (("tophat", PLUM),),
        ),
        Character(
            "dulci", "two raspberry puffs, round glasses, navy stripes",
            "round", "puffs", rgb("d8407f"), rgb("3b7a57"), "stripes", CREAM, NAVY,
            (("glasses", rgb("3a2f52")),), lashes=True,
        ),
        Character(
            "elke", "long silver braids, jewelled headband, red pullover with a zigzag",
            "oval", "braids", rgb("c9d0de"), rgb("3f86c4"), "zigzag", RED, CREAM,
            (("headband", OCHRE),), lashes=True,
        ),
        Character(
            "fenno", "orange spikes, teal headphones, green hoodie",
            "pear", "spikes", rgb("f0812d"), rgb("4b7d3c"), "hoodie", GREEN, CREAM,
            (("headphones", TEAL),), freckles=True,
        ),
        Character(
            "gilda", "round red curls, round glasses, navy dungarees",
            "round", "curls", RED, rgb("3b7a57"), "dungarees", CREAM, NAVY,
            (("glasses", rgb("3a2f52")),), freckles=True,
        ),
        Character(
            "hessa", "plum head scarf with a golden brooch over a dark lock, teal robe",
            "oval", "lock", rgb("4a3145"), rgb("7a5230"), "robe", TEAL, CREAM,
            (("scarf", PLUM), ("brooch", OCHRE)), lashes=True,
        ),
        Character(
            "ilko", "navy cap with a visor, dark short hair, red stripes",
            "square", "short", rgb("4a3145"), rgb("7a5230"), "stripes", CREAM, RED,
            (("cap", NAVY),),
        ),
        Character(
            "jory", "teal bob with a fringe, coral bow tie, cream shirt with plum braces",
            "pear", "bob", TEAL, rgb("5b3f8f"), "braces", CREAM, PLUM,
            (("bowtie", CORAL),),
        ),
    )
}
# fmt: on

SKINS: tuple[Rgb, ...] = tuple(
    rgb(c) for c in ("f6cdb4", "e3a582", "b97a56", "8a5a44", "c3aee6", "a9d5c4", "a8c5ea", "f2a7a0", "a4cda0", "d99bb8")
)
