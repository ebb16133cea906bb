"""`toon`: the small network trained on the embedded characters, in the wheel."""

from dataclasses import replace
from importlib.resources import as_file, files

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.origins.run import run


@registry.register("Embedded example", use="To try Innersight without a network or images of your own.", example="toon")
def toon(name: str, request: LoadRequest) -> Model:
    """Load the embedded run."""
    if name:
        raise InnersightError(f"toon:{name}: there is only one embedded network: write `toon`")
    # Not files("innersight.toons"): that imports what draws toons.
    with as_file(files("innersight") / "toons" / "run") as folder:
        return replace(run(str(folder), request), name="toon")
