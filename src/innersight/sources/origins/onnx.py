"""`onnx:FILE`: ONNX networks, rebuilt from torch modules by onnx2torch and checked against onnxruntime."""

import ast
import copy
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from innersight.errors import InnersightError, MissingExtraError
from innersight.heads import multilabel
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.nested import leaves
from innersight.sources.bare import as_built, fitting, wrap
from innersight.sources.claims.graphs import check_maps, check_tensors
from innersight.sources.origins import LoadRequest, registry
from innersight.storage.bounded import BROKEN, read_bytes, reading

AGAIN = "export it again with torch.onnx.export(net, (x,), FILE, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
LONGEST = 10_000  # characters of a list of names
SCOPES = "pkg.torch.onnx.name_scopes"
# Of the largest score: how far sums in another order may be apart.
TOLERANCE = 1e-3


@registry.register(
    "ONNX file",
    source="https://onnx.ai",
    use="For a network exported to ONNX, whatever framework it was trained in.",
    example="onnx:net.onnx",
    extra="onnx",
    reads_output=True,
)
def onnx(name: str, request: LoadRequest) -> Model:
    """Open the network in the ONNX file `name`.

    Modules bear the names of the network that was exported as far as the file states them. Its scores are compared with
    those of onnxruntime for one and for three random images. A file exported for one image at a time is made to
    take several where that comparison holds. A softmax or sigmoid at the end is taken off.
    Raises InnersightError where the two differ, for operators that onnx2torch lacks, quantized networks and data files
    outside the folder of `name`; MissingExtraError without the libraries.
    """
    stated = request.stated
    path = Path(name)
    graph = _read(path)
    # As it is in the file; protocol buffers end at 2 GB, so a larger one is read again with its data files.
    untouched = graph.SerializeToString() if graph.ByteSize() < 2**31 else path
    shape = _input_shape(graph, path)
    batch, last = shape[0], shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    height, width, channels = shape[1:] if last else (*shape[2:], shape[1])
    if batch not in (None, 1):
        raise InnersightError(f"{path} takes exactly {batch} images at a time: {AGAIN}")
    if batch == 1:
        _free_batch(graph)
    net = _build(graph, path, last=last)
    known = {"channels": channels or 3} | ({"height": height, "width": width} if height and width else {})
    try:
        spec = fitting(net, {**known, **stated})
    except InnersightError as error:
        if batch == 1:
            raise InnersightError(
                f"{path} takes one image at a time and cannot be made to take more: {AGAIN}"
            ) from error
        raise
    _compare(net, _session(untouched, path), spec, path, single=batch == 1, last=last)
    link = _open_end(net)
    notes = [f"rebuilt from ONNX: the scores agree with onnxruntime within {TOLERANCE:g} of the largest"]
    if link:
        notes.append(f"the {link} at the end is removed: the scores are logits")
    head = request.head or (multilabel() if link == "sigmoid" else None)
    model = wrap(net, {**known, **stated}, name=path.stem, head=head)
    return as_built(model, classes=request.classes, weights=request.weights, notes=tuple(notes))


def _read(path: Path) -> Any:
    """Return the file's model, its outside data too. Raises InnersightError for data outside the file's folder."""
    try:
        import onnx
        import onnx2torch  # noqa: F401
        import onnxruntime  # noqa: F401
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error
    # Protocol buffers end at 2 GB; larger networks keep their weights in files of their own.
    content = read_bytes(path, what="file of ONNX (.onnx)", limit=2**31)
    with reading(path, "ONNX file", DecodeError, onnx.checker.ValidationError):
        model = onnx.load_model_from_string(content)
        check_tensors(model, path)
        check_maps(model, path)
        onnx.checker.check_model(path)
        return onnx.load(path)


