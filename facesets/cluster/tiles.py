"""Which pairs of rows reach a similarity, one tile of the n × n matrix at a time, as fast as the CPU multiplies.

Words: n rows, d dimensions; a tile is a panel (some rows, on the left) against rows c:d of `order` (on the right).
Each tile is one core's: cores that multiply side by side need not wait for each other, and what comes after a product
is shared as well. Both kinds may say yes too often, never too seldom: float32 by its rounding, int8 by its
proven error bound.

Int8: with x = s q + e (q whole numbers in -127..127), |x·y - s² q·r| <= |e_x| |y| + |x - e_x| |e_y|, so with E the
largest measured |e| and L the largest |x|, the estimate is within E L + (L + E) E of the truth.
"""

import functools
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

PANEL, TILE = 512, 1024     # a tile's int32 result, 2 MB, stays in the cache of its core
FLOAT_EPS = 2.0 ** -23      # twice float32's unit roundoff: a dot of d products is within d * 2**-24 * |x| |y| of exact
INT8_SLACK = 0.05           # a looser int8 estimate than this reports so many false pairs that float32 is faster
ZERO = 128                  # what the left side adds to its whole numbers, to be unsigned
FEW = 4096                  # rows up to which it does not matter which kind is faster


@dataclass(frozen=True)
class Hits:
    """Places in a tile that reach the threshold."""

    left: np.ndarray        # (h,) int64
    right: np.ndarray
    sure: np.ndarray        # (h,) bool: certainly; the others are worth a second look


class Float32Tiles:
    """Similarities of `rows[order]`, seen through one threshold."""

    def __init__(self, rows: np.ndarray, order: np.ndarray, least: float) -> None:
        self.rows, self.order = rows, order
        self.least = np.float32(least - float_slack(rows.shape[1]))
        self.product = Product("float32")

    def panel(self, ids: np.ndarray) -> np.ndarray:
        """The left side of a tile: rows[ids]."""
        return self.rows[ids]

    def hits(self, panel: np.ndarray, c: int, d: int) -> Hits:
        """Every place of panel × rows[order[c:d]] with the threshold or more. c:d does not cross a multiple of TILE."""
        product = self.product(panel, self.rows[self.order[c:d]])
        found = np.flatnonzero(product >= self.least)
        return Hits(*np.divmod(found, d - c), np.ones(len(found), bool))


@dataclass(frozen=True)
class Rounded:
    """Some rows as whole numbers, times a scale."""

    scale: np.float32
    tiles: list[np.ndarray]     # (d, TILE) int8: right sides, ready to use; the last is filled up
    error: float                # length of the largest difference to a row
    longest: float              # length of the longest row


def largest(rows: np.ndarray) -> float:
    """The largest absolute number of rows (n, d), without a copy of them."""
    return max(float(rows.max(initial=0)), -float(rows.min(initial=0)))


def rounded(rows: np.ndarray, order: np.ndarray, largest: float) -> Rounded:
    """rows[order], none of whose numbers is larger than `largest`."""
    scale, parts, worst, longest = np.float32(largest / 127 or 1.0), [], 0.0, 0.0
    for start in range(0, len(order), TILE):
        part = rows[order[start:start + TILE]]
        whole = np.rint(part / scale)
        parts.append(np.zeros((rows.shape[1], TILE), np.int8))
        parts[-1][:, :len(part)] = whole.T
        error = part - whole * scale
        worst = max(worst, float(np.einsum("nd,nd->n", error, error, dtype=np.float64).max()))
        longest = max(longest, float(np.einsum("nd,nd->n", part, part, dtype=np.float64).max()))
    return Rounded(scale, parts, worst ** 0.5, longest ** 0.5)


