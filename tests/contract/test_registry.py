"""Every registered heatmap method is documented and answers for every network; the registry's own promises."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import batch, tiny
from planting import plant
from torch import Tensor
from untouched import dishevel, unchanged

from innersight.audit.checks import checks
from innersight.audit.finding import INFORMATION
from innersight.errors import InnersightError
from innersight.heatmaps.engine import explain_batch, named
from innersight.heatmaps.request import QUICK_PASSES, MethodOutput, UnfitError, methods
from innersight.heatmaps.target import class_target
from innersight.layers import last_grid
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.registry import Registry
from innersight.study.panels.heatmaps import describe
from innersight.trust.baselines import baselines
from innersight.trust.column import describe_column
from innersight.trust.ground_truth import ground_truth
from innersight.trust.imputers import imputers
from innersight.trust.metrics import metrics

NAMES = list(methods)


def test_the_methods_are_there_and_sorted() -> None:
    assert {"gradcam", "saliency"} <= set(NAMES)
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_documented_with_title_paper_use_and_unit(name: str) -> None:
    entry = methods.entry(name)
    assert re.match(r"[A-Z].{3,60}$", entry.title)
    assert re.search(r"[A-Z].* (19|20)\d\d", entry.source)
    assert len(entry.use) > 20
    assert entry.unit
    assert len(entry.summary) > 20
    assert all(describe(name).values())
    assert all(len(option.help) > 5 for option in entry.options), name


def ask(name: str, model: Model, x: Tensor, targets: Tensor) -> MethodOutput:
    layer, options = last_grid(model)[0], {name: methods.entry(name).quick}
    return next(iter(explain_batch(model, x, lambda _: class_target(model, targets), [layer], options).found.values()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_gives_one_finite_map_for_each_image(name: str, any_tiny: Model) -> None:
    x, targets = batch(any_tiny, 3), torch.tensor([0, 3, 3])
    if methods.entry(name).reads == "captum" and any_tiny.name not in ("tiny in-place", "tiny grey", "tiny noisy"):
        pytest.skip("Captum's own methods are not ours to test on every network")
    if methods.entry(name).reads == "attention":  # which the small networks have none of
        dishevel(any_tiny)
        with unchanged(any_tiny), pytest.raises(UnfitError, match="has no self-attention"):
            ask(name, any_tiny, x, targets)
        return
    dishevel(any_tiny)
    try:
        with unchanged(any_tiny):
            found = ask(name, any_tiny, x, targets)
    except UnfitError:
        if methods.entry(name).reads != "captum":
            raise
        return
    values = found.values
    assert values.ndim == 3
    assert len(values) == 3
    assert torch.isfinite(values).all()
    assert found.error is None or found.error.shape == values.shape
    assert methods.entry(name).may_be_empty or values.abs().amax((1, 2)).min() > 0
    # An image's map does not depend on its neighbours in the batch, but for a last bit that some methods enlarge.
    if methods.entry(name).may_mix:
        return
    alone = [ask(name, any_tiny, x[i : i + 1], targets[i : i + 1]).values for i in range(3)]
    assert torch.allclose(values, torch.cat(alone), rtol=1e-3, atol=1e-5 * float(values.abs().max()) + 1e-7)


@pytest.mark.parametrize("name", [name for name in named("quick") if methods.entry(name).reads != "layer"])
def test_quick_methods_take_few_passes(name: str) -> None:
    """As many as the entry states, beside the pass that all share; those that read a layer run only what follows it."""
    model, seen = tiny("in-place"), []
    x, layer = batch(model, 2), last_grid(model)[0]
    options = {name: methods.options(name)}
    # Layers and memory are measured before.
    ask("gradcam", model, x, torch.tensor([0, 3]))
    memory_format(model)
    with model.net.register_forward_hook(lambda _m, given, _out: seen.append(len(given[0]))):
        try:
            explain_batch(model, x, lambda _: class_target(model, torch.tensor([0, 3])), [layer], options)
        except UnfitError:
            assert methods.entry(name).reads == "attention"
    assert sum(seen) <= 2 * (methods.entry(name).passes + 1)
    assert methods.entry(name).passes <= QUICK_PASSES


def test_slow_methods_are_asked_for_by_name() -> None:
    quick, every = named("quick"), named("all")
    assert {"smoothgrad", "vargrad", "integrated-gradients", "occlusion", "rise"} <= set(every) - set(quick)
    assert all(methods.entry(name).passes > QUICK_PASSES for name in set(every) - set(quick))


PLANTED = """
from innersight.heatmaps.request import methods

@methods.register(
    "Planted method", source="Nobody 2026", use="In a test, and nowhere else at all.", unit="TARGET", reads="layer"
)
def planted(request, *, power: float = 1.0):
    \"\"\"Activation times gradient, raised to a power.

    Parameters
    ----------
    request
        The batch.
    power
        The exponent.

    \"\"\"
    values = (request.activation * request.gradient).sum(1)
    return values.sign() * values.abs() ** power
