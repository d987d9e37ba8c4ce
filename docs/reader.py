"""A second reader of ``.tinc`` files: the standard library and NumPy, written from the specification alone.

    python docs/reader.py FILE.tinc OUT.npy

It follows format.md and then residual-format.md, in their order and words, and is best read beside them. It decodes
whole volumes, and raises ValueError where something is not as it should be. It does not repeat every limit of *What a
reader checks*, nor does it spare memory: for large files, and those of strangers, use napari-tinc.
"""

from __future__ import annotations

import binascii
import itertools
import lzma
import math
import struct
import sys
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Box = tuple[int, ...]  # z, y, x
DTYPES = ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f2", "<f4", "<f8")
RESIDUAL, LATTICE, LEADING_AXES, FURTHER, BLOCKS, FILTER, REGIONS, BACKGROUND = (1 << i for i in range(8))  # features
SORTED = 256  # a further feature
SPACING, ORIGIN, ERROR_BOUND, AFFINE = 1, 2, 4, 8  # flags
STRIDES = (2, 4, 8)  # of lattices
FLOAT16, INT8, ENTROPY, SORTED_ENTROPY = range(4)
GLOBAL, PER_HEAD = 1, 2
MAX_REGION = 2**24
MAX_VOXELS, MAX_CHUNK_NODES, MAX_OVERVIEW_EDGE, MAX_FILTER = 2**30, 2**20, 2**16, 2**12
MODEL, WEIGHTS, _, VERIFY, BLOCK, OVERVIEW, _, REGION = range(8)


def read(path: str) -> Array:
    """All values of a file: leading axes, z, y, x; of its dtype."""
    with open(path, "rb") as file:
        return decode(file.read())


