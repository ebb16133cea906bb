"""ONNX graphs: what their tensors declare, that it is in files of their folder, and how large the maps become."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from innersight.errors import InnersightError, printable
from innersight.storage.bounded import BROKEN, MAX_MODEL, check

MAX_MAP = 2**28  # values of one tensor for one image
FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def check_tensors(model: Any, path: Path) -> None:
    """Raise InnersightError for a tensor that declares more than it holds, or whose data is not in the file's folder.

    model : as `onnx.load(path, load_external_data=False)` returns it.
    """
    shown, folder = printable(path), path.resolve().parent
    for tensor in _tensors(model):
        name = printable(tensor.name)
        if any(side < 0 for side in tensor.dims):
            raise InnersightError(f"{shown}: refused, its weights {name} have the shape {tuple(tensor.dims)}")
        bits = math.prod(tensor.dims) * _bits(tensor, f"{shown}: refused, its weights {name}")
        if tensor.external_data:
            held = _outside(tensor, folder, f"{shown}: refused, its weights {name}") * 8
        elif tensor.HasField("raw_data"):
            held = len(tensor.raw_data) * 8
        else:
            # Stored one by one, in fields of 32 bits or more, or two to a field.
            stored = sum(len(getattr(tensor, field)) for field in FIELDS)
            bits, held = math.prod(tensor.dims), 2 * stored
        if bits > held:
            raise InnersightError(
                f"{shown}: refused, its weights {name} of shape {tuple(tensor.dims)} are larger than their data"
            )


def check_maps(model: Any, path: Path) -> None:
    """Raise InnersightError for a graph with a tensor of more than `MAX_MAP` values for one image."""
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    # Where it cannot follow the shapes, the run by onnxruntime tells.
    except (*BROKEN, shape_inference.InferenceError):
        return
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        count = math.prod(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
        if count > MAX_MAP:
            raise InnersightError(
                f"{printable(path)}: refused, its tensor {printable(value.name)} has {count:,} values for one image; "
                f"at most {MAX_MAP:,} are computed"
            )


def _outside(tensor: Any, folder: Path, where: str) -> int:
    """Return how many bytes of its data file a tensor takes. Raises InnersightError for any outside it."""
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    try:
        place = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InnersightError(f"{where} are in {printable(location)!r}, which is no name of a file") from error
    if not location or not place.is_relative_to(folder) or not place.exists():
        raise InnersightError(f"{where} are in {printable(location)!r}, no file in its folder")
    size = check(place, what="file of weights", limit=MAX_MODEL).stat().st_size
    numbers = [fields.get(key) or "0" for key in ("offset", "length")]
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        raise InnersightError(
            f"{where} are at offset {printable(numbers[0])}, length {printable(numbers[1])}: two whole numbers"
        )
    offset, length = map(int, numbers)
    length = length if fields.get("length") else max(size - offset, 0)
    if offset + length > size:
        raise InnersightError(
            f"{where} are at bytes {offset:,} to {offset + length:,} of {printable(location)}, which has {size:,}"
        )
    return length


def _bits(tensor: Any, where: str) -> int:
    from onnx import TensorProto, helper

    kind = tensor.data_type
    if kind not in TensorProto.DataType.values() or kind == TensorProto.UNDEFINED:
        raise InnersightError(f"{where} are of the unknown type {kind}")
    name = TensorProto.DataType.Name(kind)
    if name == "STRING":
        return 0
    # Several values to a byte; only there does the name tell the width.
    packed = {"INT2": 2, "UINT2": 2, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4}
    return packed.get(name) or helper.tensor_dtype_to_np_dtype(kind).itemsize * 8


def _tensors(model: Any) -> Iterator[Any]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from (one for one in (attribute.t, *attribute.tensors) if one.ByteSize())
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (one for one in (sparse.values, sparse.indices) if one.ByteSize())
        for inner in (attribute.g, *attribute.graphs):
            yield from _of_graph(inner)
