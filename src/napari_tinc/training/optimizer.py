"""The optimiser: Muon for matrices, Adam for all other parameters.

It works on tensors and gradients, whatever they are of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..networks.architecture import Architecture

if TYPE_CHECKING:
    import torch

# A quintic that drives singular values to about 1 (Jordan et al. 2024, "Muon").
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Optimizer:
    """Muon (Jordan et al. 2024) for the matrices between features, Adam (arXiv 1412.6980) for all other parameters.

    Adam with rates 0.9 and 0.99; Muon with Nesterov momentum of 0.95. Both on the one flat vector.
    """

    def __init__(self, architecture: Architecture, vector: torch.Tensor, muon_rate: float, adam_rate: float) -> None:
        import torch

        self.architecture, self.muon_rate, self.adam_rate = architecture, muon_rate, adam_rate
        self.momentum, self.square = torch.zeros_like(vector), torch.zeros_like(vector)
        self.adam = torch.ones_like(vector)  # 1 where Adam updates, 0 where Muon does
        self.stacks: dict[tuple[int, int], list[tuple[int, str, bool]]] = {}
        for tensor, mask in zip(architecture.tensors, self.by_tensor(self.adam), strict=True):
            if tensor.kind == "feature" or tensor.kind.startswith("hidden"):
                mask.zero_()
                rows, columns = tensor.shape[1:]
                key = (min(rows, columns), max(rows, columns))
                self.stacks.setdefault(key, []).append((tensor.group, tensor.kind, rows > columns))
        self.keep = 0.95 - 0.05 * self.adam
        self.forget = 1 - self.keep
        self.steps = 0

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs to continue from here."""
        return {"momentum": self.momentum.cpu().numpy(), "square": self.square.cpu().numpy(), "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        import torch

        self.momentum.copy_(torch.from_numpy(state["momentum"]))
        self.square.copy_(torch.from_numpy(state["square"]))
        self.steps = state["steps"]

    def by_tensor(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Return the part of a vector that each tensor has, as a view."""
        views = self.architecture.views(vector)
        return [views[tensor.group][tensor.kind] for tensor in self.architecture.tensors]

    def update(self, vector: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        """Make one step in place, at a share ``rate`` of the peak learning rates."""
        import torch

        self.steps += 1
        self.momentum.lerp_(gradient, self.forget)
        self.square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        denominator = (self.square / (1 - 0.99**self.steps)).sqrt_().add_(1e-12)
        adam = self.adam_rate * rate / (1 - 0.9**self.steps)
        vector.addcdiv_(self.momentum * self.adam, denominator, value=-adam)
        nesterov = self.architecture.views(torch.lerp(gradient, self.momentum, self.keep))
        views = self.architecture.views(vector)
        for members in self.stacks.values():
            stack = [nesterov[g][kind].transpose(1, 2) if tall else nesterov[g][kind] for g, kind, tall in members]
            update = orthogonalize(torch.cat(stack))
            first = 0
            for group, kind, tall in members:
                part = update[first : first + len(views[group][kind])]
                first += len(part)
                views[group][kind].sub_(part.transpose(1, 2) if tall else part, alpha=self.muon_rate * rate)


def orthogonalize(matrices: torch.Tensor, iterations: int = 3) -> torch.Tensor:
    """Return roughly the nearest (semi-)orthogonal matrices, (n, rows <= columns, columns), by Newton-Schulz steps."""
    import torch

    a, b, c = NEWTON_SCHULZ
    x = matrices / (torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True) + 1e-20)
    for _ in range(iterations):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
