"""`run:DIR`: what `innersight train` wrote: `run.json` and `weights.safetensors`."""

from dataclasses import replace
from pathlib import Path

from innersight.errors import InnersightError, whole
from innersight.model import Model
from innersight.sources import query
from innersight.sources.bare import check
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.run_card import epoch_file, read_card


@registry.register("Training run", use="For what innersight train wrote.", example="run:runs/first")
def run(name: str, request: LoadRequest, *, epoch: str | None = None) -> Model:
    """Open the run in a folder with its own weights, or with those of a file.

    Parameters
    ----------
    epoch
        The number of an epoch, for the weights after it (0: before the first), of a run made with `keep_epochs`; the
        final weights when left out.

    """
    classes, weights = request.classes, request.weights
    card = read_card(name)
    if classes is not None and classes != len(card.labels):
        raise InnersightError(f"run:{name} has {len(card.labels)} classes; train again to change that")
    if epoch is not None and weights is not None:
        raise InnersightError("give either an epoch or a weight file, not both")
    file = weights or str(Path(name) / "weights.safetensors" if epoch is None else _kept(Path(name), epoch))
    spec = replace(card.input, guessed=())
    origin, net_name, _ = query.split(query.without_options(card.net)[0])
    stated = {key: value for key, value in vars(spec).items() if key != "guessed"}
    model = registry[origin](net_name, LoadRequest(len(card.labels), file, stated))
    check(model.net, spec)
    when = "" if epoch is None else f", epoch {epoch}"
    title = f"{Path(name).name} ({model.name}{when})"
    # What it was trained with, whoever stated it.
    return replace(model, input=spec, labels=card.labels, name=title, notes=(), run=Path(name))


def kept_epochs(folder: Path) -> list[int]:
    """Return the numbers of the epochs whose weights a run kept, in order. Raises InnersightError for none."""
    kept = [path.stem.partition("-")[2] for path in (folder / "checkpoints").glob("epoch-*.safetensors")]
    numbers = sorted(int(number) for number in kept if whole(number) is not None)
    if not numbers:
        raise InnersightError(
            f"run:{folder} has no weights of single epochs; train with keep_epochs=True (--keep-epochs) to keep them"
        )
    return numbers


def _kept(folder: Path, epoch: str) -> Path:
    """Return the file with the weights of an epoch. Raises InnersightError naming the epochs that there are."""
    numbers = kept_epochs(folder)
    if whole(epoch) not in numbers:
        raise InnersightError(f"run:{folder} has no epoch {epoch!r}; it has {numbers[0]} to {numbers[-1]}")
    return folder / "checkpoints" / epoch_file(int(epoch))
