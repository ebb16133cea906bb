"""One spelling for units and classes: what is printed can be read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innersight.address import Address, ClassAddress, parse
from innersight.errors import InnersightError

# Module names are Python identifiers or numbers, joined by dots.
layer_names = st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}|[0-9]{1,3}", fullmatch=True), min_size=1, max_size=5)
layer_name = layer_names.map(".".join).filter(lambda name: name != "class")
number = st.integers(0, 10_000)
# Labels may hold anything, also what is a sign elsewhere.
label = st.text(min_size=1, max_size=20)


@given(layer_name, number, st.none() | st.tuples(number, number))
def test_units_survive_being_written(layer: str, unit: int, place: tuple[int, int] | None) -> None:
    address = Address(layer, unit, place)
    assert parse(str(address)) == (address,)


@given(layer_name)
def test_layers_survive_being_written(layer: str) -> None:
    assert parse(str(Address(layer))) == (Address(layer),)


@given(label)
def test_classes_survive_being_written(name: str) -> None:
    assert parse(str(ClassAddress(name))) == (ClassAddress(name),)


@given(layer_name, st.lists(st.tuples(number, st.integers(0, 20)), min_size=1, max_size=4))
def test_ranges_are_written_out_in_order(layer: str, spans: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in spans)
    expected = [Address(layer, unit) for first, more in spans for unit in range(first, first + more + 1)]
    assert list(parse(f"{layer}:{text}")) == expected


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_one_sentence(text: str) -> None:
    try:
        found = parse(text)
    except InnersightError:
        return
    assert found
    assert [parse(str(address)) for address in found] == [(address,) for address in found]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not an address"),
        (":3", "is not an address"),
        ("conv1:", "is not an address"),
        ("my layer:3", "is not an address"),
        ("conv1:x", "after the colon"),
        ("conv1:-3", "after the colon"),
        ("conv1:1,,2", "after the colon"),
        ("conv1:1@", "after the colon"),
        ("conv1:1@2", "after the colon"),
        ("conv1:1@2,3,4", "after the colon"),
        ("conv1:5-2", "the range 5-2 runs backwards; write 2-5"),
        ("conv1:0-99999999", "longer than any layer"),
        ("conv1:" + "9" * 5000, "after the colon write"),
        ("conv1:0@1," + "9" * 5000, "after the colon write"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        parse(text)


def test_places_apply_to_every_unit_named() -> None:
    assert parse("stage2.0:1-2@3,4") == (Address("stage2.0", 1, (3, 4)), Address("stage2.0", 2, (3, 4)))


def test_a_layer_called_class_is_still_a_layer() -> None:
    assert parse("class") == (Address("class"),)
    assert parse("class:7") == (ClassAddress("7"),)