"""


@pytest.mark.parametrize("network", ["in-place", "dense"])
def test_a_method_in_a_new_file_passes_at_once(network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, tmp_path, methods, "planted", PLANTED)
    test_documented_with_title_paper_use_and_unit("planted")
    test_gives_one_finite_map_for_each_image("planted", tiny(network))
    test_options_survive_being_written_as_text("planted")
    assert "planted" in named("all")
    assert "planted" in named("quick")


@pytest.mark.parametrize("name", NAMES)
def test_options_survive_being_written_as_text(name: str) -> None:
    options = methods.options(name)
    assert methods.parse(name, {key.replace("_", "-"): str(value) for key, value in options.items()}) == options
    with pytest.raises(InnersightError, match=f"{name} has no option 'nonsense'"):
        methods.parse(name, {"nonsense": "1"})


def test_an_unknown_method_gets_the_nearest_name() -> None:
    with pytest.raises(InnersightError, match=r"no heatmap method 'gradcan'; did you mean gradcam or"):
        methods["gradcan"]
    with pytest.raises(InnersightError, match=r"choose from: .*gradcam"):
        methods["xyz"]


@pytest.fixture
def toy() -> Registry[Any]:
    registry: Registry[Any] = Registry("toy", "innersight.heatmaps.methods")

    @registry.register("Some toy")
    def some_toy(request: object, *, count: int = 3, share: float = 0.5, deep: bool = False, kind: str = "a") -> None:
        """Toy."""

    return registry


def test_text_becomes_the_type_of_the_default(toy: Registry[Any]) -> None:
    assert toy.options("some-toy") == {"count": 3, "share": 0.5, "deep": False, "kind": "a"}
    values = toy.parse("some-toy", {"count": "-7", "share": "1e-3", "deep": "Yes", "kind": "b c"})
    assert values == {"count": -7, "share": 0.001, "deep": True, "kind": "b c"}
    assert [type(v) for v in values.values()] == [int, float, bool, str]


@pytest.mark.parametrize(("key", "text"), [("count", "1.5"), ("share", "much"), ("deep", "perhaps")])
def test_text_of_the_wrong_type_is_named(toy: Registry[Any], key: str, text: str) -> None:
    with pytest.raises(InnersightError, match=rf"toy some-toy: {key}='{text}' is not of type"):
        toy.parse("some-toy", {key: text})


def test_an_option_that_is_nearly_right(toy: Registry[Any]) -> None:
    with pytest.raises(InnersightError, match=r"no option 'cuont'; did you mean count\?"):
        toy.parse("some-toy", {"cuont": "1"})
    with pytest.raises(InnersightError, match="it takes no options"):
        methods.parse("saliency", {"relu": "1"})


def test_an_undocumented_function_is_refused(toy: Registry[Any]) -> None:
    def bare(request: object) -> None: ...

    with pytest.raises(TypeError, match="toy bare has no docstring"):
        toy.register("Bare")(bare)


def test_building_by_name_imports_nothing_before_the_first_look() -> None:
    registry: Registry[Any] = Registry("thing", "innersight.no_such_package")
    with pytest.raises(ModuleNotFoundError):
        list(registry)


def test_methods_read_the_layer_they_are_told() -> None:
    model = tiny("dense")
    x, targets = batch(model), torch.tensor([1, 2])
    found = explain_batch(model, x, lambda _: class_target(model, targets), ["step3", "stem"], {"gradcam": {}}).found
    assert list(found) == [("gradcam", "step3"), ("gradcam", "stem")]
    assert not torch.allclose(found["gradcam", "step3"].values, found["gradcam", "stem"].values)


@pytest.mark.parametrize("registry", [metrics, ground_truth, imputers, baselines], ids=lambda registry: registry.kind)
def test_everything_in_trust_is_on_its_page(registry: Registry) -> None:
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()
    names = list(registry)
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_tables_of_trust_are_those_of_the_registries() -> None:
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()
    columns = [(name, describe_column(name)) for name in (*metrics, *ground_truth)]
    rows = [f"| `{name}` | {one.better or 'neither'} | {one.description} |" for name, one in columns]
    rows += [f"| `{entry.name}` | {entry.summary.rstrip('.')} |" for entry in imputers.entries()]
    assert [row for row in rows if row not in page] == []
    tables = page.partition("## The columns")[2].partition("## Regions")[0]
    assert tables.count("\n| `") == len(rows)


def test_the_table_of_heatmap_methods_is_that_of_the_registry() -> None:
    page = (Path(__file__).parents[2] / "docs" / "heatmaps.md").read_text()
    table = page.partition("| reads | methods |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`([a-z-]+)`", table)) == NAMES
    rows = {row.split("|")[1].strip(): re.findall(r"`([a-z-]+)`", row) for row in table.splitlines()[2:]}
    kinds = {
        "a layer": "layer", "the gradient of the pixels": "pixels", "gradients of": "passes",
        "the target with": "masks", "attention": "attention", "Captum": "captum",
    }  # fmt: skip
    for title, named_ in rows.items():
        kind = next(kind for start, kind in kinds.items() if title.startswith(start))
        assert {methods.entry(name).reads for name in named_} == {kind}, title


@pytest.mark.parametrize("registry", [metrics, ground_truth, imputers, baselines], ids=lambda registry: registry.kind)
def test_everything_in_trust_is_documented(registry: Registry) -> None:
    for entry in registry.entries():
        assert re.match(r"[A-Za-z].{3,40}$", entry.title)
        assert 10 < len(entry.summary) < 120
        assert entry.summary.endswith((".", ")."))
    assert all(entry.phrase for entry in baselines.entries())


def test_every_check_is_on_the_page_of_audits_and_says_what_it_could_miss() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    assert re.findall(r"^### `([a-z-]+)`", page, re.MULTILINE) == [
        entry.name for entry in sorted(checks.entries(), key=lambda entry: entry.order)
    ]
    for entry in checks.entries():
        assert re.match(r"[A-Z].{3,40}$", entry.title)
        assert entry.summary.endswith((".", ":"))
        assert entry.limits or entry.name in INFORMATION
