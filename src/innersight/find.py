"""Find the filter: which units answer to a region of a picture, and to nothing else there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from innersight.boxes import Box, box_of
from innersight.errors import InnersightError, printable
from innersight.files import read_pictures
from innersight.image import Picture, as_picture, stack
from innersight.layers import check_layers, story
from innersight.maps import compute, seen_array
from innersight.model import InputSpec, Model
from innersight.render import figures
from innersight.render.colour import scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Asked = str | tuple[str | Path | Picture, tuple[float, float, float, float]]

DEFINITION = (
    "Score: the geometric mean of share, share again, and fit. Share: of the unit's strongest places over all "
    "pictures, how many lie in the region, relative to how many could; as many places as 5% of the pictures that "
    "show the region, with the maps of all layers brought to the finest grid. Fit: of every row and column of "
    "such a picture the unit's highest place is taken; the average precision with which these tell the rows and "
    "columns that the region reaches from the others (geometric mean of both, averaged over the pictures): a box "
    "is drawn tightly round a thing, so the thing reaches its sides."
)
STRONGEST = 0.05
AT_ONCE = 16
SHOWN = 6
_BOX = re.compile(r"(.+)@([-+\d.,\seE]*)", re.DOTALL)


WHOLE = Box(0, 0, 1, 1)


@dataclass(frozen=True, eq=False)
class Query:
    """A picture with what is asked of it: boxes that show the thing, and boxes that do not.

    Where it has `like`, its other places count as not showing the thing; where it has none, only those in `but_not` do.
    """

    picture: Picture
    like: tuple[Box, ...] = ()
    but_not: tuple[Box, ...] = ()


@dataclass(frozen=True, eq=False)
class Finding:
    """Units of several layers, ranked by how well they answer to a region.

    queries : the pictures, those with the region first. maps : per layer (pictures, units, h, w) float32.
    order : (layer, unit), best first. score, share, fit : per layer (units,) in 0..1; `DEFINITION` defines them.
    area : the region's share of the pictures that show it, 0..1. skipped : one sentence for each file not read.
    """

    model: Model
    queries: tuple[Query, ...]
    maps: dict[str, Tensor]
    order: tuple[tuple[str, int], ...]
    score: dict[str, Tensor]
    share: dict[str, Tensor]
    fit: dict[str, Tensor]
    area: float
    skipped: tuple[str, ...] = ()

    def reason(self, layer: str, unit: int) -> str:
        """Say in one sentence why the unit ranks where it does."""
        share, fit = float(self.share[layer][unit]), float(self.fit[layer][unit])
        return (
            f"{share:.0%} of its strongest places lie in the region ({self.area:.0%} of the area), "
            f"and they reach its sides to {fit:.2f}"
        )

    def rank(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the best `count` units (all when None) as plain rows, best first."""
        return [
            {
                "layer": layer,
                "unit": unit,
                "address": f"{layer}:{unit}",
                "score": float(self.score[layer][unit]),
                "share": float(self.share[layer][unit]),
                "fit": float(self.fit[layer][unit]),
                "reason": self.reason(layer, unit),
            }
            for layer, unit in self.order[:count]
        ]

    def figure(self, *, count: int = 8) -> "Figure":
        """Draw the best units as columns over up to 6 pictures, the boxes outlined; each unit on one scale."""
        best, shown = self.order[:count], self.queries[:SHOWN]
        figure = figures.new_figure(max(5.0, (len(best) + 1) * 1.3), len(shown) * 1.32 + 0.7)
        rest = len(self.queries) - len(shown)
        more = f"; {rest} more pictures not shown" if rest else ""
        title = f"The units that answer to the region (solid; dashed: not this), best first{more}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        axes = figure.subplots(len(shown), len(best) + 1, squeeze=False)
        for row, query in enumerate(shown):
            seen = seen_array(query.picture, self.model)
            axes[row, 0].imshow(seen)
            axes[row, 0].set(xticks=[], yticks=[])
            axes[row, 0].set_title(query.picture.name, fontsize=6, pad=2)
            for column, (layer, unit) in enumerate(best, 1):
                values = self.maps[layer][:, unit]
                figures.draw_map(axes[row, column], values[row], scale_of(values), seen)
                if row == 0:
                    score = float(self.score[layer][unit])
                    axes[row, column].set_title(f"{layer}:{unit}\n{score:.2f}", fontsize=7, pad=2)
            for axis in axes[row]:
                _outline(axis, query, self.model.input)
        return figure

    def to_json(self) -> dict[str, Any]:
        """Return the whole ranking with its definition."""
        return {
            "model": self.model.name,
            "layers": list(self.maps),
            "pictures": [
                {
                    "name": query.picture.name,
                    "like": [[box.x0, box.y0, box.x1, box.y1] for box in query.like],
                    "not": [[box.x0, box.y0, box.x1, box.y1] for box in query.but_not],
                }
                for query in self.queries
            ],
            "area": self.area,
            "skipped": list(self.skipped),
            "definition": DEFINITION,
            "rank": self.rank(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the maps and the scores, as `maps.LAYER`, `score.LAYER`, `share.LAYER` and `fit.LAYER`."""
        kinds = {"maps": self.maps, "score": self.score, "share": self.share, "fit": self.fit}
        return {f"{kind}.{layer}": value for kind, values in kinds.items() for layer, value in values.items()}

    def save(self, path: str | Path) -> Path:
        """Write `.png`, `.json` or `.safetensors`."""
        return figures.save(self, path)

    def _repr_html_(self) -> str:
        return figures.html(self.figure())


def find(
    model: Model,
    like: "Asked | Sequence[Asked]",
    *,
    but_not: "Asked | str | Path | Picture | Sequence[Asked | str | Path | Picture]" = (),
    layers: Sequence[str] | None = None,
    pictures: "Sequence[str | Path | Picture] | str | Path | Picture" = (),
) -> Finding:
    """Rank the units of `layers` by how well they answer to a region; without `layers` those that tell the story.

    like : one or several of `PICTURE@x0,y0,x1,y1`, or (picture, (x0, y0, x1, y1)): a box drawn tightly round the thing,
    as fractions of width and height, 0 to 1. A picture may come several times. but_not : the same, what the thing is
    not; a picture without a box is meant as a whole. pictures : more that do not show the thing at all.

    The score is defined in `innersight.find.DEFINITION`: precision of the strongest places, as in network dissection
    (Bau et al. 2017, arXiv:1704.05796) without its fixed threshold, and the fit of projections to the sides of a box
    (Tian et al. 2021, arXiv:2012.02310). Raises InnersightError for text that is no box, a box outside the picture or
    outside what the network sees of it, no box at all, and layers without places; PictureError for a picture of `like`
    or `but_not` that cannot be read.
    """
    queries = _queries(model.input, _several(like), _several(but_not))
    context, skipped = read_pictures(pictures, model.input) if _given(pictures) else ((), ())
    queries += tuple(Query(picture, but_not=(WHOLE,)) for picture in context)
    names = tuple(dict.fromkeys(layers)) if layers else story(model)
    flat = [layer.name for layer in check_layers(model, names) if layer.grid == (1, 1)]
    if flat:
        raise InnersightError(f"{flat[0]} has no places (grid 1x1), so no region can be found in it; choose another")
    x = stack([query.picture for query in queries], model.input)
    found = rank(model, queries, compute(model, x, names))
    return replace(found, skipped=skipped)


def rank(model: Model, queries: tuple[Query, ...], maps: dict[str, Tensor]) -> Finding:
    """Score maps already computed, per layer (pictures, units, h, w); the pictures with `like` come first."""
    inside, counts = (torch.stack(part) for part in zip(*(_coverage(q, model.input) for q in queries), strict=True))
    shown = sum(bool(query.like) for query in queries)
    finest = max(((values.shape[2], values.shape[3]) for values in maps.values()), key=lambda size: size[0] * size[1])
    region, places = _at(inside, finest), _at(counts, finest)
    share, fit, score = {}, {}, {}
    for layer, values in maps.items():
        # A few units at a time: many units of a coarse layer are large at the finest grid.
        parts = (F.interpolate(part, size=finest, mode="bilinear") for part in torch.split(values, AT_ONCE, dim=1))
        share[layer] = torch.cat([strongest(part, region, places, shown) for part in parts])
        fit[layer] = fits(values[:shown], _at(inside[:shown], (values.shape[2], values.shape[3])))
        answers = values.amax((0, 2, 3)) > values.amin((0, 2, 3))
        score[layer] = (share[layer] ** 2 * fit[layer]) ** (1 / 3) * answers
    addresses = [(layer, unit) for layer in maps for unit in range(maps[layer].shape[1])]
    best = torch.cat(list(score.values())).argsort(descending=True, stable=True).tolist()
    area = float(inside[:shown].mean())
    return Finding(model, queries, maps, tuple(addresses[i] for i in best), score, share, fit, area)


def _at(pixels: Float[Tensor, "P H W"], size: tuple[int, int]) -> Float[Tensor, "P h w"]:
    """Return how much of each place of a grid is covered, from how much of each pixel is."""
    return F.interpolate(pixels[:, None], size=size, mode="area")[:, 0]


def strongest(
    maps: Float[Tensor, "P units h w"], region: Float[Tensor, "P h w"], counts: Float[Tensor, "P h w"], shown: int
) -> Float[Tensor, " units"]:
    """Return how many of each unit's strongest places lie in the region, 0 to 1, relative to how many could.

    region, counts : how much of each place lies in the region, and how much counts at all, 0 to 1. shown : the first
    pictures, that show the region; their places times `STRONGEST` are how many are taken, of all pictures. Places of
    equal value share what is left to take.
    """
    values = maps.transpose(0, 1).flatten(1).double()
    weights, within = counts.flatten().double(), region.flatten().double()
    ordered, order = values.sort(1, descending=True)
    reached = weights[order].cumsum(1)
    wanted = STRONGEST * float(counts[:shown].sum())
    last = (reached < wanted * (1 - 1e-9)).sum(1, keepdim=True).clamp(max=values.shape[1] - 1)
    least = ordered.gather(1, last)
    above, level = (values > least).double(), (values == least).double()
    left = (wanted - above @ weights) / (level @ weights).clamp(min=1e-12)
    taken = above @ within + left.clamp(0, 1) * (level @ within)
    return (taken / min(wanted, float(within.sum()))).clamp(0, 1).float()


def fits(maps: Float[Tensor, "P units h w"], region: Float[Tensor, "P h w"]) -> Float[Tensor, " units"]:
    """Return how well the highest places of each unit's rows and columns tell those that the region reaches, 0 to 1."""
    found = []
    for values, covered in zip(maps.double(), region.double(), strict=True):
        rows = average_precision(values.amax(2), covered.amax(1))
        columns = average_precision(values.amax(1), covered.amax(0))
        found.append((rows * columns).sqrt())
    return torch.stack(found).mean(0).float()


def average_precision(values: Float[Tensor, "units n"], truth: Float[Tensor, " n"]) -> Float[Tensor, " units"]:
    """Return the average precision of each row of values for a truth of 0 to 1 in part; equal values count at once."""
    ordered, order = values.sort(1, descending=True)
    hits = truth[order]
    last = torch.searchsorted(-ordered, (-ordered).contiguous(), right=True) - 1
    precision = hits.cumsum(1).gather(1, last) / (last + 1)
    return (precision * hits).sum(1) / truth.sum().clamp(min=1e-12)


def parse_region(text: str) -> tuple[str, Box | None]:
    """Return the picture and the box of `PICTURE@x0,y0,x1,y1`; None where no box follows.

    Raises InnersightError for four numbers that are no box within the picture, and for another count of numbers.

    >>> parse_region("a.jpg@0.2,0.1,0.6,0.5")
    ('a.jpg', Box(x0=0.2, y0=0.1, x1=0.6, y1=0.5))
    """
    match = _BOX.fullmatch(text)
    if not match:
        return text, None
    shown = printable(text)
    try:
        corners = tuple(float(number) for number in match[2].split(","))
    except ValueError as error:
        raise InnersightError(f"{shown!r}: {match[2]!r} are not four numbers; write PICTURE@x0,y0,x1,y1") from error
    return match[1], _region(corners, shown)


def _region(corners: Sequence[float], shown: str) -> Box:
    if len(corners) != 4:
        raise InnersightError(f"{shown!r}: a box has four numbers, not {len(corners)}; write PICTURE@x0,y0,x1,y1")
    return box_of(corners, repr(shown))


def _several(asked: Any) -> list[Any]:
    """Return one or several of what was asked as a list; a pair of picture and corners is one."""
    pair = isinstance(asked, tuple) and len(asked) == 2 and not isinstance(asked[1], str | Path | Picture | tuple)
    pair = pair or (isinstance(asked, tuple) and len(asked) == 2 and _corners(asked[1]))
    return [asked] if pair or isinstance(asked, str | Path | Picture) else list(asked)


def _corners(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(number, int | float) for number in value)


def _given(pictures: Any) -> bool:
    return not isinstance(pictures, list | tuple) or len(pictures) > 0


def _queries(spec: InputSpec, like: Sequence[Any], but_not: Sequence[Any]) -> tuple[Query, ...]:
    """Return each picture once with all that is asked of it, those with `like` first."""
    found: dict[Any, Query] = {}
    for kind, several in (("like", like), ("but_not", but_not)):
        for asked in several:
            source, box = _asked(asked)
            if box is None and kind == "like":
                raise InnersightError(f"like={printable(source)!r} has no box; write PICTURE@x0,y0,x1,y1, 0 to 1")
            key = str(source) if isinstance(source, str | Path) else id(source)
            query = found.get(key) or Query(as_picture(source).checked(spec))
            if kind == "like":
                found[key] = replace(query, like=(*query.like, box or WHOLE))
            else:
                found[key] = replace(query, but_not=(*query.but_not, box or WHOLE))
    queries = sorted(found.values(), key=lambda query: not query.like)
    if not like:
        raise InnersightError("find needs a region: give like=['PICTURE@x0,y0,x1,y1'], 0 to 1 (--like)")
    for query in queries:
        if query.like and not _coverage(query, spec)[0].any():
            why = (
                "--not takes all of it off" if query.but_not else "the network is shown the middle of the picture only"
            )
            raise InnersightError(f"{query.picture.name}: nothing of the region is left; {why}: choose another box")
    return tuple(queries)


def _asked(asked: Any) -> tuple[Any, Box | None]:
    if isinstance(asked, str):
        return parse_region(asked)
    if isinstance(asked, tuple):
        if len(asked) != 2 or not _corners(asked[1]):
            raise InnersightError(f"{printable(asked)!r} is no region; give (picture, (x0, y0, x1, y1))")
        source, corners = asked
        return source, _region(corners, printable(source.name if isinstance(source, Picture) else source))
    return asked, None


def _coverage(query: Query, spec: InputSpec) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Return how much of each pixel of the network's input lies in the region, and how much counts at all, 0 to 1."""
    inside = _union(query.like, query.picture, spec)
    excluded = _union(query.but_not, query.picture, spec)
    return torch.minimum(inside, 1 - excluded), torch.ones_like(inside) if query.like else excluded


def _union(boxes: Sequence[Box], picture: Picture, spec: InputSpec) -> Float[Tensor, "H W"]:
    seen = picture.box(spec)
    total = torch.zeros(spec.height, spec.width)
    for box in boxes:
        across = _overlap(box.x0 * picture.width, box.x1 * picture.width, seen.left, seen.width, spec.width)
        down = _overlap(box.y0 * picture.height, box.y1 * picture.height, seen.top, seen.height, spec.height)
        total = torch.maximum(total, down[:, None] * across)
    return total


def _overlap(low: float, high: float, start: float, length: float, count: int) -> Float[Tensor, " count"]:
    """Return how much of each of `count` equal cells of an interval lies between low and high, 0 to 1."""
    edges = start + torch.arange(count + 1, dtype=torch.float64) * (length / count)
    overlap = edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)
    return (overlap.clamp(min=0) / (length / count)).float()


def _outline(axis: Any, query: Query, spec: InputSpec) -> None:
    """Draw the boxes over what the network sees; whole pictures have none."""
    from matplotlib.patches import Rectangle

    seen = query.picture.box(spec)
    for boxes, style in ((query.like, "-"), (query.but_not, "--")):
        for box in boxes:
            if box == WHOLE:
                continue
            left = (box.x0 * query.picture.width - seen.left) / seen.width * spec.width
            top = (box.y0 * query.picture.height - seen.top) / seen.height * spec.height
            width = (box.x1 - box.x0) * query.picture.width / seen.width * spec.width
            height = (box.y1 - box.y0) * query.picture.height / seen.height * spec.height
            for colour, thick in (("black", 2.2), ("#ffd43b", 1.1)):
                edge = Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=thick, ls=style)
                axis.add_patch(edge)