def _input_shape(model: Any, path: Path) -> tuple[int | None, ...]:
    import onnx

    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in stored]
    shapes = [tuple(d.dim_value or None for d in one.type.tensor_type.shape.dim) for one in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4:
        listed = "; ".join(f"{one.name} {shape}" for one, shape in zip(inputs, shapes, strict=True))
        raise InnersightError(f"{path}: its inputs are {listed}; one batch of images with four axes is needed")
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        raise InnersightError(
            f"{path}: its input is of type {onnx.TensorProto.DataType.Name(kind).lower()}, which no gradient reaches: "
            "export the network without the step that turns bytes into floats"
        )
    return shapes[0]


def _free_batch(model: Any) -> None:
    """Let a network for one image take several.

    Its shapes are all known; every reshape keeps the later axes of what it makes and fits the first, which counts the
    images in all common networks. The comparison with onnxruntime tells where it does not.
    """
    from onnx import TensorProto, helper, shape_inference

    _constants_as_initializers(model)
    made = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    }
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for node in model.graph.node:
        shape = made.get(node.output[0], [])
        if node.op_type == "Reshape" and shape and all(shape):
            name = f"shape.of.{node.output[0]}"
            target = helper.make_tensor(name, TensorProto.INT64, [len(shape)], [-1, *shape[1:]])
            model.graph.initializer.append(target)
            node.input[1] = name


def _constants_as_initializers(model: Any) -> None:
    """Store every constant, and every copy of a stored tensor, as a tensor: onnx2torch reads no other weights."""
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        value = {a.name: helper.get_attribute_value(a) for a in node.attribute} if node.op_type == "Constant" else {}
        if node.op_type == "Identity" and node.input[0] in stored:
            tensor = copy.deepcopy(stored[node.input[0]])
        elif value.keys() & {"value", "value_int", "value_ints", "value_float", "value_floats"}:
            key, content = next(iter(value.items()))
            kind = torch.int64 if "int" in key else torch.float32
            tensor = content if key == "value" else numpy_helper.from_array(torch.tensor(content, dtype=kind).numpy())
        else:
            kept.append(node)
            continue
        tensor.name = node.output[0]
        stored[tensor.name] = tensor
        model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _build(model: Any, path: Path, *, last: bool) -> fx.GraphModule:
    """Return the network as torch modules, each under the name it had before the export."""
    from onnx2torch import convert

    model = _understandable(model, path)
    names = _names(model)
    for name, node in zip(names, model.graph.node, strict=True):
        node.name = name.replace(".", "/")
    with warnings.catch_warnings():
        # It warns that its resizing may differ: the comparison with onnxruntime tells.
        warnings.simplefilter("ignore")
        try:
            made = convert(model)
        except BROKEN as error:
            raise InnersightError(
                f"{path}: onnx2torch cannot rebuild it ({' '.join(str(error).split())[:200]})"
            ) from error
    parts: dict[str, Any] = {}
    for node in made.graph.nodes:
        if node.op == "call_module":
            module, node.target = made.get_submodule(node.target), node.target.replace("/", ".")
            parts[node.target] = module
        elif node.op == "get_attr":
            held: Any = made
            for part in node.target.split("."):
                held = getattr(held, part)
            node.target = node.target.rsplit(".", 1)[-1].replace("onnx_initializer", "constant")
            parts[node.target] = held
    if last:
        images = next(node for node in made.graph.nodes if node.op == "placeholder")
        with made.graph.inserting_after(images):
            turned = made.graph.call_function(torch.permute, (images, (0, 2, 3, 1)))
        images.replace_all_uses_with(turned, delete_user_cb=lambda user: user is not turned)
    return fx.GraphModule(parts, made.graph).eval()


