"""Reduction: what a method decided for one image, X~ = P X, as plain data; learned ones may add a correction."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from pinhole.layout import Layout


@dataclass(frozen=True, eq=False)
class Reduction:
    """P of shape (m, n): m visual tokens made of n.

    Build one with `Reduction.select` (rows of a single 1), `Reduction.merge` (rows of a few weights; only these are
    held and multiplied) or `Reduction.mix` (rows of n weights).

    Attributes:
        n: visual tokens before.
        indices: int64, the tokens that the kept ones are made of, one after the other: (m,) for a selection, (e,) for a
            merge; None for a mixture.
        weights: floats, (e,) of `indices` for a merge, (m, n) for a mixture; None for a selection.
        sizes: (m,) int64, how many of `indices` each kept token is made of, for a merge; else None.
        correction: (m, d) floats that are added, X~ = P X + correction; None adds nothing.
        layout: where in the picture the n tokens come from; None where nobody said.
    """

    n: int
    indices: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    sizes: torch.Tensor | None = None
    correction: torch.Tensor | None = None
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
    def merge(
        cls, rows: torch.Tensor, columns: torch.Tensor, m: int, n: int, weights: torch.Tensor | None = None
    ) -> Reduction:
        """Every kept token is a weighted sum of a few: P[rows[i], columns[i]] = weights[i], everything else is 0.

        Args:
            rows: (e,) int64, the kept token that each weight is for, in any order: every number in [0, m).
            columns: (e,) int64, the token that it weighs, in [0, n); in one row no token twice.
            m: visual tokens after.
            n: visual tokens before.
            weights: (e,) floats; None makes every kept token the mean of its own.

        Raises:
            ValueError: they are not. Whether numbers are in range is looked at on the CPU alone: a look at values on a
                GPU waits for it.
        """
        given = [rows, columns, *([] if weights is None else [weights])]
        fits = rows.dtype == columns.dtype == torch.int64 and (weights is None or weights.is_floating_point())
        if not fits or rows.dim() != 1 or len({one.shape for one in given}) > 1:
            told = ", ".join(f"{one.dtype} {tuple(one.shape)}" for one in given)
            raise ValueError(f"a merge is of rows, columns and weights (e,): int64, int64 and floats; got {told}")
        if rows.device.type == "cpu":
            _check_places(rows, columns, m, n)
        sizes = rows.new_zeros(m).index_add(0, rows, torch.ones_like(rows))
        weights = (1 / sizes)[rows] if weights is None else weights
        order = (rows * n + columns).argsort()
        return cls(n, columns[order], weights[order], sizes)

    @classmethod
    def mix(cls, weights: torch.Tensor, correction: torch.Tensor | None = None) -> Reduction:
        """Every kept token is a weighted sum of all n: `weights` is P, (m, n); `correction` (m, d) is added.

        Raises:
            ValueError: `weights` is not a non-empty matrix of floats, or there is not a row of corrections for each of
                its rows.
        """
        if weights.dim() != 2 or not weights.numel() or not weights.is_floating_point():
            raise ValueError(f"P is a non-empty (m, n) matrix of floats, got {weights.dtype} {tuple(weights.shape)}")
        if correction is not None and (correction.dim() != 2 or len(correction) != len(weights)):
            raise ValueError(f"corrections of {len(weights)} tokens are (m, d), got {tuple(correction.shape)}")
        return cls(weights.shape[1], weights=weights, correction=correction)

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

        It is a selection where all are, and a mixture where one is.

        Args:
            parts: for each, the tokens (n_i,) that it reduces and how.
            n: visual tokens in all.
        """
        return replace(cls._join(parts, n), correction=_stacked([part for _, part in parts]))

    @classmethod
    def _join(cls, parts: list[tuple[torch.Tensor, Reduction]], n: int) -> Reduction:
        if all(part.weights is None for _, part in parts):
            return cls.select(torch.cat([tokens[part.indices] for tokens, part in parts]), n)
        if any(part.indices is None for _, part in parts):
            blocks = [(tokens, part.matrix().to(tokens.device)) for tokens, part in parts]
            return cls.mix(torch.cat([p.new_zeros(len(p), n).index_copy(1, tokens, p) for tokens, p in blocks]))
        rows, columns, weights, above = [], [], [], 0
        for tokens, part in parts:
            row, column, weight = (one.to(tokens.device) for one in part._entries())
            rows.append(above + row)
            columns.append(tokens[column])
            weights.append(weight)
            above += part.m
        return cls.merge(torch.cat(rows), torch.cat(columns), above, n, torch.cat(weights))

    def reorder(self, order: torch.Tensor) -> Reduction:
        """The same kept tokens in another order: `order` (m,) holds the number of each row."""
        return self.then(Reduction(self.m, indices=order.to(self._by_row.device)))

    def then(self, later: Reduction) -> Reduction:
        """This reduction, then another of what it kept: one reduction of the n tokens, P' P.

        Raises:
            ValueError: the later one is not of m tokens.
        """
        if later.n != self.m:
            raise ValueError(f"{self.m} visual tokens were kept, and the reduction that follows is of {later.n}")
        correction = later.correction if self.correction is None else later.apply(self.correction)
        return replace(self._then(later), correction=correction, layout=self.layout)

    def _then(self, later: Reduction) -> Reduction:
        if self.weights is None and later.weights is None:
            assert self.indices is not None
            assert later.indices is not None
            return Reduction(self.n, indices=self.indices[later.indices.to(self.indices.device)])
        if self.indices is None or later.indices is None:
            return Reduction(self.n, weights=later.weigh(self.matrix()))
        if not later.m:
            return Reduction.nothing(self.n, self.indices.device)
        rows, through, shares = (one.to(self.indices.device) for one in later._entries())
        entries, many = self._entries_of(through)
        _, columns, weights = self._entries()
        products = shares.repeat_interleave(many) * weights[entries]
        places, number = (rows.repeat_interleave(many) * self.n + columns[entries]).unique(return_inverse=True)
        products = products.new_zeros(len(places)).index_add(0, number, products)
        return Reduction.merge(places // self.n, places % self.n, later.m, self.n, products)

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
        return len(self._by_row)

    @property
    def anchors(self) -> torch.Tensor:
        """(m,) int64: the source token that weighs most in each kept one, the first of several."""
        if self.indices is None:
            assert self.weights is not None
            return self.weights.argmax(-1)
        if self.sizes is None:
            return self.indices
        rows, columns, weights = self._entries()
        falling = weights.argsort(descending=True, stable=True)
        order = falling[rows[falling].argsort(stable=True)]
        return columns[order[self.sizes.cumsum(0) - self.sizes]]

    def usage(self) -> torch.Tensor:
        """(n,) float32 on the CPU: how much each token weighs in the kept ones, the column sums of |P|.

        Where the rows of P sum to 1 this sums to m.
        """
        weights = None if self.weights is None else self.weights.detach().float().cpu().abs()
        if self.indices is None:
            assert weights is not None
            return weights.sum(0)
        return torch.bincount(self.indices.cpu(), weights, self.n).float()

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """P X + correction: (n, d) to (m, d), in the dtype of `x`. Gradients reach `x`, the weights and the correction.

        Raises:
            ValueError: `x` has not n rows.
        """
        kept = self.weigh(x)
        return kept if self.correction is None else kept + self.correction.to(kept)

    def weigh(self, x: torch.Tensor) -> torch.Tensor:
        """P X alone: for what belongs to the tokens and is not X, such as features that deeper layers add.

        Raises:
            ValueError: `x` has not n rows.
        """
        if x.shape[0] != self.n:
            raise ValueError(f"this reduction is of {self.n} visual tokens, got {x.shape[0]}")
        if self.weights is None:
            return x[self.indices]
        if self.indices is None or self.sizes is None:
            # without AVX-512 a CPU takes a hundred times as long for this product in 16 bits
            dtype = torch.promote_types(x.dtype, torch.float32) if x.device.type == "cpu" else x.dtype
            return (self.weights.to(dtype) @ x.to(dtype)).to(x.dtype)
        # sums in float32 without a copy of the rows, and on a GPU, unlike index_add, the same in every run
        starts, weights = self.sizes.cumsum(0) - self.sizes, self.weights.to(x.dtype)
        return F.embedding_bag(self.indices, x, starts, mode="sum", per_sample_weights=weights)

    def matrix(self) -> torch.Tensor:
        """P as a dense (m, n) matrix of floats."""
        if self.indices is None:
            assert self.weights is not None
            return self.weights
        rows, columns, weights = self._entries()
        return weights.new_zeros(self.m, self.n).index_put((rows, columns), weights)

    @property
    def _by_row(self) -> torch.Tensor:
        """That of its tensors which has an entry for each kept token."""
        return next(each for each in (self.sizes, self.indices, self.weights) if each is not None)

    def _entries(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Row, column and weight of everything in P that is not 0, row by row; not of a mixture."""
        assert self.indices is not None
        rows = torch.arange(self.m, device=self.indices.device)
        if self.sizes is None or self.weights is None:
            return rows, self.indices, torch.ones(self.m, device=self.indices.device)
        return rows.repeat_interleave(self.sizes, output_size=len(self.indices)), self.indices, self.weights

    def _entries_of(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the entries of some rows (r,), row after row, and (r,) how many each has; not of a mixture."""
        all_rows, _, _ = self._entries()
        sizes = torch.bincount(all_rows, minlength=self.m)
        starts, many = (sizes.cumsum(0) - sizes)[rows], sizes[rows]
        shift = (starts - (many.cumsum(0) - many)).repeat_interleave(many)
        return torch.arange(len(shift), device=shift.device) + shift, many

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that it is made of by the names of its attributes, on the CPU."""
        names = ("indices", "weights", "sizes", "correction")
        held = {name: getattr(self, name) for name in names}
        return {name: value.detach().cpu().contiguous() for name, value in held.items() if value is not None}

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, with its layout if it has one, so that it can be drawn later without a model."""
        told = {"n": str(self.n)}
        if self.layout is not None:
            told["layout"] = self.layout.written()
        save_file(self.tensors(), path, metadata=told)

    @classmethod
    def load(cls, path: str | Path) -> Reduction:
        """Read what `save` wrote, now or before it knew of layouts.

        Raises:
            ValueError: another file of tensors.
        """
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "n" not in told or tensors.keys() - {"correction"} not in (
            {"indices"},
            {"weights"},
            {"indices", "weights", "sizes"},
        ):
            raise ValueError(f"{path} holds no reduction: give a file that Reduction.save wrote")
        layout = Layout.read(told["layout"]) if "layout" in told else None
        return cls(int(told["n"]), layout=layout, **tensors)

    def __repr__(self) -> str:
        kind = "selection" if self.weights is None else "mixture" if self.indices is None else "merge"
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


def _stacked(parts: list[Reduction]) -> torch.Tensor | None:
    """The corrections of all parts, zeros where one has none; None where none has one."""
    given = next((part.correction for part in parts if part.correction is not None), None)
    if given is None:
        return None
    rows = [given.new_zeros(part.m, given.shape[1]) if part.correction is None else part.correction for part in parts]
    return torch.cat(rows)


def _check_places(rows: torch.Tensor, columns: torch.Tensor, m: int, n: int) -> None:
    """Refuse places in P, (m, n), that a merge cannot have.

    Raises:
        ValueError: a row or column that P has not, a row without any, or one place twice.
    """
    for name, numbers, end in (("rows", rows, m), ("columns", columns, n)):
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < end:
            raise ValueError(f"{name} lie in [0, {end}), got [{int(numbers.min())}, {int(numbers.max())}]")
    if len(rows.unique()) < m:
        raise ValueError(f"a merge has something for each of {m} kept tokens, got {len(rows.unique())} different rows")
    if len((rows * n + columns).unique()) < len(rows):
        raise ValueError("a merge has one weight for a place in P, got several: add them up")


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