def require(condition: Any, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


# --- format.md: Layout


class Cursor:
    """Numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def array(self, dtype: str, n: int) -> Array:
        stop = self.at + n * np.dtype(dtype).itemsize
        require(stop <= len(self.data), f"{len(self.data)} bytes, expected {stop} or more")
        found, self.at = np.frombuffer(self.data[self.at : stop], dtype), stop
        return found

    def number(self, dtype: str) -> Any:
        return self.array(dtype, 1)[0].item()

    def uv(self) -> int:
        value = 0
        for place in range(7):
            byte = self.number("u1")
            value |= (byte & 127) << 7 * place
            if byte < 128:
                require(byte or not place, "a uv is longer than it need be")
                return int(value)
        raise ValueError("a uv is longer than 7 bytes")

    def bits(self, n: int, width: int = 1) -> list[int]:
        """n numbers of so many bits."""
        bits = np.unpackbits(self.array("u1", -(-n * width // 8)), bitorder="little").astype(np.int64)
        require(not bits[n * width :].any(), "padding bits are not 0")
        return list((bits[: n * width].reshape(n, width) << np.arange(width)).sum(axis=1).tolist())

    def end(self) -> None:
        require(self.at == len(self.data), f"{len(self.data)} bytes, expected {self.at}")


class Chunk(NamedTuple):
    kind: int
    level: int
    nodes: int
    payload: bytes


def decode(data: bytes, outer: int | None = None) -> Array:
    """All values of a file; one that is a part of another is given the features of that."""
    require(len(data) >= 16, f"file is {len(data)} bytes, expected 16 or more")
    magic, version, features, length, crc16, crc32 = struct.unpack("<4sBBIHI", data[:16])
    require(magic == b"\x89TNC", f"magic is {magic!r}, expected that of a .tinc file")
    require(crc16 == binascii.crc_hqx(data[:10], 0xFFFF), "CRC-16 of the prefix is wrong")
    require(version >> 4 == 1, f"major version is {version >> 4}, expected 1")
    head, body = Cursor(data[16 : 16 + length]), Cursor(data[16 + length :])
    require(len(head.data) == length and zlib.crc32(head.data) == crc32, "CRC-32 of the head is wrong")
    if features & FURTHER:
        further = head.uv()
        require(further, "further features are none, expected bit 3 only where there are some")
        features += (further << 8) - FURTHER
    allowed = RESIDUAL | LATTICE | LEADING_AXES | FILTER | REGIONS | BACKGROUND | SORTED
    of_blocks = features & ~allowed == BLOCKS and (features & RESIDUAL or not features & FILTER)
    allowed_here = of_blocks or not features & ~(LATTICE | SORTED)
    require(allowed_here, f"features are {features:09b}, expected at most bits 1 and 8, or blocks and 0 to 2, 5 to 8")
    flags, index = head.array("u1", 2).tolist()
    require(flags < 16 and index < len(DTYPES), f"flags and dtype are {flags} and {index}")
    shape, limits = (head.uv(), head.uv(), head.uv()), head.array(DTYPES[index], 2)
    require(0 < math.prod(shape) <= MAX_VOXELS, f"shape is {shape}, expected 1 to {MAX_VOXELS} voxels")
    fractions = np.zeros(0) if features & BLOCKS else head.array("<u2", 2) / 65535
    if flags & SPACING:
        head.array("<f8", 3)
        head.array("u1", head.uv())
    head.array("u1", 24 * bool(flags & ORIGIN) + 8 * bool(flags & ERROR_BOUND) + 48 * bool(flags & AFFINE))
    if features & BLOCKS:
        require(outer is None, "a block holds blocks, expected a file of one tree")
        return _read_blocks(head, body, features, shape, limits)
    require(outer is None or not features & ~outer, f"a block has features {features:09b}, expected the file to say so")
    return _read_tree(head, body, shape, limits, fractions, features)


def _read_chunks(head: Cursor, body: Cursor) -> list[Chunk]:
    """The critical ones."""
    table = [(head.number("u1"), head.uv(), head.uv(), head.number("<u4")) for _ in range(head.uv())]
    head.end()
    require(all(nodes <= MAX_CHUNK_NODES for _, nodes, _, _ in table), "a chunk says that it has too many nodes")
    chunks = [(code, nodes, body.array("u1", length).tobytes(), crc) for code, nodes, length, crc in table]
    body.end()
    for code, _, payload, crc in chunks:
        require(zlib.crc32(payload) == crc, f"CRC-32 of a chunk of type {code} is wrong")
    return [Chunk(code >> 4, code & 15, nodes, payload) for code, nodes, payload, _ in chunks if code < 128]


# --- Tree


@dataclass(eq=False)
class Node:
    level: int
    cell: Box
    cuts: Box  # how often each axis was cut above, s
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    width: int = 0
    has_head: bool = False
    group: int = -1
    weights: dict[str, Array] = field(default_factory=dict)
    gain: float = 1
    offset: float = 0
    scalar: float | None = None

    def size(self, shape: Box) -> Array:
        """Of the cell: e."""
        return np.array(shape) / 2.0 ** np.array(self.cuts)

    def box(self, shape: Box) -> list[tuple[int, int]]:
        """First voxel and the one beyond the last, along each axis."""
        return [(c * n >> s, (c + 1) * n >> s) for c, n, s in zip(self.cell, shape, self.cuts, strict=True)]


def _read_octree(head: Cursor, shape: Box) -> list[Node]:
    splits, nodes = head.bits(head.uv()), [Node(0, (0, 0, 0), (0, 0, 0))]
    for index, split in enumerate(splits):
        require(index < len(nodes), "the tree closes before its bits end")
        node = nodes[index]
        if split:
            e = node.size(shape)
            cut = ((e >= 2) & (2 * e > e.max())).astype(int).tolist()
            require(any(cut), "a node is split that has no axis left to cut")
            cuts = tuple(s + c for s, c in zip(node.cuts, cut, strict=True))
            for half in itertools.product(*(range(1 + c) for c in cut)):
                cell = tuple(i * (1 + c) + h for i, c, h in zip(node.cell, cut, half, strict=True))
                node.children.append(Node(node.level + 1, cell, cuts, node))
            nodes += node.children
    require(len(nodes) == len(splits), "the bits end before the tree closes")
    return nodes


def _read_widths(head: Cursor, nodes: list[Node]) -> list[Node]:
    """Gives nodes their widths, and heads where they give values. Returns the scalar leaves."""
    form = head.number("u1")
    require(form < 2, f"form of the widths is {form}, expected 0 or 1")
    known = [head.uv() for _ in range(head.uv())] if form else []
    level = nodes[:1]
    while level:
        indices = head.bits(len(level), max(1, (len(known) - 1).bit_length())) if form else [0] * len(level)
        choices = known if form else [head.uv()]
        for node, index in zip(level, indices, strict=True):
            require(index < len(choices), f"index of a width is {index}, expected less than {len(choices)}")
            node.width = choices[index]
        level = [child for node in level if node.width for child in node.children]
    leaves = [node for node in nodes if not node.children]
    bare = [leaf for leaf in leaves if not leaf.width]
    scalars = [leaf for leaf, bit in zip(bare, head.bits(len(bare)), strict=True) if bit]
    require(nodes[0].width, "the root has no network")
    for giver in set(leaves) - set(scalars):
        while not giver.width and giver.parent:
            giver = giver.parent
        giver.has_head = True
    for node in nodes:
        wrong = node.width and node.has_head == any(child.width for child in node.children)
        require(not wrong, "a network has both a head and networks below, or neither")
    return scalars


# --- Network


class Tensor(NamedTuple):
    """What all nodes of a group have of a name: numbers times step, in the entropy formats under (theta, largest)."""

    name: str
    nodes: list[Node]
    shape: tuple[int, int]  # of one node
    dtype: str
    step: Any
    law: tuple[float, int]


def _groups(nodes: list[Node]) -> list[list[Node]]:
    groups: list[list[Node]] = []
    for level in range(nodes[-1].level + 1):
        found: dict[tuple[int, int], list[Node]] = {}
        for node in nodes:
            if node.level == level and node.width:
                found.setdefault((node.parent.group if node.parent else 0, node.width), []).append(node)
        for _, group in sorted(found.items()):
            for node in group:
                node.group = len(groups)
            groups.append(group)
    return groups


def _read_step(cursor: Cursor) -> Any:
    """The upper half of an f32."""
    step = np.array(cursor.number("<u2") << 16, "<u4").view("<f4")[()]
    require(np.isfinite(step) and step > 0, f"a step is {step}, expected a finite one above 0")
    return step


def _read_law(cursor: Cursor, form: int) -> tuple[float, int]:
    """theta and the largest magnitude."""
    if form != SORTED_ENTROPY:
        decay, largest = cursor.array("<u2", 2).tolist()
        return decay / 65536, largest
    c, largest = cursor.number("u1"), cursor.uv()
    require(largest < 2**15, f"the largest magnitude is {largest}, expected less than {2**15}")
    mu = (8 + c % 8) * 2.0 ** (c // 8) / 2**17
    return (math.sqrt(1 + mu * mu) - 1) / mu, largest


def _read_model(model: Cursor, nodes: list[Node], layers: int, form: int, calibration: int) -> list[Tensor]:
    tensors = []
    for group in _groups(nodes):
        w, parent, heads = group[0].width, group[0].parent, [node for node in group if node.has_head]
        shapes = {"feature": (parent.width if parent else 0, w), "position": (4, w)}
        for k in range(1, layers):
            shapes |= {f"hidden {k}": (w, w), f"bias {k}": (1, w)}
        for name, shape in (shapes | {"head": (w, 1), "head bias": (1, 1)}).items():
            rows = heads if name.startswith("head") else group
            if rows and shape[0]:
                step = np.float32(1) if form == FLOAT16 else _read_step(model)
                law = _read_law(model, form) if form >= ENTROPY else (0.0, 0)
                tensors.append(Tensor(name, rows, shape, "<f2" if form == FLOAT16 else "<i1", step, law))
    heads = [node for node in nodes if node.has_head]
    if calibration == GLOBAL:
        gain, offset = model.array("<f4", 2).tolist()
        for node in heads:
            node.gain, node.offset = gain, offset
    for name in ("gain", "offset") if calibration == PER_HEAD else ():
        tensors.append(Tensor(name, heads, (1, 1), "<i2", np.float32(1 / 256), _read_law(model, form)))
    return tensors


def _read_weights(chunk: Chunk, run: list[Node], tensors: list[Tensor], form: int) -> None:
    stack, cursor, members = Stack(chunk.payload if form >= ENTROPY else b""), Cursor(chunk.payload), set(run)
    require(run and {node.level for node in run} == {chunk.level}, "networks of a chunk are not of its level")
    for tensor in tensors:
        nodes = [node for node in tensor.nodes if node in members]
        n = len(nodes) * tensor.shape[0] * tensor.shape[1]
        if n and form == SORTED_ENTROPY and (tensor.name == "position" or tensor.name.startswith("bias")):
            integers = _read_with_keys(stack, len(nodes), tensor)
        else:
            integers = stack.geometric(n, *tensor.law) if form >= ENTROPY else cursor.array(tensor.dtype, n)
        values = (integers.astype(np.float32) * tensor.step).reshape(len(nodes), *tensor.shape)
        for node, own in zip(nodes, values, strict=True):
            node.weights[tensor.name] = own
    (stack if form >= ENTROPY else cursor).end()
    for node in run:
        if "gain" in node.weights:
            node.gain, node.offset = 1 + node.weights["gain"].item(), node.weights["offset"].item()


def _read_with_keys(stack: Stack, n: int, tensor: Tensor) -> Array:
    """Integers of a tensor with sorted columns."""
    (theta, largest), (rows, w) = tensor.law, tensor.shape
    stretches = itertools.groupby(range(w), lambda i: (4 * (w - i) // 3).bit_length() - 1)
    differences = [
        stack.one_sided(n * len(list(stretch)), _squared(theta, e), largest).reshape(n, -1) for e, stretch in stretches
    ]
    keys = np.cumsum(np.concatenate(differences, axis=1), axis=1)
    require(keys.max() <= largest, f"a key is {keys.max()}, expected at most {largest}")
    others = stack.geometric(n * (rows - 1) * w, theta, largest).reshape(n, rows - 1, w)
    return np.concatenate([keys[:, None], others], axis=1)


def _squared(theta: float, times: int) -> float:
    for _ in range(times):
        theta *= theta
    return theta


def _read_tree(
    head: Cursor, body: Cursor, shape: Box, limits: Array, fractions: Array, features: int
) -> Array:  # fmt: skip
    layers, _, form, calibration = head.number("u1"), head.number("<f4"), head.number("u1"), head.number("u1")
    require(
        form <= SORTED_ENTROPY and calibration <= PER_HEAD, f"weights format, calibration are {form}, {calibration}"
    )
    require((form == SORTED_ENTROPY) == bool(features & SORTED), f"weights format is {form}, features {features:09b}")
    nodes = _read_octree(head, shape)
    scalars = _read_widths(head, nodes)
    lattice = [head.uv() for _ in STRIDES] if features & LATTICE else []
    most = layers * (1 + max(node.level for node in nodes if node.width))
    falls = all(a >= b for a, b in zip([most, *lattice], lattice, strict=False))
    require(
        not lattice or (lattice[0] and falls), f"layers on lattices are {lattice}, expected 1 to {most} and falling"
    )
    first, *chunks = _read_chunks(head, body)
    require(first.kind == MODEL and all(c.kind == WEIGHTS for c in chunks), "chunks are not a MODEL and WEIGHTS")
    model = Cursor(first.payload)
    tensors = _read_model(model, nodes, layers, form, calibration)
    if scalars:
        step, law, base = float(_read_step(model)), _read_law(model, ENTROPY), model.number("<i2")
        stack = Stack(model.data[model.at :])
        for node, integer in zip(scalars, stack.geometric(len(scalars), *law).tolist(), strict=True):
            node.scalar = (integer + base) * step
        stack.end()
    else:
        model.end()
    networks = [node for node in nodes if node.width]
    for chunk in chunks:
        _read_weights(chunk, networks[: chunk.nodes], tensors, form)
        networks = networks[chunk.nodes :]
    require(not networks, f"{len(networks)} networks have no weights")
    return _evaluate(nodes, shape, limits, fractions, lattice)


# --- Entropy coding


class Stack:
    """A stream, read from its back."""

    def __init__(self, data: bytes) -> None:
        require(len(data) % 4 == 0, f"a stream is {len(data)} bytes, expected a multiple of 4")
        self.words, self.state = np.frombuffer(data, "<u4").tolist(), 0
        require(not self.words or self.words[-1], "the last word of a stream is 0")
        while self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def symbols(self, c: list[int], n: int) -> Array:
        state, words, found = self.state, self.words, [0] * n
        for place in range(n):
            q = state & 0xFFFFFF
            found[place] = i = bisect_right(c, q) - 1
            state = (state >> 24) * (c[i + 1] - c[i]) + q - c[i]
            if state < 2**32 and words:
                state = state << 32 | words.pop()
        self.state = state
        return np.array(found, np.int64)

    def geometric(self, n: int, theta: float, largest: int) -> Array:
        return self.symbols(_geometric(theta, largest), n) - largest if largest else np.zeros(n, np.int64)

    def one_sided(self, n: int, theta: float, largest: int) -> Array:
        return self.symbols(_in_24_bits(_powers(theta, largest)), n) if largest else np.zeros(n, np.int64)

    def plain(self, n: int, width: int) -> Array:
        """Plain bits: n integers."""
        found = np.zeros(n, np.int64)
        for low in range(0, width, 16):
            found |= self.symbols(_even(min(16, width - low)), n) << low
        return found

    def end(self) -> None:
        require(not self.state and not self.words, "a stream holds more than it should")


def _in_24_bits(t: Array) -> list[int]:
    """c of t."""
    m, sums = len(t), np.concatenate([[0.0], np.cumsum(t)])
    return [*(np.arange(m) + np.floor(sums[:-1] * ((2**24 - m) / sums[-1])).astype(np.int64)).tolist(), 2**24]


def _powers(theta: float, largest: int) -> Array:
    return np.maximum(np.cumprod([1.0] + [theta] * largest), 2.0**-40)


@cache
def _geometric(theta: float, largest: int) -> list[int]:
    p = _powers(theta, largest)
    return _in_24_bits(np.concatenate([p[:0:-1], p]))


@cache
def _even(width: int) -> list[int]:
    return list(range(0, 2**24 + 1, 2 ** (24 - width)))


# --- Decoding


def _evaluate(nodes: list[Node], shape: Box, limits: Array, fractions: Array, lattice: list[int]) -> Array:
    """Values of all voxels, leaf by leaf."""
    lo, hi = limits.astype(np.float64).tolist()
    mean, std = lo + (hi - lo) * fractions[0], (hi - lo) * fractions[1]
    out = np.empty(shape, limits.dtype)
    for leaf in nodes:
        if leaf.children:
            continue
        head, box = leaf, leaf.box(shape)
        while not head.width and head.parent:
            head = head.parent
        path = Path(head, shape, lattice)
        for z in range(*box[0], 8):  # a few planes at a time, for the memory's sake
            ends = [(z, min(z + 8, box[0][1])), *box[1:]]
            if leaf.scalar is None:
                outputs = path.values(path.n_layers, [np.arange(*pair) + 0.5 for pair in ends])[..., 0]
                y = (head.gain * outputs.astype(np.float64) + head.offset).astype(np.float32)
            else:
                y = np.full([b - a for a, b in ends], leaf.scalar, np.float32)
            values = np.clip(mean + std * y.astype(np.float64), lo, hi)
            place = tuple(slice(*pair) for pair in ends)
            out[place] = np.rint(values) if limits.dtype.kind in "iu" else values
    return out


class Path:
    """The layers from the root to a head, which comes last. Axes are points along z, y, x."""

    def __init__(self, head: Node, shape: Box, lattice: list[int]) -> None:
        self.box, self.shape, self.lattice = head.box(shape), shape, lattice
        self.layers: list[tuple[Node, str]] = []
        node: Node | None = head
        while node:
            n = sum(name.startswith("hidden") for name in node.weights)
            self.layers[:0] = [(node, "position"), *((node, f"hidden {k}") for k in range(1, n + 1))]
            node = node.parent
        self.n_layers = len(self.layers)
        self.layers.append((head, "head"))

    def stride(self, layer: int) -> int:
        """Of the lattice that a layer is evaluated on, 1 for none."""
        return max((s for s, last in zip(STRIDES, self.lattice, strict=False) if 0 < layer <= last), default=1)

    def values(self, layer: int, axes: list[Array]) -> Array:
        """Sums of a layer, before its sines, (z, y, x, width); interpolated where the next has a finer lattice."""
        stride = self.stride(layer)
        if layer and stride > (self.stride(layer + 1) if layer < self.n_layers else 1):
            parts = [_stencil(axis, *ends, stride) for axis, ends in zip(axes, self.box, strict=True)]
            sums = self.sums(layer, [points for points, _ in parts])
            for place, (_, weights) in enumerate(parts):
                sums = np.moveaxis(np.tensordot(weights, sums, (1, place)), 0, place)
            return sums
        return self.sums(layer, axes)

    def sums(self, layer: int, axes: list[Array]) -> Array:
        """Sums of a layer at its points."""
        node, name = self.layers[layer]
        x = np.sin(self.values(layer - 1, axes)) if layer else None
        if name == "position":
            return _first_sums(node, axes, x, self.shape)
        return x @ node.weights[name] + node.weights[name.replace("hidden", "bias").replace("head", "head bias")]


def _first_sums(node: Node, axes: list[Array], x: Array | None, shape: Box) -> Array:
    """Sums of the first layer of a node; x is the output of its parent."""
    e, position = node.size(shape), node.weights["position"]
    total = position[3] + (0 if x is None else x @ node.weights["feature"])
    for axis, along in enumerate(np.ix_(*axes)):
        u = (along - (node.cell[axis] + 0.5) * e[axis]) * (2 / e.max())
        total = total + u.astype(np.float32)[..., None] * position[axis]
    return total


def _stencil(axis: Array, start: int, stop: int, stride: int) -> tuple[Array, Array]:
    """Points of a lattice, as coordinates; and the weights that each of them has at the points of an axis."""
    margin = int(stride > 2)
    count = max(4, -(-(stop - start - 1) // stride) + 1 + 2 * margin)
    at = (axis - start - 0.5) / stride + margin
    first = np.clip(np.floor(at) - 1, 0, count - 4)
    t = at - first - 1
    c = np.maximum(0, t * (1 - t)) / 16
    taps = [
        *(-t * (t - 1) * (t - 2) / 6 - c, (t + 1) * (t - 1) * (t - 2) / 2 + c),
        *(-(t + 1) * t * (t - 2) / 2 + c, (t + 1) * t * (t - 1) / 6 - c),
    ]
    weights = np.zeros((len(axis), count))
    for place, tap in enumerate(taps):
        weights[np.arange(len(axis)), first.astype(int) + place] = tap
    used = np.flatnonzero(weights.any(axis=0))
    return start + 0.5 + stride * (used - float(margin)), weights[:, used].astype(np.float32)


# --- Blocks


def _read_blocks(head: Cursor, body: Cursor, features: int, shape: Box, limits: Array) -> Array:
    dtype = limits.dtype.str.replace("|", "<")
    leading = [head.uv() for _ in range(head.uv())]
    require(0 < math.prod(leading) * math.prod(shape) <= MAX_VOXELS, f"leading axes are {leading}, too many or empty")
    leaves = [node for node in _read_octree(head, shape) if not node.children]
    edge = head.uv()
    require(edge <= MAX_OVERVIEW_EDGE, f"edge of an overview's cells is {edge}, expected at most {MAX_OVERVIEW_EDGE}")
    coefficients = _read_filter(head.array("u1", head.uv()).tobytes()) if features & FILTER else None
    regions = _read_places(head, shape, math.prod(leading)) if features & REGIONS else []
    chunks = _read_chunks(head, body)
    volumes = np.empty((*leading, *shape), dtype).reshape(-1, *shape)
    places: list[tuple[int, Array]] = []
    if edge:
        places = [(OVERVIEW, np.empty([-(-n // edge) for n in shape], dtype)) for _ in volumes]
    n_overviews = len(places)
    for volume in volumes:
        places += [(BLOCK, volume[tuple(slice(*ends) for ends in leaf.box(shape))]) for leaf in leaves]
    require(bool(features & LEADING_AXES) == bool(leading), "feature 2 is not that of the leading axes")
    in_regions = chunks[n_overviews : n_overviews + len(regions)]
    require(all((c.kind, c.level) == (REGION, 0) for c in in_regions), "chunks are not those of the regions")
    chunks = chunks[:n_overviews] + chunks[n_overviews + len(regions) :]
    require([c.kind for c in chunks][: len(places)] == [kind for kind, _ in places], "chunks are not those of the tree")
    checksums = b""
    for (kind, place), chunk in zip(places, chunks, strict=False):
        require(chunk.level < (3 if features & BACKGROUND else 2), f"level of a block is {chunk.level}")
        if chunk.level == 2:
            values, hidden, rest = _background(chunk.payload, place.shape, dtype)
            at = _part_left(hidden, 1) if chunk.payload[1] & 128 else np.s_[:, :, :]
            inside = decode(rest, features)
            require((inside.shape, inside.dtype) == (values[at].shape, values.dtype), "networks are not of that part")
            values[at] = np.where(hidden[at], values[at], inside)
        elif chunk.level == 1:
            values = residual(chunk.payload, place.shape, dtype)
        else:
            values = decode(chunk.payload, features)
        require((values.shape, values.dtype) == (place.shape, place.dtype), "a block has not the shape of its leaf")
        checksums += struct.pack("<I", zlib.crc32(values.tobytes())) if chunk.level == 1 else b""
        if coefficients and kind == BLOCK and chunk.level == 1 and _is_rounded(chunk.payload):
            filtered = _filtered(values, limits, *coefficients)
            covered = chunk.payload[0] == 6 and _background(chunk.payload, place.shape, dtype)[1]
            values = np.where(covered, values, filtered)
        place[:] = values
    require(bool(features & RESIDUAL) == bool(checksums), "feature 0 is not that of the blocks")
    verify = [(c.kind, c.payload) for c in chunks[len(places) :]]
    require(verify == ([(VERIFY, checksums)] if checksums else []), "VERIFY is not that of the values")
    for (volume_of_region, box), chunk in zip(regions, in_regions, strict=True):
        _read_region(chunk.payload, volumes[volume_of_region][box])
    return volumes.reshape(*leading, *shape)


# --- Filter

ORBITS = (
    *((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)),
    *((2, 0, 0), (0, 2, 0), (0, 0, 2), (3, 0, 0), (0, 3, 0), (0, 0, 3)),
)


def _read_filter(data: bytes) -> tuple[Array, Any]:
    """Coefficients of each class, (classes, terms), and the unit."""
    require(len(data) <= MAX_FILTER, f"a filter is {len(data)} bytes, expected at most {MAX_FILTER}")
    cursor = Cursor(data)
    classes, clips, bits = cursor.array("u1", 3).tolist()
    unit, (decay, largest) = cursor.array("<f4", 1)[0], cursor.array("<u2", 2).tolist()
    require(classes in (1, 4, 8) and clips < 2 and bits < 16, f"a filter has {classes}, {clips}, {bits}")
    require(0 < unit < np.inf and largest < 2**15 and bool(decay) == bool(largest), f"a filter has the unit {unit}")
    n, stack = len(ORBITS) * (1 + clips) + 1, Stack(data[cursor.at :])
    integers = stack.geometric(classes * n, decay / 65536, largest)
    stack.end()
    return integers.reshape(classes, n).astype(np.float32) * np.float32(2.0**-bits), unit


def _filtered(values: Array, limits: Array, coefficients: Array, unit: Any) -> Array:
    lo, hi = limits.astype(np.float64).tolist()
    if not 0 < hi - lo < np.inf:
        return values
    v = values.astype(np.float64)
    x = ((v - lo) / (hi - lo)).astype(np.float32)
    z, y, along = np.ix_(*(np.arange(n) % 2 for n in x.shape))
    of_voxel = {1: 0 * (z + y + along), 4: z + y + along, 8: 4 * z + 2 * y + along}[len(coefficients)]
    total = coefficients[:, -1][of_voxel] * unit
    for number, orbit in enumerate(ORBITS):
        mean = x
        for axis, d in enumerate(orbit):
            if d:
                at, last = np.arange(x.shape[axis]), x.shape[axis] - 1
                mean = mean.take(np.maximum(at - d, 0), axis) + mean.take(np.minimum(at + d, last), axis)
        term = mean * np.float32(0.5 ** np.count_nonzero(orbit)) - x
        total += coefficients[:, number][of_voxel] * term
        if coefficients.shape[1] > len(ORBITS) + 1:
            total += coefficients[:, len(ORBITS) + number][of_voxel] * np.minimum(np.maximum(term, -unit), unit)
    v = np.clip(v + total.astype(np.float64) * (hi - lo), lo, hi)
    return (np.rint(v) if values.dtype.kind in "iu" else v).astype(values.dtype)


def _read_places(head: Cursor, shape: Box, n_volumes: int) -> list[tuple[int, tuple[slice, ...]]]:
    """Volume and box of each region."""
    head.array("<f8", 1)
    n_voxels, places = head.uv(), []
    for _ in range(head.uv()):
        volume, *numbers = [head.uv() for _ in range(7)]
        box = tuple(slice(first, first + n) for first, n in zip(numbers[:3], numbers[3:], strict=True))
        inside = volume < n_volumes and all(side.stop <= n for side, n in zip(box, shape, strict=True))
        require(inside and 0 < math.prod(numbers[3:]) <= MAX_REGION, f"the box of a region is {volume}, {numbers}")
        places.append((volume, box))
    sizes = [math.prod(side.stop - side.start for side in box) for _, box in places]
    require(0 < n_voxels <= sum(sizes) <= n_volumes * math.prod(shape), "regions have too many or too few voxels")
    return places


def _read_region(payload: bytes, box: Array) -> None:
    """Put the values of a region into its box."""
    cursor = Cursor(payload)
    crc, length = cursor.array("<u4", 2).tolist()
    mask = residual(cursor.array("u1", length).tobytes(), box.shape, "<u1")
    values = residual(payload[cursor.at :], box.shape, box.dtype.str.replace("|", "<"))
    require(mask.max() == 1, "a mask of a region is not 0 and 1")
    require(zlib.crc32(values[mask == 1].tobytes()) == crc, "CRC-32 of a region is wrong")
    box[mask == 1] = values[mask == 1]


# --- residual-format.md


def residual(data: bytes, shape: Box, dtype: str, hidden: Array | None = None) -> Array:
    """The values of a box; any where a background hides them."""
    cursor, size = Cursor(data), math.prod(shape)
    kind, n_bits, is_float = cursor.number("u1"), 8 * np.dtype(dtype).itemsize, dtype[1] == "f"
    if kind == 0:
        values = np.full(shape, cursor.array(dtype, 1)[0])
        cursor.end()
        return values
    if kind == 3 and is_float:
        return np.frombuffer(_unpacked(data[1:], size * n_bits // 8), dtype).reshape(shape)
    if kind == 4:
        return _labels(Stack(data[1:]), shape, n_bits).view(dtype)
    if kind == 5 and is_float:
        n = cursor.number("<u4")
        mask, rest = _labels(Stack(cursor.array("u1", n).tobytes()), shape, n_bits), data[cursor.at :]
        require(rest[:1] in (b"\0", b"\1", b"\2"), "behind a mask is no residual of kind 0 to 2")
        return np.where(mask == 0, residual(rest, shape, dtype), mask.view(dtype))
    if kind == 6:
        smooth, covered, rest = _background(data, shape, dtype)
        require(covered.all() == (rest == b""), "behind a background is not what it leaves")
        require(rest[:1] in (b"", b"\1", b"\2"), "behind a background is no residual of kind 1 or 2")
        if rest:
            at = _part_left(covered, 32) if data[1] & 128 else np.s_[:, :, :]
            smooth[at] = np.where(covered[at], smooth[at], residual(rest, covered[at].shape, dtype, covered[at]))
        return smooth
    require(kind == 1 or (kind == 2 and is_float), f"kind of a residual is {kind}")
    taper, shift, low = cursor.array("u1", 3).tolist()
    lowest = cursor.number("<f8" if kind == 2 else "<i8")
    (high, bound), step = cursor.array("<u8", 2).tolist(), cursor.number("<f8")
    require(0 < high < 2**36 and bound <= high and taper <= 4, f"high, bound, taper are {high}, {bound}, {taper}")
    require(shift < n_bits and low <= max(0, n_bits - 36), f"shift and low are {shift} and {low}")
    sizes = cursor.array("<u4", 3).tolist()
    table, low_bits = (Stack(cursor.array("u1", n).tobytes()) for n in sizes[:2])
    wrong, right = cursor.array("<u4", sizes[2]).astype(np.int64), cursor.array(dtype, sizes[2])
    q = _integers(Stack(data[cursor.at :]), shape, high, bound, taper, hidden)
    if kind == 2:
        most = float(np.finfo(dtype).max)
        require(step > 0 and np.isfinite([step, lowest]).all(), f"the grid is {lowest}, {step}")
        with np.errstate(over="ignore"):
            values = np.clip(q * step + lowest, -most, most).astype(dtype)
    else:
        if sizes[0]:
            q = _ascending(table, high)[q]
        ranks = np.int64(lowest) + (q << low | low_bits.plain(size, low).reshape(shape))
        sign = np.int64(-(2 ** (n_bits - 1)))
        patterns = np.where(ranks < 0, (-1 - ranks) << shift | sign, ranks << shift) if is_float else ranks
        values = patterns.astype(f"<i{n_bits // 8}" if is_float else dtype).view(dtype)
    table.end()
    low_bits.end()
    require((np.diff(wrong, append=size) > 0).all(), "positions of corrections do not ascend within the box")
    values.reshape(-1)[wrong] = right
    return values


def _is_rounded(data: bytes) -> bool:
    """Whether a residual has numbers within a bound above 0, maybe behind a background."""
    if data[0] == 6:
        data = data[16 + int.from_bytes(data[2:4], "little") + int.from_bytes(data[4:8], "little") :]
    return data[:1] in (b"\1", b"\2") and any(data[20:28])


def _background(data: bytes, shape: Box, dtype: str) -> tuple[Array, Array, bytes]:
    """The values of a background, the voxels that it hides, and the bytes behind it."""
    cursor = Cursor(data)
    kind, degree = cursor.array("u1", 2).tolist()
    degree &= 127
    n_coefficients, n_mask, step = cursor.number("<u2"), cursor.number("<u4"), cursor.number("<f8")
    require(n_mask or data[1] < 128, "a background without a mask leaves no part")
    require(kind == 6 and degree <= 8 and 0 < step < math.inf, f"background is {kind}, {degree}, {step}")
    stack = Stack(cursor.array("u1", n_coefficients).tobytes())
    powers = [p for p in itertools.product(range(degree + 1), repeat=3) if sum(p) <= degree]
    powers.sort(key=lambda p: (sum(p), p))
    c = dict(zip(powers, (numbers(stack, MEDIUM, len(powers)) * step).tolist(), strict=True))
    stack.end()
    z, y, x = (_chebyshev(n, degree) for n in shape)
    total = np.zeros(shape)
    for i in range(degree + 1):
        plane = np.zeros(shape[1:])
        for j in range(degree + 1 - i):
            line = np.zeros(shape[2])
            for k in range(degree + 1 - i - j):
                line = line + x[k] * c[i, j, k]
            plane = plane + y[j][:, None] * line
        total = total + z[i][:, None, None] * plane
    limits = np.finfo(dtype) if dtype[1] == "f" else np.iinfo(dtype)
    total = np.clip(total if dtype[1] == "f" else np.rint(total), float(limits.min), float(limits.max))
    hidden = np.ones(shape, bool)
    if n_mask:
        cells = _labels(Stack(cursor.array("u1", n_mask).tobytes()), tuple((n + 1) // 2 for n in shape), 8)
        require(set(np.unique(cells).tolist()) == {0, 1}, "mask of a background is not of 0 and 1")
        hidden = cells[np.ix_(*(np.arange(n) // 2 for n in shape))] > 0
    return total.astype(dtype), hidden, data[cursor.at :]


def _part_left(covered: Array, unit: int) -> tuple[slice, ...]:
    """The smallest box around the voxels that a background leaves, from multiples of a unit."""
    met = np.nonzero(~covered)
    return tuple(slice(int(axis.min()) // unit * unit, int(axis.max()) + 1) for axis in met)


def _chebyshev(n: int, degree: int) -> list[Array]:
    """T_0 .. T_degree at n voxels."""
    u = (2.0 * np.arange(n) + 1.0 - n) / n
    found = [np.ones(n), u]
    while len(found) <= degree:
        found.append(2.0 * u * found[-1] - found[-2])
    return found


def _unpacked(data: bytes, size: int) -> bytearray:
    xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**23)
    try:
        values = xz.decompress(data, size + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"no .xz stream: {error}") from error
    require(len(values) == size and xz.eof and not xz.unused_data, "an .xz stream is not that of the box")
    return bytearray(values)


def _ascending(stack: Stack, high: int) -> Array:
    """The table."""
    tables = Tables(stack)
    require(len(tables.all) == 1, f"a table has {len(tables.all)} tables of costs, expected 1")
    steps = numbers(stack, tables.all[0], high)
    require((steps > 0).all(), "a table does not ascend")
    return np.concatenate([[0], np.cumsum(steps)])


# --- Streams

N_TOKENS = 159
P = np.cumprod([1.0] + [0.8408964152537145] * 127)
FLAT = _in_24_bits(np.ones(N_TOKENS))
MEDIUM = _in_24_bits(P[[0 if i < 48 else 24 for i in range(N_TOKENS)]])
STEEP = _in_24_bits(P[[min(2 * i, 80) for i in range(N_TOKENS)]])


def numbers(stack: Stack, table: list[int], n: int) -> Array:
    return _of_tokens(stack, stack.symbols(table, n))


def number(stack: Stack, table: list[int], low: int, high: int) -> int:
    found = int(numbers(stack, table, 1)[0])
    require(low <= found <= high, f"a number is {found}, expected {low} to {high}")
    return found


def _of_tokens(stack: Stack, tokens: Array) -> Array:
    """Numbers, once their further bits are read."""
    found = np.where(tokens & 1, (tokens + 1) >> 1, -(tokens >> 1))
    octaves = 3 + (tokens - 15) // 4
    for o in np.unique(octaves[tokens >= 15]).tolist():
        mine = np.flatnonzero(octaves == o)
        r = stack.plain(len(mine), o - 1)
        magnitudes = 2**o + (tokens[mine] - 15) % 4 * 2 ** (o - 2) + (r >> 1)
        found[mine] = np.where(r & 1, -magnitudes, magnitudes)
    return found


class Tables:
    """A set of tables; those of one token are [0, 2^24]."""

    def __init__(self, stack: Stack) -> None:
        self.all: list[list[int]] = []
        of_class: list[int] = []
        costs = np.zeros(1, np.int64)
        for place in range(number(stack, STEEP, 0, 200)):
            of_class += [place] * number(stack, STEEP, 1, 200 - len(of_class))
            m = number(stack, STEEP, 1, N_TOKENS)
            expected = np.concatenate([costs, costs[-1] + np.arange(1, m + 1)])[:m]
            costs = expected + np.cumsum(numbers(stack, STEEP, m)) if m > 1 else np.zeros(1, np.int64)
            require(costs.min() >= 0 and costs.max() <= 127, "a cost is out of range")
            self.all.append(_in_24_bits(P[costs]))
        self.of_class = np.array(of_class, np.int64)

    def tokens(self, stack: Stack, classes: Array) -> Array:
        require((classes < len(self.of_class)).all(), "a class has no table")
        tokens, of_voxel = np.zeros(len(classes), np.int64), self.of_class[classes]
        for place in np.unique(of_voxel).tolist():
            if len(self.all[place]) > 2:
                mine = np.flatnonzero(of_voxel == place)
                tokens[mine] = stack.symbols(self.all[place], len(mine))
        return tokens


# --- From coarse to fine

PARITIES = ((1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
SHELLS = (((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 1, 1), (1, 0, 1), (1, 1, 0)), ((1, 1, 1),))
NEAR = SHELLS[0] + SHELLS[1] + SHELLS[2]
FAR = ((3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 1, 2), (2, 0, 1), (0, 2, 1))


class Stage(NamedTuple):
    level: int
    grid: Box  # number of voxels
    parity: Box
    earlier: set[Box]

    def voxels(self) -> tuple[slice, ...]:
        """Where in the box they are."""
        return tuple(slice(p << self.level, None, 2 << self.level) for p in self.parity)

    def known(self, orbits: tuple[Box, ...]) -> list[Box]:
        return [o for o in orbits if tuple((p + d) & 1 for p, d in zip(self.parity, o, strict=True)) in self.earlier]

    def neighbours(self, box: Array, orbit: Box) -> Array:
        """What is at the offsets of an orbit, for all voxels of the stage: (offsets, z, y, x)."""
        found = []
        for offset in itertools.product(*((d, -d) if d else (0,) for d in orbit)):
            places = []
            for n, p, d in zip(self.grid, self.parity, offset, strict=True):
                first = (p + d) & 1
                last = first + (n - 1 - first) // 2 * 2
                places.append(np.clip(np.arange(p, n, 2) + d, first, last) << self.level)
            found.append(box[np.ix_(*places)])
        return np.array(found)


def _stages(shape: Box) -> Iterator[Stage]:
    for level in range((max(shape) - 1).bit_length() - 1, -1, -1):
        grid = tuple(-(-n >> level) for n in shape)
        earlier: set[Box] = {(0, 0, 0)}
        for parity in PARITIES:
            if all(n > p for n, p in zip(grid, parity, strict=True)):
                yield Stage(level, grid, parity, earlier)
                earlier.add(parity)


# --- Numbers


def _integers(stack: Stack, shape: Box, high: int, bound: int, taper: int, hidden: Array | None = None) -> Array:
    """A box of q."""
    values, errors = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    values[0, 0, 0] = number(stack, FLAT, 0, high)
    background = number(stack, FLAT, -1, high)
    tables = Tables(stack)
    flags = Tables(stack) if background >= 0 else None
    stored: dict[tuple[Box, ...], tuple[list[int], list[int]]] = {}
    for stage in _stages(shape):
        step = 2 * max(bound // 4, bound * 4**stage.level // (4 + taper) ** stage.level) + 1
        near, far = stage.known(NEAR), stage.known(FAR)
        around = {orbit: stage.neighbours(values, orbit) for orbit in near}
        errors_around = {orbit: stage.neighbours(errors, orbit) for orbit in near}
        shells = [shell for shell in map(stage.known, SHELLS) if shell]

        n_w, n_a, which = 2 * len(near) + len(far), 2 * len(shells), (stage.parity, *near, *far)
        if around[near[0]][0].size >= 300 and number(stack, STEEP, 0, 1):
            w = np.clip(numbers(stack, MEDIUM, n_w), -32767, 32767).tolist()
            stored[which] = w, np.clip(numbers(stack, MEDIUM, n_a), 0, 65535).tolist()
        first = 512 // sum(len(around[orbit]) for orbit in shells[0])
        w, a = stored.get(which, ([0] * n_w, [first] + [0] * (n_a - 1)))

        base = _mean(around[near[0]])
        terms = [_mean(around[orbit]) - base for orbit in near[1:]]
        terms += [_mean(stage.neighbours(values, orbit)) - base for orbit in far]
        terms += [errors_around[orbit].sum(axis=0) for orbit in near]
        terms += [np.clip(_lines(around, step), 0, 8 * high) - base]
        prediction = np.clip((256 * base + np.tensordot(w, terms, 1) + 128) >> 8, 0, 8 * high)
        centre = (prediction + 4) >> 3

        parts = []
        for shell in shells:
            parts.append(8 * sum(abs(around[orbit] - centre).sum(axis=0) for orbit in shell))
            parts.append(sum(abs(errors_around[orbit]).sum(axis=0) for orbit in shell))
        edges = [step * (181 if i % 2 else 128) << i // 2 for i in range(99)]
        edges = [edge for edge in edges if edge < 2**63]  # no activity is beyond
        classes = 2 * np.searchsorted(edges, np.tensordot(a, parts, 1).ravel(), side="right")
        fraction = (prediction - 8 * centre).ravel()
        classes += (step == 1) & (abs(fraction) >= 2)

        empty, k = np.zeros(classes.size, bool), np.zeros(classes.size, np.int64)
        seen = np.ones(classes.size, bool) if hidden is None else ~hidden[stage.voxels()].ravel()
        if flags:
            share = _share(around, background)
            flagged = seen & (share > 0)
            empty[flagged] = flags.tokens(stack, share[flagged]) > 0
        coded = seen & ~empty
        k[coded] = _of_tokens(stack, tables.tokens(stack, classes[coded]))
        k, empty = np.where(fraction < 0, -k, k).reshape(centre.shape), empty.reshape(centre.shape)
        found = np.where(empty, background, np.clip(centre + step * k, 0, high))
        values[stage.voxels()], errors[stage.voxels()] = found, np.where(empty, 0, 8 * found - prediction)
    stack.end()
    return values


def _mean(values: Array) -> Array:
    """M, in eighths."""
    return 8 * values.sum(axis=0) // len(values)


def _lines(around: dict[Box, Array], step: int) -> Array:
    a = b = np.zeros(1)
    for orbit, values in around.items():
        for u, v in zip(values[: len(values) // 2], values[::-1], strict=False):
            d = (u - v).astype(np.float64)
            t = 1 / ((d * d + 2.0 * step * step) * sum(o * o for o in orbit))
            a, b = a + t * (u + v), b + t
    return np.rint(4 * a / b).astype(np.int64)


def _share(around: dict[Box, Array], background: int) -> Array:
    """How much of what is around is background, of 15: the class of a flag."""
    weight = {orbit: 8 >> sum(orbit) for orbit in around}
    share = sum(weight[orbit] * (values == background).sum(axis=0) for orbit, values in around.items())
    return -(-15 * share // sum(weight[orbit] * len(values) for orbit, values in around.items())).ravel()


# --- Labels

VOTES: dict[Box, int] = {(0, 0, 1): 16, (0, 1, 1): 9, (1, 1, 1): 3, (0, 1, 2): 4, (1, 2, 2): 1, (0, 0, 3): -3}
VOTERS = tuple(orbit for orbit in itertools.product(range(4), repeat=3) if tuple(sorted(orbit)) in VOTES)


def _labels(stack: Stack, shape: Box, n_bits: int) -> Array:
    n = number(stack, FLAT, 1, min(math.prod(shape), 2**n_bits))
    names = numbers(stack, MEDIUM, n)
    if n_bits == 64:
        names = names | numbers(stack, STEEP, n) << 32
    names = np.cumsum(names.astype(np.uint64) + (np.arange(n) > 0).astype(np.uint64))
    require((names[1:] > names[:-1]).all() and int(names[-1]) < 2**n_bits, "labels do not ascend within the dtype")
    box, width = np.zeros(shape, np.int64), (n - 1).bit_length()
    if n > 1:
        box[0, 0, 0] = stack.plain(1, width)[0]
        tables = Tables(stack)
        for stage in _stages(shape):
            candidates, classes = _candidates(stage, box)
            tokens = tables.tokens(stack, 7 * classes + PARITIES.index(stage.parity))
            others = tokens == 3
            labels = np.take_along_axis(candidates, np.where(others, 0, tokens)[None], axis=0)[0]
            labels[others] = stack.plain(int(others.sum()), width)
            require(labels.min() >= 0 and labels.max() < n, "a voxel has a label that is none")
            box[stage.voxels()] = labels.reshape(box[stage.voxels()].shape)
    stack.end()
    return names[box].astype(f"<u{n_bits // 8}")


def _candidates(stage: Stage, box: Array) -> tuple[Array, Array]:
    """(3, voxels), -1 for none; and 0 where all agree, else 1 + the lead in eights, at most 27."""
    near = stage.known(NEAR)
    reached = np.any(near, axis=0)
    far = [o for o in stage.known(VOTERS) if o not in NEAR and not (reached & (np.array(o) == 2)).any()]
    around = [stage.neighbours(box, orbit) for orbit in near + far]
    of_orbit = [VOTES[tuple(sorted(orbit))] for orbit in near + far]
    votes = np.repeat(of_orbit, [len(labels) for labels in around])[:, None]
    labels = np.concatenate(around).reshape(len(votes), -1)

    mixed = ((labels != labels[0]) & (votes > 0)).any(axis=0)
    labels = np.where(mixed, labels, labels[0])
    found = labels[:1]
    for _ in range(2):
        new = (labels[:, None] != found).all(axis=1)
        other = np.where(new.any(axis=0), labels[new.argmax(axis=0), np.arange(mixed.size)], -1)
        found = np.concatenate([found, other[None]])
    sums = np.array([np.where(one < 0, -(2**30), (votes * (labels == one)).sum(axis=0)) for one in found])
    order = np.argsort(-sums, axis=0, kind="stable")
    lead = np.subtract(*np.take_along_axis(sums, order, axis=0)[:2])
    return np.take_along_axis(found, order, axis=0), np.where(mixed, 1 + np.minimum(lead // 8, 26), 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/reader.py FILE.tinc OUT.npy")
    np.save(sys.argv[2], read(sys.argv[1]))