class Int8Tiles:
    """The same by whole numbers; `parts` are those of rows[order], all of one scale, where they are known already."""

    def __init__(self, rows: np.ndarray, order: np.ndarray, least: float, parts: Iterable[Rounded] = ()) -> None:
        parts = list(parts) or [rounded(rows, order, largest(rows))]
        self.rows, self.scale = rows, parts[0].scale
        self.tiles = [tile for part in parts for tile in part.tiles]
        error, longest = max(part.error for part in parts), max(part.longest for part in parts)
        self.slack = error * longest + (longest + error) * error + float_slack(rows.shape[1])
        unit = float(self.scale) ** 2
        self.least, self.sure = np.ceil((least - self.slack) / unit), np.ceil((least + self.slack) / unit)
        self.product = Product("int8")

    def panel(self, ids: np.ndarray) -> np.ndarray:
        return (np.rint(self.rows[ids] / self.scale) + ZERO).astype(np.uint8)

    def hits(self, panel: np.ndarray, c: int, d: int) -> Hits:
        right = self.tiles[c // TILE][:, c % TILE:c % TILE + d - c]
        product = self.product(panel, np.ascontiguousarray(right))
        found = np.flatnonzero(product >= np.int32(self.least))
        return Hits(*np.divmod(found, d - c), product[found] >= np.int32(self.sure))


def float_slack(dimension: int) -> float:
    """How far a float32 dot of unit rows may lie from the exact one."""
    return dimension * FLOAT_EPS


def tiles(rows: np.ndarray, order: np.ndarray, least: float, kind: str = "auto",
          parts: Iterable[Rounded] = ()) -> Float32Tiles | Int8Tiles:
    """The faster kind for these rows on this CPU. `kind` is "float32", "int8" or "auto"; `parts`: see Int8Tiles."""
    if kind == "int8" or (kind == "auto" and len(rows) > FEW and int8_is_right()):
        quantised = Int8Tiles(rows, order, least, parts)
        if kind == "int8" or quantised.slack < INT8_SLACK:
            return quantised
    return Float32Tiles(rows, order, least)


class Product:
    """left × right on one core, into scratch that each thread has for itself.

    "float32": left (R, d), right (C, d), both float32. "int8": left (R, d) uint8 with ZERO added, right (d, C) int8.
    Returns (R * C,) float32 or int32, good until the same thread's next call.
    """

    def __init__(self, kind: str) -> None:
        self.session = _session(kind)
        self.type: type = np.float32 if kind == "float32" else np.int32
        self.rows_of_right = 0 if kind == "float32" else 1
        self.mine = threading.local()

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        shape = len(left), right.shape[self.rows_of_right]
        size = shape[0] * shape[1]
        if getattr(self.mine, "scratch", np.empty(0)).size < size:
            self.mine.scratch, self.mine.binding = np.empty(size, self.type), self.session.io_binding()
        binding, scratch = self.mine.binding, self.mine.scratch
        binding.bind_cpu_input("left", left)
        binding.bind_cpu_input("right", right)
        binding.bind_output("product", "cpu", 0, self.type, shape, scratch.ctypes.data)
        self.session.run_with_iobinding(binding)
        return np.asarray(scratch[:size])


@functools.cache
def int8_is_right() -> bool:
    """Whether this CPU adds int8 products in 32 bits. AVX2 without VNNI adds pairs in 16, which cuts 2 * 255 * 127."""
    left, right = np.full((PANEL, 512), 255, np.uint8), np.full((512, TILE), 127, np.int8)
    return bool((Product("int8")(left, right) == 512 * 127 * 127).all())


@functools.cache
def _session(kind: str) -> Any:
    """An onnxruntime session that multiplies on one core: its products are the fastest that Python has in a wheel."""
    import onnxruntime
    from onnx import TensorProto, helper

    if kind == "float32":
        node, constants = helper.make_node("Gemm", ["left", "right"], ["product"], transB=1), []
        types = TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT
    else:
        node = helper.make_node("MatMulInteger", ["left", "right", "zero"], ["product"])
        constants = [helper.make_tensor("zero", TensorProto.UINT8, [], [ZERO])]
        types = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
    left, right, product = (helper.make_tensor_value_info(name, type_, [None, None])
                            for name, type_ in zip(("left", "right", "product"), types, strict=True))
    graph = helper.make_graph([node], "tile", [left, right], [product], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
