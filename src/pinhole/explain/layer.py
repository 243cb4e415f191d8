"""One decoder layer of one row, run once more for its attention, with the gradients of that made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pinhole.families.cues import Call, replaced

_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}
"""How many numbers are made at once, by the kind of device: they stay in a CPU's cache, and keep a GPU busy."""


@dataclass(frozen=True, eq=False)
class Attention:
    """One layer's attention on one row of L tokens, and the layer around it.

    Attributes:
        before: (1, L, d) the layer's input.
        after: (1, L, d) its output.
        call: queries and keys.
        value: (1, key heads, L, width).
        mask: (L, L) which keys each query sees; None where these are its own and all before it.
        output: (1, L, heads, width) of the attention, which has no graph: a leaf in that of the layer's output.
    """

    before: torch.Tensor
    after: torch.Tensor
    call: Call
    value: torch.Tensor
    mask: torch.Tensor | None
    output: torch.Tensor

    def visible(self, queries: slice) -> tuple[torch.Tensor, slice]:
        """Which keys some queries see, (q, k), in the span of keys that any of them sees."""
        columns = torch.arange(self.value.shape[2], device=self.value.device)
        visible = columns <= columns[queries, None] if self.mask is None else self.mask[queries]
        keys = span(visible.any(0))
        return visible[:, keys], keys

    def parts(self, which: torch.Tensor, copies: int) -> Iterator[slice]:
        """The span of (L,) queries that are not 0, as many at a time as suit the device.

        Args:
            which: (L,).
            copies: of a number for each query and key that are made at once.
        """
        whole, length = span(which), self.value.shape[2]
        size = max(1, _AT_ONCE.get(self.value.device.type, _AT_ONCE["cuda"]) // (copies * length))
        for start in range(whole.start, whole.stop, size):
            yield slice(start, min(start + size, whole.stop))


def span(which: torch.Tensor) -> slice:
    """From the first to the last of (L,) that is not 0."""
    places = which.nonzero()[:, 0].tolist()
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)


def again(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], with_gradients: bool) -> Attention:
    """Run one decoder layer once more; the graph has a gap at the attention, whose gradients are made by hand."""
    seen: list[dict[str, Any]] = []

    def attend(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
        **more: Any,
    ) -> tuple[torch.Tensor, None]:
        call = Call(query, key, scaling, more.get("sliding_window"))
        visible = visible_keys(call, mask, more)
        whole = None if visible is None else visible[None, None]
        with torch.no_grad():
            kernel = ALL_ATTENTION_FUNCTIONS["sdpa"]
            output, _ = kernel(module, query, key, value, whole, scaling=scaling, is_causal=visible is None)
        output.requires_grad_(with_gradients)
        seen.append({"call": call, "value": value, "mask": visible, "output": output})
        return output, None

    with torch.set_grad_enabled(with_gradients), replaced(layer.self_attn, attend):
        hidden = args[0].detach().requires_grad_(with_gradients)
        return Attention(hidden, layer(hidden, *args[1:], **kwargs), **seen[0])


def visible_keys(call: Call, mask: torch.Tensor | None, more: dict[str, Any]) -> torch.Tensor | None:
    """Which keys each query of one row sees, (L, L), from what its kernel was given; None for all up to its own."""
    if any(more.get(name) is not None for name in ("softcap", "s_aux")):
        raise ValueError("this model caps its attention's scores or adds sinks to them: its rollout is not known here")
    if mask is not None and not isinstance(mask, torch.Tensor):
        raise ValueError(
            "attention masks of flex_attention cannot be read here: load the model with attn_implementation='sdpa'"
        )
    if mask is not None and mask.dim() == 4:
        return mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] == 0
    length = call.key.shape[2]
    if call.window is None or call.window >= length:
        return None
    columns = torch.arange(length, device=call.key.device)
    ago = columns[:, None] - columns
    return (ago >= 0) & (ago < call.window)


