"""How many visual tokens are alive, and what that costs: known before anything runs.

Every count, FLOP and KV byte that Pinhole reports is computed here, from the token count and the settings alone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

Keep = float | int


def check_keep(keep: Keep) -> Keep:
    """Return `keep` where it is a share in (0, 1] (a float) or a count of at least 1 (an int).

    Raises:
        TypeError: neither a float nor an int.
        ValueError: outside its range.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float):
        raise TypeError(f"keep is a share (float in (0, 1]) or a count (int), got {keep!r}")
    if isinstance(keep, int) and keep < 1:
        raise ValueError(f"keep as a count is at least 1, got {keep}")
    if isinstance(keep, float) and not 0 < keep <= 1:
        hint = f"; for {int(keep)} tokens write keep={int(keep)}" if keep > 1 and keep.is_integer() else ""
        raise ValueError(f"keep as a share lies in (0, 1], got {keep}{hint}")
    return keep


def kept_tokens(n: int, keep: Keep) -> int:
    """m, the visual tokens that remain of n: `max(1, floor(n * keep + 1/2))`, or the count itself.

    Exact: the share is read as the decimal fraction that prints it, so every process computes the same m.

    Raises:
        ValueError: `keep` is a count above n, or out of range.
    """
    check_keep(keep)
    if isinstance(keep, float):
        return max(1, math.floor(n * Fraction(repr(float(keep))) + Fraction(1, 2)))
    if keep > n:
        raise ValueError(
            f"cannot keep {keep} of {n} visual tokens: give a count of at most {n}, or a share such as 0.1"
        )
    return keep


@dataclass(frozen=True)
class LLMShape:
    """The sizes of a decoder-only LLM that its cost depends on."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocabulary: int
    bytes_per_value: int


@dataclass(frozen=True)
class Budget:
    """The visual tokens alive in each decoder layer of an LLM.

    Attributes:
        before: visual tokens as encoded.
        per_layer: visual tokens that each decoder layer reads, first layer first.
    """

    before: int
    per_layer: tuple[int, ...]

    @classmethod
    def constant(cls, before: int, kept: int, layers: int) -> Budget:
        """`kept` visual tokens in every layer: a reduction at the LLM's input."""
        return cls(before, (kept,) * layers)

    @property
    def average(self) -> float:
        """Mean over the layers of the visual tokens alive."""
        return sum(self.per_layer) / len(self.per_layer)

    def prefill_flops(self, shape: LLMShape, text: int, past: int = 0) -> int:
        """Floating point operations of one prefill up to the first token's logits; a multiply-add counts as two.

        The whole attention square is counted, as PyTorch's FlopCounterMode does, and the output head once.

        Args:
            shape: the LLM's sizes.
            text: text tokens of this prefill.
            past: tokens already in the KV cache.
        """
        total = 2 * shape.width * shape.vocabulary
        for visual in self.per_layer:
            new = visual + text
            queries = shape.heads * shape.head_width
            keys = shape.kv_heads * shape.head_width
            linear = 2 * shape.width * (2 * queries + 2 * keys + 3 * shape.mlp_width)
            total += new * linear + 4 * new * (new + past) * queries
        return total

    def kv_bytes(self, shape: LLMShape, text: int) -> int:
        """Bytes of keys and values of the visual tokens and `text` text tokens, over all layers."""
        per_token = 2 * shape.kv_heads * shape.head_width * shape.bytes_per_value
        return sum(visual + text for visual in self.per_layer) * per_token

    def __repr__(self) -> str:
        layers, kept = len(self.per_layer), ", ".join(f"{visual} x{length}" for visual, length in self._runs())
        share = 100 * self.average / self.before
        return f"Budget({self.before} -> {kept} visual tokens, {share:.1f} % on average over {layers} layers)"

    def _runs(self) -> list[tuple[int, int]]:
        """(visual tokens, layers) of each run of layers that read equally many."""
        return [(visual, len(list(run))) for visual, run in itertools.groupby(self.per_layer)]

    def _lines(self) -> list[tuple[str, str, str]]:
        """What, visual tokens, and its share of the same without reduction; FLOPs and KV of the visual tokens alone."""
        lines, first = [], 0
        for visual, length in self._runs():
            layers = f"layers {first} to {first + length - 1}" if length > 1 else f"layer {first}"
            lines.append((layers, f"{visual:,}", f"{100 * visual / self.before:.1f} %"))
            first += length
        share = f"{100 * self.average / self.before:.1f} %"
        pairs = sum((visual / self.before) ** 2 for visual in self.per_layer) / len(self.per_layer)
        return [
            *lines,
            ("mean over layers", f"{self.average:,.1f}", share),
            ("their KV cache", "", share),
            ("their FLOPs in linear layers", "", share),
            ("their FLOPs in attention to each other", "", f"{100 * pairs:.1f} %"),
        ]

    def _repr_html_(self) -> str:
        """For notebooks: visual tokens by layer, and what that leaves of their FLOPs and KV cache."""
        cell = "<td style='text-align:{}'>{}</td>".format
        rows = "".join(
            f"<tr>{cell('left', what)}{cell('right', tokens)}{cell('right', share)}</tr>"
            for what, tokens, share in self._lines()
        )
        head = f"<tr><th></th><th>visual tokens</th><th>of {self.before:,}</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def __rich__(self) -> Table:
        """As in notebooks, for the terminal: `rich.print(budget)`."""
        from rich.table import Table

        table = Table("", "visual tokens", f"of {self.before:,}", box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for line in self._lines():
            table.add_row(*line)
        return table
