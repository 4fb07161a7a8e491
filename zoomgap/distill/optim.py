"""Muon for matrices, AdamW for the rest.

torch.optim.Muon orthogonalises in bf16, which is 100 times slower than fp32 on processors without bf16 units; this one
works in the parameters' own type and stacks matrices of one shape. After Keller Jordan's Muon (2024): momentum 0.95
with Nesterov, five Newton-Schulz steps with coefficients 3.4445, -4.7750, 2.0315, step scaled by sqrt(rows / columns).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly: singular values land between about 0.7 and 1.2. [n, r, c] -> same."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised. For 2-D weights of hidden layers only."""

    def __init__(
        self, params: list[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[tuple(p.shape)].append(p)
            for (rows, columns), params in shapes.items():
                updates = []
                for p in params:
                    state = self.state[p]
                    buffer = state.setdefault("momentum", torch.zeros_like(p))
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(buffer, group["momentum"]))
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                for p, update in zip(params, orthogonalise(torch.stack(updates)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update, alpha=-scale)


class Pair:
    """Muon and AdamW stepped as one, with a common factor on both learning rates."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.parts: tuple[torch.optim.Optimizer, ...] = (muon, adamw)
        self.base = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def set_factor(self, factor: float) -> None:
        """Learning rates become `factor` times those given at construction."""
        for part, rates in zip(self.parts, self.base, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores momenta; learning rates stay those given at construction."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            rates = [group["lr"] for group in part.param_groups]
            part.load_state_dict(saved)
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate


OUTSIDE = ("embed", "lm_head", "head.")
"""Words in the names of matrices that are not inside layers."""


def make_optimizer(
    model: nn.Module, lr_matrix: float = 0.02, lr_rest: float = 3e-3, outside: tuple[str, ...] = OUTSIDE
) -> Pair:
    """Muon on the 2-D weights inside layers; AdamW on embeddings, norms, biases, the patch embedding and heads."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            hidden = p.ndim == 2 and not any(word in name for word in outside)
            (matrices if hidden else rest).append(p)
    return Pair(Muon(matrices, lr=lr_matrix), torch.optim.AdamW(rest, lr=lr_rest, betas=(0.9, 0.95), weight_decay=0.0))
