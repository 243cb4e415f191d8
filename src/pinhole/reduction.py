"""Reduction: what a method decided for one image, X~ = P X, as plain data."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pinhole.layout import Layout


@dataclass(frozen=True, eq=False)
class Reduction:
    """P of shape (m, n): m visual tokens made of n.

    Build one with `Reduction.select` (P has one-hot rows) or `Reduction.mix` (P has weighted rows).

    Attributes:
        n: visual tokens before.
        indices: (m,) int64, the kept tokens, for a selection; else None.
        weights: (m, n) floats, for a mixture; else None.
        layout: where in the picture the n tokens come from; None where nobody said.
    """

    n: int
    indices: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    layout: Layout | None = None

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
        return replace(self, indices=rows) if self.weights is None else replace(self, weights=rows)

    def then(self, later: Reduction) -> Reduction:
        """This reduction, then another of what it kept: one reduction of the n tokens, P' P.

        Raises:
            ValueError: the later one is not of m tokens.
        """
        if later.n != self.m:
            raise ValueError(f"{self.m} visual tokens were kept, and the reduction that follows is of {later.n}")
        if self.indices is not None and later.indices is not None:
            return replace(self, indices=self.indices[later.indices])
        return Reduction(self.n, weights=later.apply(self.matrix()), layout=self.layout)

    def placed(self, layout: Layout) -> Reduction:
        """The same reduction of tokens that come from the places that `layout` says.

        Raises:
            ValueError: the layout is not of n tokens.
        """
        if layout.n != self.n:
            raise ValueError(f"this reduction is of {self.n} visual tokens, the layout of {layout.n}")
        return replace(self, layout=layout)

    @property
    def m(self) -> int:
        """Visual tokens after."""
        return len(self._rows)

    @property
    def anchors(self) -> torch.Tensor:
        """(m,) int64: the source token that weighs most in each kept one."""
        return self._rows if self.weights is None else self.weights.argmax(-1)

    def usage(self) -> torch.Tensor:
        """(n,) float32 on the CPU: how much each token weighs in the kept ones, the column sums of |P|.

        Where the rows of P sum to 1 this sums to m.
        """
        if self.weights is None:
            return torch.bincount(self._rows.cpu(), minlength=self.n).float()
        return self.weights.detach().float().cpu().abs().sum(0)

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
        """Write it as safetensors, with its layout if it has one, so that it can be drawn later without a model."""
        name, told = "indices" if self.weights is None else "weights", {"n": str(self.n)}
        if self.layout is not None:
            told["layout"] = self.layout.written()
        save_file({name: self._rows.detach().cpu().contiguous()}, path, metadata=told)

    @classmethod
    def load(cls, path: str | Path) -> Reduction:
        """Read what `save` wrote, now or before it knew of layouts.

        Raises:
            ValueError: another file of tensors.
        """
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "n" not in told or tensors.keys() not in ({"indices"}, {"weights"}):
            raise ValueError(f"{path} holds no reduction: give a file that Reduction.save wrote")
        layout = Layout.read(told["layout"]) if "layout" in told else None
        return cls(int(told["n"]), layout=layout, **tensors)

    def __repr__(self) -> str:
        kind = "selection" if self.weights is None else "mixture"
        return f"Reduction({self.n} -> {self.m} visual tokens, {100 * self.m / self.n:.1f} %, {kind})"

    def _repr_html_(self) -> str:
        """For notebooks: how much each token weighs, on the grids of its layout; without a layout, P."""
        if self.layout is not None and self.layout.views:
            grids, told = self.layout.on_grids(self.usage()), "the grids of visual tokens, and how much each is used"
        else:
            rows, told = self.matrix().detach().float().cpu(), "P: kept tokens by visual tokens"
            grids = [rows] if self.m else []
        pictures = "".join(_picture(grid, max(float(grid.nan_to_num().max()) for grid in grids)) for grid in grids)
        return (
            f"<figure style='margin:0'><div style='display:flex;flex-wrap:wrap;gap:8px'>{pictures}</div>"
            f"<figcaption>{html.escape(repr(self))}: {told}</figcaption></figure>"
        )


def _picture(values: torch.Tensor, top: float) -> str:
    """A matrix as an `<img>` of one pixel a value: dark for 0 and NaN, yellow for `top`."""
    import matplotlib
    from PIL import Image

    colors = matplotlib.colormaps["viridis"]((values.nan_to_num() / (top or 1)).numpy(), bytes=True)
    file = io.BytesIO()
    Image.fromarray(colors[..., :3].copy()).save(file, "PNG")
    rows, columns = values.shape
    size = f"width:{max(160, min(720, 12 * columns))}px;height:{max(24, min(320, 12 * rows))}px"
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return f"<img alt='{rows} by {columns} values' style='{size};image-rendering:pixelated' src='{source}'>"
