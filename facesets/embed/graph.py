"""What an ONNX file is, and the small repairs some need before onnxruntime takes them.

OpenCV Zoo's block-quantised files (YuNet, SFace) list weights among their inputs and use a form of DequantizeLinear
that onnxruntime refuses. Their weights are constants, so they are worked out once here: same numbers, plain float32.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from ..common.errors import Failure


@dataclass(frozen=True)
class Network:
    source: str | bytes                 # what onnxruntime opens: a path, or the repaired file
    input: str
    shape: tuple[int | str, ...]        # of the input; a name where the file leaves the size open
    outputs: tuple[str, ...]
    normalises: bool                    # the first layers subtract the mean themselves, so pixels go in as 0..255

    @property
    def is_detector(self) -> bool:
        return len(self.outputs) >= 9

    @property
    def is_recogniser(self) -> bool:
        return len(self.outputs) == 1 and self.shape[2:] == (112, 112)


def read(path: Path, for_cpu: bool = False) -> Network:
    """The network in the file `path`, as `for_cpu` likes it best. Raises Failure where it is none."""
    try:
        model = onnx.load(str(path))
    except Exception as error:      # protobuf, onnx and the file system each have their own
        raise Failure(f"{path} is no ONNX file ({type(error).__name__})") from None
    graph = model.graph
    computed = {item.name for item in graph.initializer} | {name for node in graph.node for name in node.output}
    used = {name for node in graph.node for name in node.input}
    inputs = [item for item in graph.input if item.name in used - computed]
    if len(inputs) != 1 or not graph.output:
        raise Failure(f"{path} has {len(inputs)} inputs; a detector or recogniser has one")
    first = [node.op_type for node in graph.node if inputs[0].name in node.input]
    kinds = {node.op_type for node in graph.node}
    broken = "DequantizeLinear" in kinds or len(graph.input) > 1
    slow = for_cpu and "PRelu" in kinds
    if broken:
        _fold_weights(model)
        del graph.input[:]
        graph.input.extend(inputs)
    if slow:
        _spell_out_prelu(graph)
    source = model.SerializeToString() if broken or slow else str(path)
    shape = tuple(size.dim_value or size.dim_param for size in inputs[0].type.tensor_type.shape.dim)
    return Network(source, inputs[0].name, shape, tuple(item.name for item in graph.output),
                   normalises=bool({"Sub", "Mul"} & set(first)))


def _fold_weights(model: onnx.ModelProto) -> None:
    """Replace every DequantizeLinear and Reshape of constants by its result."""
    graph, opsets = model.graph, {item.domain: item.version for item in model.opset_import}
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type in ("DequantizeLinear", "Reshape") and all(name in constants for name in node.input):
            values = {name: constants[name] for name in node.input}
            [result] = map(np.asarray, ReferenceEvaluator(node, opsets=opsets).run(None, values))
            constants[node.output[0]] = result
            graph.initializer.append(numpy_helper.from_array(result, node.output[0]))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    weights = [item for item in graph.initializer if item.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)


def _spell_out_prelu(graph: onnx.GraphProto) -> None:
    """PRelu(x) as Relu(x) + slope * (x - Relu(x)): the same numbers to the last bit, since one of the two terms is 0.

    The CPU kernel of the onnxruntime that the lock names takes half of a MobileFaceNet's time otherwise, see
    benchmarks/embed_more.py tried.
    """
    nodes = []
    for node in graph.node:
        if node.op_type == "PRelu":
            (x, slope), y = node.input, node.output[0]
            nodes += [onnx.helper.make_node("Relu", [x], [y + "/positive"]),
                      onnx.helper.make_node("Sub", [x, y + "/positive"], [y + "/negative"]),
                      onnx.helper.make_node("Mul", [y + "/negative", slope], [y + "/scaled"]),
                      onnx.helper.make_node("Add", [y + "/positive", y + "/scaled"], [y])]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
