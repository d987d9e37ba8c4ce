"""Evaluate the layers from the root to some heads, at the same grid inside the box of each.

Points are columns here, not rows as in training: a layer is then one product of matrices with its bias among them, and
what NumPy does to a row is long enough to be worth its call.

Where the file has a lattice, the first layers are evaluated at its points only. A run of layers ends with sums, which
are interpolated to the points of the next run: along the axis of planes first, which may be kept for later requests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .architecture import Architecture, Array
from .lattice import PlaneCache, Run, Stencil, lattice_coordinates, stencil
from .tile_buffers import BLOCK_PRODUCTS, BUFFERS, equal_parts
from .values import Scale

TILE = 4096  # Points whose features of two layers fit into a core's cache,
TILE_FEATURES = 2**17  # and as many more points as have no more features in the widest layer than these.
LONGEST = 512  # A grid is evaluated in patches of no more points along an axis: matrices of their squares interpolate.
EDGE = 64  # Grids are interpolated in patches of at most so many rows and columns,
SPARSE_EDGE = 16  # and of at most so many where points are further from each other than those of the lattice.
SLAB = 2**21  # About so many sums of a lattice are held at a time, unless a plane has more.
Tile = tuple[slice, ...]
Axes = Sequence[NDArray[np.float64]]


class Path:
    """The layers from the root to some heads, whose boxes are of one size and which have matrices of the same shapes.

    Parameters
    ----------
    layers : matrices of the sine layers, (heads or 1 for all, outputs, inputs and bias), and of the heads.
    nodes : of every level the nodes that they belong to, int (heads,), from the root to those with the heads.
    runs : as :func:`~.lattice.runs_of` gives them.
    plane_axis : the axis along which lattices consist of planes.
    planes : keeps planes; None to forget them.
    """

    def __init__(
        self, architecture: Architecture, layers: list[Array], nodes: list[NDArray[np.int64]], runs: list[Run],
        plane_axis: int = 0, planes: PlaneCache | None = None,
    ) -> None:  # fmt: skip
        self._architecture, self._layers, self._nodes, self._runs = architecture, layers, nodes, runs
        self._order = [plane_axis, *(axis for axis in range(3) if axis != plane_axis)]
        self._planes = planes
        octree = architecture.octree
        self._start = octree.start[nodes[-1]]
        self._size: list[int] = (octree.stop[nodes[-1][0]] - self._start[0]).tolist()

    def tiles(self, axes: Axes) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Evaluate a grid, counted from the corner of each box; yield tiles and their outputs, not calibrated.

        The outputs are of shape (heads, z, y, x), and valid until the next.
        """
        for patch in self._patches(axes):
            local = [axis[along] for axis, along in zip(axes, patch, strict=True)]
            for tile, values in self._tiles(len(self._runs) - 1, local):
                place = [slice(t.start + p.start, t.stop + p.start) for t, p in zip(tile, patch, strict=True)]
                yield tuple(place), values

    @staticmethod
    def finished(outputs: NDArray[np.float32], gain: Array, offset: Array, scale: Scale | None) -> NDArray[Any]:
        """Return the values of outputs, (heads, z, y, x), times the gains and plus the offsets of the heads."""
        if (gain != 1).any() or offset.any():
            factors, summands = (one[:, None, None, None] for one in (gain, offset))
            outputs = (outputs * factors + summands).astype(np.float32)
        return outputs if scale is None else scale(outputs)

    def _patches(self, axes: Axes) -> Iterator[Tile]:
        """Cut a grid into patches, narrow across the axis of planes, so that products of interpolation are small."""
        edges = [LONGEST] * 3
        for axis in self._order[1:] if len(self._runs) > 1 else ():
            edges[axis] = SPARSE_EDGE if self._is_sparse(axes[axis]) else EDGE
        yield from itertools.product(*map(cut_slice, [slice(0, len(along)) for along in axes], edges))

    def _is_sparse(self, along: NDArray[np.float64]) -> bool:
        """Return whether points of an axis are further from each other than those of the last lattice."""
        return bool(along[-1] - along[0] > self._runs[-2].stride * len(along))

    def _tiles(self, index: int, axes: Axes) -> Iterator[tuple[Tile, Array]]:
        """Evaluate a run at a grid; yield tiles and their sums, (outputs x heads, z, y, x), valid until the next."""
        run, stencils = self._runs[index], self._stencils(index, axes)
        layers = self._layers[run.first : run.last + 1]
        if stencils:
            axes = [axis[one.order] for axis, one in zip(axes, stencils, strict=True)]
        positions = self._positions(axes, self._levels(index))
        sizes = tuple([(*layer.shape[1:], at in positions) for at, layer in enumerate(layers, run.first + 1)])
        # Tiles are whole planes or rows, so that a tile is a grid again and its positions are cheap.
        edges, widest = [0, 0, 0], max(layer.shape[1] for layer in layers)
        rest = max(TILE, TILE_FEATURES // widest) // len(self._start)
        for axis in self._order[::-1] if stencils else (2, 1, 0):
            edges[axis] = max(1, min(rest, len(axes[axis])))
            rest //= edges[axis]
        if stencils:
            edges = [len(axes[axis]) if axis != self._order[0] else edges[axis] for axis in range(3)]
        for slab, fill in self._slabs(index, axes, stencils):
            for tile in itertools.product(*map(cut_slice, slab, edges)):
                sums = self._evaluate_tile(run, layers, sizes, positions, tile, fill)
                yield tile, in_order(sums, stencils) if stencils else sums

    def _levels(self, index: int) -> dict[int, int]:
        """Return the levels whose nodes take positions in a run, by the first layer of these nodes."""
        run, n_per_node = self._runs[index], self._architecture.layers
        first = run.first + (index > 0)  # What the first layer of a later run sums up is interpolated.
        last = min(run.last, n_per_node * len(self._nodes) - 1)
        return {at: at // n_per_node for at in range(first, last + 1) if at % n_per_node == 0}

    def _positions(self, axes: Axes, levels: dict[int, int]) -> dict[int, list[Array]]:
        """Return the positions in the nodes of some levels along each axis, float32 (heads, points)."""
        corners, scale = self._corners(levels)
        return {
            at: [
                ((along + corners[:, node, axis, None]) * scale[node]).astype(np.float32)
                for axis, along in enumerate(axes)
            ]
            for node, at in enumerate(levels)
        }

    def _corners(self, levels: dict[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what is added to coordinates for those from the centres of the nodes of some levels, and their scales.

        The shapes are (heads, nodes, 3) and (nodes, 1). The longest edge of a box spans [-1, 1] then.
        """
        corners = np.empty((len(self._start), len(levels), 3))
        for node, level in enumerate(levels.values()):
            corners[:, node] = self._start - self._architecture.centre(self._nodes[level])
        return corners, np.array([self._architecture.scale[level] for level in levels.values()]).reshape(-1, 1)

    def _stencils(self, index: int, axes: Axes) -> list[Stencil]:
        """Return how each axis of a grid is interpolated from the lattice of the run before; empty for the first."""
        if not index:
            return []
        stride, plane_axis = self._runs[index - 1].stride, self._order[0]
        return [
            stencil(along, size, stride, ordered=axis != plane_axis)
            for axis, (along, size) in enumerate(zip(axes, self._size, strict=True))
        ]

    def _slabs(
        self, index: int, axes: Axes, stencils: list[Stencil]
    ) -> Iterator[tuple[Tile, Callable[[Tile, Array], None] | None]]:
        """Cut a grid into slabs; yield each with what fills a tile of it with sums of the run before, None for none."""
        slab = [slice(0, len(axis)) for axis in axes]
        if not stencils:
            yield tuple(slab), None
            return
        before = self._runs[index - 1]
        planes, rows, columns = (stencils[axis] for axis in self._order)
        size = self._n_sums(before) * len(rows.places) * len(columns.places)
        n_planes = max(1, max(1, SLAB // size) * before.stride // self._runs[index].stride)
        for along in cut_slice(slab[self._order[0]], n_planes):
            needed, _ = planes.part(along)
            sums = self._sums(index - 1, [planes.places[needed], rows.places, columns.places])
            slab[self._order[0]] = along

            def fill(tile: Tile, into: Array, sums: Array = sums, first: int = needed.start) -> None:
                which, weights = planes.part(tile[self._order[0]])
                order = (1 + self._order[0], 0, 1 + self._order[1], 1 + self._order[2])
                interpolate(
                    sums[which.start - first : which.stop - first], weights, rows, columns, into.transpose(order)
                )

            yield tuple(slab), fill

    def _n_sums(self, run: Run) -> int:
        """Return how many sums a run has at a point, those of all heads."""
        return len(self._start) * int(self._layers[run.last].shape[1])

    def _sums(self, index: int, places: list[NDArray[np.int64]]) -> Array:
        """Return the sums that end a run at points of its lattice: (planes, outputs x heads, rows, columns)."""
        if self._planes is None:
            return self._evaluate(index, places)
        finest = index == len(self._runs) - 2
        across = b"-".join((self._nodes[-1].tobytes(), places[1].tobytes(), places[2].tobytes()))
        keys = [(index, self._order[0], plane, across) for plane in places[0].tolist()]
        planes = [self._planes.get(finest, key) for key in keys]
        missing = [at for at, plane in enumerate(planes) if plane is None]
        if missing:
            evaluated = self._evaluate(index, [places[0][missing], *places[1:]])
            for at, plane in zip(missing, evaluated, strict=True):
                planes[at] = plane
                self._planes.put(finest, keys[at], plane, plane.nbytes)
            if len(missing) == len(planes):
                return evaluated
        return planes[0][None] if len(planes) == 1 else np.stack(planes)

    def _evaluate(self, index: int, places: list[NDArray[np.int64]]) -> Array:
        """Evaluate a run at points of its lattice: (planes, outputs x heads, rows, columns)."""
        run, order = self._runs[index], self._order
        axes: list[Any] = [None, None, None]
        for axis, along in zip(order, places, strict=True):
            axes[axis] = lattice_coordinates(along, run.stride)
        n_planes, n_rows, n_columns = (len(along) for along in places)
        out = np.empty((n_planes, self._n_sums(run), n_rows, n_columns), np.float32)
        view = out.transpose(1, *((0, 2, 3)[order.index(axis)] for axis in range(3)))
        for (z, y, x), values in self._tiles(index, axes):
            view[:, z, y, x] = values
        return out

    def _evaluate_tile(
        self, run: Run, layers: list[Array], sizes: tuple[tuple[int, int, bool], ...],
        positions: dict[int, list[Array]], tile: Tile, fill: Callable[[Tile, Array], None] | None,
    ) -> Array:  # fmt: skip
        """Evaluate a run at the points of a tile, with the positions in the nodes: (outputs x heads, z, y, x)."""
        shape = (len(self._start), *[part.stop - part.start for part in tile])
        steps = BUFFERS.steps(sizes, shape)
        below: Array = None
        for at, (layer, step) in enumerate(zip(layers, steps, strict=True), run.first):
            if below is not None:
                for rows, out in step.pieces:
                    np.matmul(layer[:, None, rows], below, out=out)
            elif fill is None:
                in_tile = [along[:, part] for along, part in zip(positions[0], tile, strict=True)]
                first_sines(layer[0], in_tile, step.on_grid)
            else:
                fill(tile, step.on_grid)
            if at == run.last:
                break
            if below is not None or fill is not None:
                np.sin(step.outputs, out=step.outputs)
            if step.positions:
                z, y, x = (along[:, part] for along, part in zip(positions[at + 1], tile, strict=True))
                for into, along in zip(
                    step.positions, (z[:, :, None, None], y[:, None, :, None], x[:, None, None]), strict=True
                ):
                    into[:] = along
            step.ones[:] = 1
            below = step.next_input
        return step.on_grid


def interpolate(sums: Array, weights: Array, rows: Stencil, columns: Stencil, out: Array) -> None:
    """Interpolate sums of lattice points.

    Parameters
    ----------
    sums : (planes, sums, rows, columns) of the lattice.
    weights : (points, planes) of the points along the axis of planes.
    rows, columns : stencils of the other axes.
    out : takes the result, (points, sums, rows, columns).
    """
    n_planes, n_sums, n_rows, n_columns = sums.shape
    mixed, n_points = sums, len(weights)
    if weights.shape != (1, 1):  # else the plane is one of the lattice
        mixed = BUFFERS(2, n_points, n_sums, n_rows, n_columns)
        flat, into = sums.reshape(n_planes, -1), mixed.reshape(n_points, -1)
        for part in cut_slice(slice(0, flat.shape[1]), BLOCK_PRODUCTS // weights.size):
            np.matmul(weights, flat[:, part], out=into[:, part])
    half = BUFFERS(3, n_points, n_sums, n_rows, len(columns.order))
    n, first = columns.n_copied, columns.first_copied
    n_parts = equal_parts(n_sums * n_rows, columns.matrix[n:].size)
    lines, into = mixed.reshape(n_points, n_parts, -1, n_columns), half.reshape(n_points, n_parts, -1, half.shape[-1])
    into[..., :n] = lines[..., first : first + n]
    np.matmul(lines, columns.matrix[n:].T, out=into[..., n:])
    n, first = rows.n_copied, rows.first_copied
    out[:, :, :n] = half[:, :, first : first + n]
    np.matmul(rows.matrix[n:], half, out=out[:, :, n:])


def in_order(sums: Array, stencils: list[Stencil]) -> Array:
    """Return sums (sums, z, y, x) whose points are in the order of stencils, in the order of their axes."""
    if all(not one.n_copied for one in stencils):
        return sums
    out = np.empty(sums.shape, np.float32)
    for (to_z, z), (to_y, y), (to_x, x) in itertools.product(*(one.parts for one in stencils)):
        out[:, to_z, to_y, to_x] = sums[:, z, y, x]
    return out


def first_sines(layer: Array, positions: list[Array], out: Array) -> None:
    """Evaluate the root's first layer on grids, (outputs x grids, z, y, x), with sines of two sides of a grid only.

    sin(a + b) = sin a cos b + cos a sin b, where a are the angles that the axes of one side give, and b the others.
    """
    z, y, x = ((layer[:, i, None, None] * along).reshape(len(out), -1) for i, along in enumerate(positions))
    z += np.repeat(layer[:, 3], len(positions[0]))[:, None]
    nz, ny, nx = out.shape[1:]
    if nz * ny + nx <= nz + ny * nx:
        a, b = (z[:, :, None] + y[:, None, :]).reshape(len(out), -1), x
    else:
        a, b = z, (y[:, :, None] + x[:, None, :]).reshape(len(out), -1)
    factors_a, factors_b = BUFFERS(2, *a.shape, 2), BUFFERS(3, len(b), 2, b.shape[1])
    for angles, sines, cosines in (
        (a, factors_a[:, :, 0], factors_a[:, :, 1]),
        (b, factors_b[:, 1], factors_b[:, 0]),
    ):
        np.sin(angles, out=sines)
        np.cos(angles, out=cosines)
    np.matmul(factors_a, factors_b, out=out.reshape(len(out), a.shape[1], b.shape[1]))


def cut_slice(along: slice, size: int) -> list[slice]:
    """Cut a slice into slices of ``size``."""
    return [slice(at, min(at + size, along.stop)) for at in range(along.start, along.stop, size)]
