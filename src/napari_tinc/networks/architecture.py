"""The tree of sine MLPs: which tensors it has, where each is in the vector of parameters, and its starting values.

A node maps (its parent's features, the position in its box) to features through ``layers`` sine layers. The root has
positions only, and a linear head gives the intensity of leaves::

    x_0 = sin(features W_f + position W_p)          position = (z, y, x, 1) in [-1, 1], so W_p holds the bias
    x_k = sin(x_{k-1} W_k + b_k)                    k = 1 .. layers - 1
    y   = x_{layers-1} w_head + b_head              nodes without a network below

All nodes of one level, width and parent group are stacked and run as one batched matrix product. evaluate.py has the
evaluation of readers, training/gradient.py that of training with its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.widths import find_heads, heads_of_leaves, network_of_node
from ..octree import Octree

MAX_GROUPS = 256  # More groups are refused: they would run one by one, and batches would be of no use.
Array = Any  # numpy.ndarray or torch.Tensor
Weights = dict[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Nodes that are evaluated as one batched matrix product.

    Attributes
    ----------
    level : level of the nodes in the octree.
    nodes : their node numbers, ascending.
    parent : index of the group that all their parents are in, -1 for the root.
    siblings : places, in Morton order, of the children of their parents that are evaluated: for the root those that are
        networks, for other nodes all.
    rows : which of the parent group's children at these places the nodes are; None for all of them, in order.
    head_rows : which of the nodes have a head.
    fan_in, width : features that come in and go out.
    """

    level: int
    nodes: NDArray[np.int64]
    parent: int
    siblings: NDArray[np.int64]
    rows: NDArray[np.int64] | None
    head_rows: NDArray[np.int64]
    fan_in: int
    width: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """The place of a stacked parameter in the vector.

    Attributes
    ----------
    group : index of the group of nodes that have the parameter.
    kind : name of the parameter, such as "hidden1".
    shape : nodes, rows and columns.
    offset : place of its first number in the vector.
    """

    group: int
    kind: str
    shape: tuple[int, int, int]
    offset: int

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, slots=True, eq=False)
class Architecture:
    """All about a tree of networks but its parameter values, which are in one flat float32 vector.

    Attributes
    ----------
    octree : the tree of boxes.
    widths : int (n_nodes,), features of every node, 1..256; or SCALAR or INHERITS, see :mod:`~.format.widths`.
    layers : sine layers of each node.
    omega0 : frequency factor of the root's position weights at the start (SIREN, arXiv 2006.09661).
    lattice : the layers that are evaluated on lattices, see :class:`~.format.networks_file.NetworksHeader`.
    heads : node numbers of those with a head, ascending.
    network_of_node, heads_of_leaves : results of the functions of :mod:`~.format.widths` of these names.
    extents : edge lengths in voxels that all cells of a level share, float64 (n_levels, 3).
    scale : of every level, from voxels off the centre to positions: the longest edge of a box spans [-1, 1].
    groups : groups of nodes, parents before their children.
    group_of, row_of : for every network, the index of its group and its row there, int64 (n_nodes,).
    tensors : all parameters, in the order of the vector.
    """

    octree: Octree
    widths: NDArray[np.int64]
    layers: int
    omega0: float
    lattice: tuple[int, ...] = ()
    heads: NDArray[np.int64] = field(init=False)
    network_of_node: NDArray[np.int64] = field(init=False)
    heads_of_leaves: NDArray[np.int64] = field(init=False)
    extents: NDArray[np.float64] = field(init=False)
    scale: list[float] = field(init=False)
    groups: tuple[Group, ...] = field(init=False)
    group_of: NDArray[np.int64] = field(init=False)
    row_of: NDArray[np.int64] = field(init=False)
    tensors: tuple[Tensor, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Derive groups, tensors and what evaluation needs."""
        octree, widths = self.octree, self.widths
        heads = find_heads(octree, widths)
        groups, group_of, row_of = _group_nodes(octree, widths, heads)
        tensors: list[Tensor] = []
        offset = 0
        for index, group in enumerate(groups):
            n, k, v, w = len(group.nodes), len(group.head_rows), group.fan_in, group.width
            shapes = {"feature": (n, v, w), "position": (n, 4, w)}
            for layer in range(1, self.layers):
                shapes |= {f"hidden{layer}": (n, w, w), f"bias{layer}": (n, 1, w)}
            shapes |= {"head": (k, w, 1), "head_bias": (k, 1, 1)}
            for kind, shape in shapes.items():
                tensor = Tensor(index, kind, shape, offset)
                if tensor.size:
                    tensors.append(tensor)
                    offset += tensor.size
        extents = np.array([octree.extent(level) for level in range(octree.depth + 1)])
        derived = {
            "heads": heads, "network_of_node": network_of_node(octree, widths),
            "heads_of_leaves": heads_of_leaves(octree, widths),
            "extents": extents, "scale": (2.0 / extents.max(axis=1)).tolist(),
            "groups": tuple(groups), "group_of": group_of, "row_of": row_of, "tensors": tuple(tensors),
        }  # fmt: skip
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def n_parameters(self) -> int:
        """Length of the vector of parameters."""
        return self.tensors[-1].offset + self.tensors[-1].size

    def views(self, vector: Array) -> list[Weights]:
        """Return the vector as a dictionary of stacked tensors for each group, without copies."""
        views: list[Weights] = [{} for _ in self.groups]
        for tensor in self.tensors:
            views[tensor.group][tensor.kind] = vector[tensor.offset : tensor.offset + tensor.size].reshape(tensor.shape)
        return views

    def carry(self, vector: NDArray[np.float32], to: Architecture) -> NDArray[np.float32]:
        """Return the vector of another architecture, all of whose networks this one has too, with this one's values."""
        out = np.zeros(to.n_parameters, np.float32)
        for group, views in zip(to.groups, to.views(out), strict=True):
            source_index = next(
                i for i, source_group in enumerate(self.groups) if np.isin(group.nodes, source_group.nodes).all()
            )
            source_group, values = self.groups[source_index], self.views(vector)[source_index]
            for kind, into in views.items():
                headed = kind.startswith("head")
                wanted = group.nodes[group.head_rows] if headed else group.nodes
                into[:] = values[kind][
                    np.searchsorted(
                        source_group.nodes[source_group.head_rows] if headed else source_group.nodes, wanted
                    )
                ]
        return out

    def centre(self, nodes: Any) -> NDArray[np.float64]:
        """Return the centres of the boxes of nodes, in voxel coordinates (voxel i covers i to i + 1)."""
        centres: NDArray[np.float64] = (self.octree.cell[nodes] + 0.5) * self.extents[self.octree.level[nodes]]
        return centres

    def initial(self, seed: int) -> NDArray[np.float32]:
        """Return random starting values.

        Hidden weights are drawn from U(+-sqrt(6 / fan_in)) (He et al. 2015); the root's positions from U(+-omega0).
        """
        rng = np.random.default_rng(seed)
        vector = np.zeros(self.n_parameters, np.float32)
        for weights, group in zip(self.views(vector), self.groups, strict=True):
            bounds = {"feature": 6 / (group.fan_in + 3), "position": 1 / (group.fan_in + 3), "head": 1 / group.width}
            for kind, value in weights.items():
                square = bounds.get(kind, (6 if kind.startswith("hidden") else 1) / group.width)
                if kind == "head_bias":
                    continue
                value[:] = rng.uniform(-1, 1, value.shape) * np.sqrt(square)
                if kind == "position" and group.level == 0:
                    value[:, :3] = rng.uniform(-1, 1, value[:, :3].shape) * self.omega0
                    value[:, 3] = rng.uniform(-np.pi, np.pi, value[:, 3].shape)
        return vector


def _group_nodes(
    octree: Octree, widths: NDArray[np.int64], heads: NDArray[np.int64]
) -> tuple[list[Group], NDArray[np.int64], NDArray[np.int64]]:
    """Group all networks; return the groups, the group of every network, and its row there."""
    groups: list[Group] = []
    group_of = np.full(len(octree.split), -1)
    row_of = np.zeros(len(octree.split), np.int64)
    slot = np.zeros(len(octree.split), np.int64)  # which child of its parent a node is
    for level in range(octree.depth + 1):
        nodes = np.flatnonzero(octree.level == level)
        if level:
            slot[nodes] = np.arange(len(nodes)) % octree.children_per_node(level - 1)
        nodes = nodes[widths[nodes] > 0]
        if not nodes.size:
            break
        parents = octree.parent[nodes]
        parent_group = np.where(parents >= 0, group_of[parents], -1)
        kinds, kind_of = np.unique(np.stack([parent_group, widths[nodes]]), axis=1, return_inverse=True)
        if len(groups) + kinds.shape[1] > MAX_GROUPS:
            raise ValueError(f"network has more than {MAX_GROUPS} groups of nodes")
        for index, (parent, width) in enumerate(kinds.T.tolist()):
            members = nodes[kind_of == index]
            group_of[members], row_of[members] = len(groups), np.arange(len(members))
            siblings, rows = np.zeros(1, np.int64), None
            if level:
                siblings = np.arange(octree.children_per_node(level - 1))
                if level == 1:
                    siblings = np.flatnonzero(np.bincount(slot[nodes]))
                rows = row_of[octree.parent[members]] * len(siblings) + np.searchsorted(siblings, slot[members])
                if np.array_equal(rows, np.arange(len(groups[parent].nodes) * len(siblings))):
                    rows = None
            fan_in = int(widths[octree.parent[members[0]]]) if level else 0
            head_rows = np.flatnonzero(np.isin(members, heads))
            groups.append(Group(level, members, parent, siblings, rows, head_rows, fan_in, int(width)))
    return groups, group_of, row_of
