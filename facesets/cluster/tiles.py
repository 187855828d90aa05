"""Which pairs of rows reach a similarity, one tile of the n × n matrix at a time, as fast as the CPU multiplies.

Words: n rows, d dimensions; a tile is rows a:b against rows c:d of `order`. Both kinds may say yes too often, never too
seldom: float32 by its rounding, int8 by its proven error bound.

Int8: with x = s q + e (q whole numbers in -127..127), |x·y - s² q·r| <= |e_x| |y| + |x - e_x| |e_y|, so with E the
largest measured |e| and L the largest |x|, the estimate is within E L + (L + E) E of the truth.
"""

import functools
import time
from typing import Protocol

import numpy as np

FLOAT_EPS = 2.0 ** -23      # twice float32's unit roundoff: a dot of d products is within d * 2**-24 * |x| |y| of exact
INT8_SLACK = 0.05           # a looser int8 estimate than this reports so many false pairs that float32 is faster
PROBE = 1024                # rows of the multiplication that decides which kind is faster here


class Tiles(Protocol):
    """Similarities of `rows[order]`, seen through one threshold."""

    exact: bool             # False: a reported pair is worth a second look

    def reach(self, a: int, b: int, c: int, d: int) -> np.ndarray:
        """(b-a, d-c) bool: True wherever the similarity is at least the threshold."""
        ...


class Float32Tiles:
    exact = True

    def __init__(self, rows: np.ndarray, order: np.ndarray, least: float) -> None:
        self.rows, self.order = rows, order
        self.least = np.float32(least - float_slack(rows.shape[1]))
        self.panel: tuple[int, int] = (-1, -1)
        self.left = rows[:0]
        self.scratch = np.empty(0, np.float32)

    def reach(self, a: int, b: int, c: int, d: int) -> np.ndarray:
        if self.panel != (a, b):
            self.panel, self.left = (a, b), self.rows[self.order[a:b]]
        right = self.rows[self.order[c:d]]
        size = len(self.left) * len(right)
        if self.scratch.size < size:
            self.scratch = np.empty(size, np.float32)
        product = self.scratch[:size].reshape(len(self.left), len(right))
        np.matmul(self.left, right.T, out=product)
        return product >= self.least


class Int8Tiles:
    exact = False

    def __init__(self, rows: np.ndarray, order: np.ndarray, least: float) -> None:
        self.scale = float(np.abs(rows).max(initial=0)) / 127 or 1.0
        self.columns = np.empty(rows.shape[::-1], np.int8)      # (d, n): the product wants its right side this way
        self.slack = self._quantise(rows, order) + float_slack(rows.shape[1])
        self.least = np.array([np.ceil((least - self.slack) / self.scale ** 2)], np.int32)
        self.panel: tuple[int, int] = (-1, -1)
        self.left = np.empty(0, np.uint8)

    def _quantise(self, rows: np.ndarray, order: np.ndarray) -> float:
        """Fill `columns`; returns the bound on what that costs a similarity."""
        worst = longest = 0.0
        for start in range(0, len(order), 8192):
            part = rows[order[start:start + 8192]]
            whole = np.rint(part / self.scale)
            self.columns[:, start:start + 8192] = whole.T
            error = part - whole * np.float32(self.scale)
            worst = max(worst, float(np.einsum("nd,nd->n", error, error, dtype=np.float64).max()))
            longest = max(longest, float(np.einsum("nd,nd->n", part, part, dtype=np.float64).max()))
        worst, longest = worst ** 0.5, longest ** 0.5
        return worst * longest + (longest + worst) * worst

    def reach(self, a: int, b: int, c: int, d: int) -> np.ndarray:
        if self.panel != (a, b):
            left = np.ascontiguousarray(self.columns[:, a:b].T).view(np.uint8) ^ np.uint8(128)
            self.panel, self.left = (a, b), left
        right = np.ascontiguousarray(self.columns[:, c:d])
        return _int8_session().run(None, {"left": self.left, "right": right, "least": self.least})[0]


def float_slack(dimension: int) -> float:
    """How far a float32 dot of unit rows may lie from the exact one."""
    return dimension * FLOAT_EPS


def tiles(rows: np.ndarray, order: np.ndarray, least: float, kind: str = "auto") -> Tiles:
    """The faster kind for these rows on this CPU. `kind` is "float32", "int8" or "auto"."""
    if kind == "int8" or (kind == "auto" and len(rows) > 4 * PROBE and int8_pays()):
        quantised = Int8Tiles(rows, order, least)
        if kind == "int8" or quantised.slack < INT8_SLACK:
            return quantised
    return Float32Tiles(rows, order, least)


@functools.cache
def int8_pays() -> bool:
    """Whether int8 products are right and at least 1.5 times as fast here. Without VNNI they saturate or are slow."""
    try:
        session = _int8_session()
    except ImportError:
        return False
    d = 512
    feed = {"left": np.full((PROBE, d), 255, np.uint8), "right": np.full((d, PROBE), 127, np.int8),
            "least": np.array([d * 127 * 127], np.int32)}
    if not session.run(None, feed)[0].all():    # AVX2 without VNNI adds pairs in 16 bits: 2 * 255 * 127 saturates
        return False
    block = np.ones((PROBE, d), np.float32)
    return 1.5 * _seconds(lambda: session.run(None, feed)) < _seconds(lambda: block @ block.T >= 1.0)


def _seconds(work: functools.partial | object, times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()      # type: ignore[operator]
        best = min(best, time.perf_counter() - start)
    return best


@functools.cache
def _int8_session():    # type: ignore[no-untyped-def]
    """left (R, d) uint8 with zero point 128, right (d, C) int8, least (1,) -> (R, C) bool: left @ right >= least."""
    return _session(True)


def bare_int8_session():    # type: ignore[no-untyped-def]
    """The product alone, (R, C) int32: what benchmarks measure the pass against."""
    return _session(False)


def _session(compared: bool):   # type: ignore[no-untyped-def]
    import onnxruntime
    from onnx import TensorProto, helper

    product = helper.make_node("MatMulInteger", ["left", "right", "zero"], ["product"])
    inputs = [helper.make_tensor_value_info("left", TensorProto.UINT8, [None, None]),
              helper.make_tensor_value_info("right", TensorProto.INT8, [None, None])]
    zero = [helper.make_tensor("zero", TensorProto.UINT8, [], [128])]
    if compared:
        nodes = [product, helper.make_node("GreaterOrEqual", ["product", "least"], ["reached"])]
        inputs.append(helper.make_tensor_value_info("least", TensorProto.INT32, [1]))
        output = helper.make_tensor_value_info("reached", TensorProto.BOOL, [None, None])
    else:
        nodes, output = [product], helper.make_tensor_value_info("product", TensorProto.INT32, [None, None])
    graph = helper.make_graph(nodes, "tile", inputs, [output], zero)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