def down(
    attention: Attention, rows: torch.Tensor, gradient: torch.Tensor, is_first: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """r Abar of one layer, and the gradients at its input.

    Args:
        attention: of the layer.
        rows: (T, L) r.
        gradient: (T, L, d) at the layer's output.
        is_first: there is no layer below: the second of what is returned has no meaning then.
    """
    call, value = attention.call, attention.value
    pairs = [
        torch.autograd.grad(attention.after, (attention.output, attention.before), one[None], retain_graph=True)
        for one in gradient.to(attention.after.device)
    ]
    pulls, below = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    added, *at_inputs = _through(attention, rows, pulls, is_first)
    if not is_first:
        for number, inputs in enumerate(zip(*at_inputs, strict=True)):
            given = [part[None].to(value.dtype) for part in inputs]
            graph = (call.query, call.key, value)
            below[number] += torch.autograd.grad(graph, attention.before, given, retain_graph=True)[0][0]
    return added, below


@torch.no_grad()
def _through(
    attention: Attention, rows: torch.Tensor, pulls: torch.Tensor, is_first: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """r Abar, and for each r the gradients at queries, keys and values (T, heads, L, width).

    As A = softmax(S), S = scaling Q K^T and O = A V, they are dA = dO V^T, dV = A^T dO, dS = A * (dA - sum(A * dA)),
    dQ = scaling dS K and dK = scaling dS^T Q. A is made once for all r, for a few queries at a time.

    Args:
        attention: of one layer.
        rows: (T, L) r.
        pulls: (T, L, heads, width) dO.
        is_first: as for `down`; the gradients are 0 then.
    """
    call, precise, count = attention.call, rows.dtype, len(rows)
    query, key, value = (x[0].to(precise) for x in (call.query, call.key, attention.value))
    groups = len(key)
    # query heads by the key head that they share, and what differs from r to r side by side
    query, pulls = (x.unflatten(0, (groups, -1)) for x in (query, pulls.to(precise).permute(2, 1, 0, 3)))
    shared = query.shape[1]
    d_query = query.new_zeros(*query.shape[:3], count, query.shape[-1])
    d_key, d_value = (x.new_zeros(groups, x.shape[1], count, x.shape[2]) for x in (key.mT, value))
    added, asked = torch.zeros_like(rows), pulls.abs().amax((0, 1, 3, 4))
    for queries in attention.parts(asked, count * shared):
        visible, keys = attention.visible(queries)
        mine = rows[:, queries].T.repeat(shared, 1)[..., None] / (groups * shared)
        for group in range(groups):
            q, k, pull = query[group, :, queries], key[group, keys], pulls[group, :, queries].flatten(0, 1)
            weights = Call(q[None], k[None, None], call.scaling).weights(visible)[0].to(precise).flatten(0, 1)
            products = (pull.flatten(0, 1) @ value[group, keys].mT).unflatten(0, (-1, count)).mul_(weights[:, None])
            added[:, keys] += products.clamp_min(0).mul_(mine).sum(0)
            if is_first:
                continue
            scores = products.addcmul_(weights[:, None], products.sum(-1, keepdim=True), value=-1)
            d_query[group, :, queries] = (scores.flatten(0, 1) @ k).view(shared, -1, count, k.shape[-1])
            d_key[group, ..., keys] += (q.flatten(0, 1).mT @ scores.flatten(1)).unflatten(1, (count, -1))
            d_value[group, keys] += (weights.mT @ pull.flatten(1)).unflatten(1, (count, -1))
    d_query, d_key = d_query.mul_(call.scaling), d_key.mul_(call.scaling)
    return added, d_query.permute(3, 0, 1, 2, 4).flatten(1, 2), d_key.permute(2, 0, 3, 1), d_value.permute(2, 0, 1, 3)


@torch.no_grad()
def carried(attention: Attention, rows: torch.Tensor) -> torch.Tensor:
    """r Abar of one layer (T, L), where Abar is the mean of A over heads.

    Args:
        attention: of the layer.
        rows: (T, L) r.
    """
    added, heads = torch.zeros_like(rows), attention.call.query.shape[1]
    for queries in attention.parts(rows.any(0), heads):
        visible, keys = attention.visible(queries)
        part = Call(attention.call.query[:, :, queries], attention.call.key[:, :, keys], attention.call.scaling)
        added[:, keys] += rows[:, queries] @ part.weights(visible)[0].mean(0).to(rows.dtype)
    return added