def _understandable(model: Any, path: Path) -> Any:
    """Return the model with operators that onnx2torch knows, as far as they can be had."""
    from onnx import defs, inliner
    from onnx2torch.node_converters import registry

    model = inliner.inline_local_functions(model)
    _constants_as_initializers(model)
    for node in model.graph.node:
        # What a reshape makes of a 0 in its target; images have no axis of length 0.
        left = [a for a in node.attribute if (node.op_type, a.name) != ("Reshape", "allowzero")]
        del node.attribute[:]
        node.attribute.extend(left)
    _teach()
    opsets = {one.domain: one.version for one in model.opset_import}
    unknown = []
    for domain, kind in sorted({(node.domain, node.op_type) for node in model.graph.node}):
        if "Quant" in kind or kind.endswith("Integer") or kind.startswith("QLinear"):
            raise InnersightError(f"{path} is quantized ({kind}): no gradient passes it; export the float network")
        if _known(registry, domain, kind, opsets[domain]):
            continue
        schema = defs.get_schema(kind, opsets[domain], domain) if defs.has(kind, domain) else None
        older = [v for v in range(opsets[domain], 0, -1) if _known(registry, domain, kind, v)] if schema else []
        if schema is not None and older:
            # Newer versions take more types, or have more options: the comparison with onnxruntime tells.
            registry.add_converter(kind, schema.since_version, domain)(registry.get_converter(kind, older[0], domain))
        elif schema is not None and schema.has_function | schema.has_context_dependent_function:
            unknown.append((domain, kind))
        else:
            raise InnersightError(
                f"{path}: onnx2torch has no torch module for the operator {kind}: load the network it was exported "
                "from, or a torch.export of it with pt2:FILE"
            )
    if not unknown:
        return model
    model = inliner.inline_selected_functions(model, unknown, inline_schema_functions=True)
    return _understandable(model, path)


def _known(registry: Any, domain: str, kind: str, version: int) -> bool:
    try:
        registry.get_converter(kind, version, domain)
    except NotImplementedError:
        return False
    return True


def _teach() -> None:
    """Add what onnx2torch lacks and exporters write: activations as one module, reductions whose axes are an input."""
    from onnx import AttributeProto, helper
    from onnx2torch.node_converters import registry
    from onnx2torch.onnx_node import OnnxNode
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node

    made = {
        ("Gelu", 20): lambda node: nn.GELU(node.attributes.get("approximate", "none")),
        ("Mish", 18): lambda node: nn.Mish(),
        ("GlobalMaxPool", 1): lambda node: nn.AdaptiveMaxPool2d(1),
    }
    for (kind, version), build in made.items():
        if not _known(registry, "", kind, version):
            registry.add_converter(kind, version)(
                lambda node, graph, build=build: OperationConverterResult(build(node), onnx_mapping_from_node(node))
            )

    def reduce(node: Any, graph: Any) -> Any:
        proto = helper.make_node(node.operation_type, node.input_values[:1], node.output_values)
        proto.attribute.extend(a for a in node._proto.attribute if a.name == "keepdims")
        if len(node.input_values) > 1:
            axes = graph.initializers[node.input_values[1]].to_torch().tolist()
            proto.attribute.append(helper.make_attribute("axes", axes, attr_type=AttributeProto.INTS))
        return registry.get_converter(node.operation_type, 13)(OnnxNode(proto, node.unique_name), graph)

    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
        if not _known(registry, "", f"Reduce{kind}", 18):
            registry.add_converter(f"Reduce{kind}", 18)(reduce)


def _names(model: Any) -> list[str]:
    """Return a name for each node: the module it was exported from where that is stated, else its operator.

    Where a module made several operators, each gets the operator's name behind the module's.
    """
    uses = Counter(name for node in model.graph.node for name in node.input)
    # A tensor that several nodes share, because its copies were equal, tells nothing about where they are.
    stored = {tensor.name for tensor in model.graph.initializer if uses[tensor.name] == 1}
    scopes = [_scope(node, stored) for node in model.graph.node]
    kinds: dict[str, set[str]] = defaultdict(set)
    for node, scope in zip(model.graph.node, scopes, strict=True):
        kinds[scope].add(node.op_type)
    taken: set[str] = set()
    names = []
    for node, scope in zip(model.graph.node, scopes, strict=True):
        alone = scope and len(kinds[scope]) == 1 and not any(other.startswith(f"{scope}.") for other in kinds)
        base = scope if alone else f"{scope}.{node.op_type.lower()}".lstrip(".")
        number = 1
        while (name := base if number == 1 else f"{base}_{number}") in taken:
            number += 1
        taken.add(name)
        names.append(name)
    return names


