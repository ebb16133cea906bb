"""What every result offers: a figure, files, a display in notebooks, plain data, raw values."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from innersight.brief import brief
from innersight.registry import Registry, word
from innersight.render import formats
from innersight.render.figures import html, save_figure
from innersight.storage.writing import write_tensors, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

figures: "Registry[Callable[..., Figure]]" = Registry("figure", "innersight.plots")
"""A figure is a function of a result, registered under the name of the result's class: `activation_maps` draws an
`ActivationMaps`. Results know no figure; they look theirs up here."""


def drawn(name: str, result: Any, drawing: Mapping[str, Any]) -> "Figure":
    """Draw a result with the figure of a name. Raises InnersightError for options that it does not have."""
    figures.check_options(name, drawing)
    return figures[name](result, **drawing)


class Result(ABC):
    """What a function of Innersight returns; a dataclass with `eq=False, repr=False`.

    Its figure is registered in `innersight.plots` under the name of the class.
    """

    __repr__ = brief

    def figure(self, **drawing: Any) -> "Figure":
        """Draw the result.

        Parameters
        ----------
        **drawing
            Options of the figure: the keyword arguments of the function of the result's name in `innersight.plots`.

        Returns
        -------
        matplotlib.figure.Figure
            Outside of pyplot's global state.

        Raises
        ------
        InnersightError
            For an option that the figure does not have.

        """
        name = word(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower())
        # innersight.scan.result: plots/scan.py. The files of other analyses would import these.
        figures.load(type(self).__module__.removeprefix("innersight.").partition(".")[0])
        return drawn(name, self, drawing)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data, without the raw values."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the raw values by name."""

    def save(self, path: str | Path, **drawing: Any) -> Path:
        """Write the result to a file.

        Parameters
        ----------
        path
            Its ending says what is written: a figure (.png, .pdf, .svg, .jpg, .webp), plain data (.json), or raw
            values (.safetensors).
        **drawing
            Options of the figure, see `figure`.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InnersightError
            For another ending, and for a file that cannot be written.

        """
        path = Path(path)
        formats.check([path])
        if path.suffix in formats.FIGURES:
            return save_figure(self.figure(**drawing), path)
        if path.suffix == ".json":
            return write_text(path, json.dumps(self.to_json(), indent=1) + "\n")
        return write_tensors(path, self.tensors())

    def _repr_html_(self) -> str:
        return html(self.figure())
