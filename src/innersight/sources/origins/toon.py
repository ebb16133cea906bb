"""`toon`, `toon:robust`: small networks trained on the embedded characters, in the wheel."""

from dataclasses import replace
from importlib.resources import as_file, files

from innersight.errors import InnersightError
from innersight.model import Model
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.origins.run import run

NETWORKS = {"": "run", "robust": "robust"}
"""What may stand behind `toon:`, and the folder of its run."""


@registry.register("Embedded example", use="To try Innersight without a network or images of your own.", example="toon")
def toon(name: str, request: LoadRequest) -> Model:
    """Load an embedded run; `robust` learned characters in each other's colours, and to withstand small changes."""
    if name not in NETWORKS:
        raise InnersightError(f"toon:{name}: there is no such embedded network: write `toon` or `toon:robust`")
    # Not files("innersight.toons"): that imports what draws toons.
    with as_file(files("innersight") / "toons" / NETWORKS[name]) as folder:
        return replace(run(str(folder), request), name=f"toon:{name}" if name else "toon")