def _scope(node: Any, stored: set[str]) -> str:
    weights = [name.rpartition(".") for name in node.input if name in stored]
    scopes = [
        scope for scope, _, kind in weights if kind in ("weight", "kernel", "bias") and scope and "::" not in scope
    ]
    noted = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    if scopes:
        path = scopes[0]
    elif noted and (listed := _listed(noted[0])):
        path = next((scope for scope in reversed(listed[:-1]) if scope), "")
        path = "" if path.startswith("_empty") else path
    else:
        parts: list[str] = []
        for part in node.name.strip("/").split("/")[:-1]:
            # An element of a list is written with the list's name again: /layer1/layer1.0/conv1/Conv.
            parts = [*(parts[:-1] if parts and part.startswith(f"{parts[-1]}.") else parts), part]
        path = ".".join(parts)
    clean = "".join(c if c.isalnum() or c in "._" else "_" for c in path)
    return ".".join(part for part in clean.split(".") if part)


def _listed(text: str) -> list[str]:
    """Return the texts of a list that is written as in Python; nothing of what is none."""
    try:
        scopes = ast.literal_eval(text) if len(text) < LONGEST else []
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return scopes if isinstance(scopes, list) and all(isinstance(one, str) for one in scopes) else []


def _session(content: bytes | Path, path: Path) -> Any:
    """Return onnxruntime with the model of the file."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with reading(path, "network of onnxruntime", *_refusals(state)):
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _refusals(state: Any) -> list[type[Exception]]:
    """Return the exceptions that onnxruntime has of its own."""
    return [one for one in vars(state).values() if isinstance(one, type) and issubclass(one, Exception)]


def _compare(net: nn.Module, session: Any, spec: InputSpec, path: Path, *, single: bool, last: bool) -> None:
    """Raise InnersightError unless `net` and onnxruntime score random images alike, one and three at a time."""
    from onnxruntime.capi import onnxruntime_pybind11_state

    entry = session.get_inputs()[0]
    kind = {"tensor(float16)": torch.float16, "tensor(double)": torch.float64}.get(entry.type, torch.float32)
    pixels = torch.rand(3, *spec.shape, generator=torch.Generator().manual_seed(1))
    x = spec.normalise(pixels).to(kind)
    fed = x.permute(0, 2, 3, 1).contiguous() if last else x

    def reference(images: Tensor) -> Tensor:
        with reading(path, "network of onnxruntime", *_refusals(onnxruntime_pybind11_state)):
            return torch.from_numpy(session.run(None, {entry.name: images.numpy()})[0])

    for number in (1, 3):
        with torch.no_grad():
            ours = next(leaf for _, leaf in leaves(net(x[:number])))
        theirs = torch.cat([reference(one[None]) for one in fed[:number]]) if single else reference(fed[:number])
        apart = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("inf")
        limit = TOLERANCE * float(theirs.abs().max())
        if not apart <= limit * (10 if kind == torch.float16 else 1):
            raise InnersightError(
                f"{path}: rebuilt as torch modules it scores {number} random images differently than onnxruntime, "
                f"by up to {apart:.3g}" + (f": {AGAIN}" if single and number == 3 else "")
            )


def _open_end(net: fx.GraphModule) -> str:
    """Take a softmax over the classes, or a sigmoid, off the end of the network; return which."""
    output = next(node for node in reversed(net.graph.nodes) if node.op == "output")
    end = output.args[0]
    module = net.get_submodule(str(end.target)) if isinstance(end, fx.Node) and end.op == "call_module" else None
    if isinstance(module, nn.Sigmoid):
        link = "sigmoid"
    elif isinstance(module, nn.Softmax) and module.dim in (1, -1):
        link = "softmax"
    else:
        return ""
    output.replace_input_with(end, end.args[0])
    net.graph.eliminate_dead_code()
    net.recompile()
    net.delete_all_unused_submodules()
    return link
