"""Reduction: what a method decided for one image, X~ = P X, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


@dataclass(frozen=True, eq=False)
class Reduction:
    """P of shape (m, n): m visual tokens made of n.

    Build one with `Reduction.select` (P has one-hot rows) or `Reduction.mix` (P has weighted rows).

    Attributes:
        n: visual tokens before.
        indices: (m,) int64, the kept tokens, for a selection; else None.
        weights: (m, n) floats, for a mixture; else None.
    """

    n: int
    indices: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    @classmethod
    def select(cls, indices: torch.Tensor, n: int) -> Reduction:
        """Keep the tokens `indices` (m,) of `n`, in that order.

        Raises:
            ValueError: `indices` is not a non-empty vector of whole numbers in [0, n).
        """
        if indices.dim() != 1 or not len(indices) or indices.is_floating_point():
            raise ValueError(
                f"a selection is a non-empty vector of token indices, got {indices.dtype} {tuple(indices.shape)}"
            )
        if not 0 <= int(indices.min()) <= int(indices.max()) < n:
            raise ValueError(f"token indices lie in [0, {n}), got [{int(indices.min())}, {int(indices.max())}]")
        return cls(n, indices=indices.long())

    @classmethod
    def mix(cls, weights: torch.Tensor) -> Reduction:
        """Every kept token is a weighted sum of all n: `weights` is P, (m, n).

        Raises:
            ValueError: `weights` is not a non-empty matrix of floats.
        """
        if weights.dim() != 2 or not weights.numel() or not weights.is_floating_point():
            raise ValueError(f"P is a non-empty (m, n) matrix of floats, got {weights.dtype} {tuple(weights.shape)}")
        return cls(weights.shape[1], weights=weights)

    @classmethod
    def nothing(cls, n: int, device: torch.device | None = None) -> Reduction:
        """Keep none of n tokens: only inside the LLM, where text goes on without them."""
        return cls(n, indices=torch.arange(0, device=device))

    @classmethod
    def identity(cls, n: int, device: torch.device | None = None) -> Reduction:
        """Keep all n tokens, bit for bit."""
        return cls(n, indices=torch.arange(n, device=device))

    @classmethod
    def join(cls, parts: list[tuple[torch.Tensor, Reduction]], n: int) -> Reduction:
        """One reduction of n tokens made of reductions of some of them each, its rows in the order of the parts.

        Args:
            parts: for each, the tokens (n_i,) that it reduces and how.
            n: visual tokens in all.
        """
        if all(part.weights is None for _, part in parts):
            return cls.select(torch.cat([tokens[part._rows] for tokens, part in parts]), n)
        blocks = []
        for tokens, part in parts:
            block = part.matrix().to(tokens.device)
            blocks.append(block.new_zeros(part.m, n).index_copy(1, tokens, block))
        dtype = next(part.weights.dtype for _, part in parts if part.weights is not None)
        return cls.mix(torch.cat([block.to(dtype) for block in blocks]))

    def reorder(self, order: torch.Tensor) -> Reduction:
        """The same kept tokens in another order: `order` (m,) holds the number of each row."""
        rows = self._rows[order.to(self._rows.device)]
        return Reduction(self.n, indices=rows) if self.weights is None else Reduction(self.n, weights=rows)

    @property
    def m(self) -> int:
        """Visual tokens after."""
        return len(self._rows)

    @property
    def anchors(self) -> torch.Tensor:
        """(m,) int64: the source token that weighs most in each kept one."""
        return self._rows if self.weights is None else self.weights.argmax(-1)

    @property
    def _rows(self) -> torch.Tensor:
        rows = self.indices if self.weights is None else self.weights
        assert rows is not None
        return rows

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """P X: (n, d) to (m, d), in the dtype of `x`. Gradients reach `x` and the weights.

        Raises:
            ValueError: `x` has not n rows.
        """
        if x.shape[0] != self.n:
            raise ValueError(f"this reduction is of {self.n} visual tokens, got {x.shape[0]}")
        return x[self.indices] if self.weights is None else self.weights.to(x.dtype) @ x

    def matrix(self) -> torch.Tensor:
        """P as a dense (m, n) matrix of floats."""
        if self.weights is not None:
            return self.weights
        assert self.indices is not None
        return torch.nn.functional.one_hot(self.indices, self.n).float()

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, so that it can be drawn later without a model."""
        name = "indices" if self.weights is None else "weights"
        save_file({name: self._rows.detach().cpu().contiguous()}, path, metadata={"n": str(self.n)})

    @classmethod
    def load(cls, path: str | Path) -> Reduction:
        """Read what `save` wrote."""
        with safe_open(path, "pt") as file:
            n = int((file.metadata() or {})["n"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return cls(n, **tensors)

    def __repr__(self) -> str:
        kind = "selection" if self.weights is None else "mixture"
        return f"Reduction({self.n} -> {self.m} visual tokens, {kind})"
