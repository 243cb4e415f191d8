"""Tokens that leave between layers, the long way: one row, one pass, every layer with whole attention maps."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pinhole.families import family_of
from pinhole.layer_method import LayerMethod, LayerTokens
from reference import Context, weighted


@dataclass
class Seen:
    """What one layer's attention was given and made of it: (H, L, width) queries and keys, (L, L) mean weights."""

    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    weights: torch.Tensor | None = None


@contextlib.contextmanager
def plain_attention(model, seen: Seen):
    """While the block runs, the LLM's attention is softmax(q k^T) v with a causal mask, token by token."""

    def attend(module, query, key, value, mask, scaling, **_):
        copies = query.shape[1] // key.shape[1]
        seen.query, seen.key = query[0], key[0]
        keys, values = (x[0].repeat_interleave(copies, 0) for x in (key, value))
        scores = query[0] @ keys.transpose(-1, -2) * scaling
        causal = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        weights = scores.masked_fill(~causal, -torch.inf).softmax(-1)
        seen.weights = weights.mean(0)
        return (weights @ values).transpose(0, 1)[None], None

    config = family_of(model).language_model.config
    before = config._attn_implementation
    ALL_ATTENTION_FUNCTIONS["by-hand"] = attend
    config._attn_implementation_internal = "by-hand"
    try:
        yield
    finally:
        config._attn_implementation_internal = before
        del ALL_ATTENTION_FUNCTIONS["by-hand"]


@dataclass
class Layered:
    """A context whose LLM loses tokens between its layers.

    Attributes:
        context: everything that was read and said.
        method: decides.
    """

    context: Context
    method: LayerMethod

    @torch.no_grad()
    def run(self) -> tuple[torch.Tensor, list[int]]:
        """Logits (alive, vocabulary) of the tokens that are left at the end, and which tokens these are."""
        model, tokens = self.context.model, self.context.tokens
        text = family_of(model).language_model
        cuts = self.method.cuts(len(text.layers))
        hidden = torch.stack([token.embedding for token in tokens])
        first, alive, seen = hidden, list(range(len(tokens))), Seen()
        is_cut = False
        with plain_attention(model, seen):
            for number, layer in enumerate(text.layers):
                if number in cuts:
                    hidden, alive, left = self._cut(cuts.index(number), number, hidden, alive, first, seen)
                    is_cut |= left
                hidden = self._layer(layer, hidden, alive, is_cut)
                if tokens_have_deeper(tokens) and number < len(next(t.deeper for t in tokens if t.deeper)):
                    for place, index in enumerate(alive):
                        if tokens[index].deeper:
                            hidden[place] += tokens[index].deeper[number]
        return model.lm_head(text.norm(hidden)), alive

    def _layer(self, layer, hidden: torch.Tensor, alive: list[int], is_cut: bool) -> torch.Tensor:
        """One decoder layer on the tokens that are alive."""
        return layer.forward(hidden[None], **self._arguments(hidden, alive, is_cut))[0]

    def _arguments(self, hidden: torch.Tensor, alive: list[int], is_cut: bool) -> dict[str, Any]:
        positions = torch.tensor([self.context.tokens[index].position for index in alive]).T[:, None]
        if is_cut and self.method.positions == "compact":
            positions = torch.arange(len(alive)).expand_as(positions)
        rotary = family_of(self.context.model).language_model.rotary_emb
        embeddings = rotary(hidden[None], positions if len(positions) > 1 else positions[0])
        more: dict[str, Any] = {"attention_mask": None, "position_embeddings": embeddings}
        if "image_mask" in self.context.told:
            places = [place for place, index in enumerate(alive) if self.context.tokens[index].visual]
            more["image_places"] = torch.tensor(places, dtype=torch.long)
        return more

    def _cut(self, cut: int, number: int, hidden, alive: list[int], first, seen: Seen):
        """Ask the method about each image, turn by turn; returns what goes on, and whether anything left."""
        tokens = self.context.tokens
        rows, order = list(hidden), list(alive)
        for turn in range(self.context.turns):
            now = torch.stack(rows), list(order)  # earlier turns have lost their tokens already
            for unit in sorted({t.unit for t in tokens if t.unit is not None and t.turn == turn}):
                mine = [index for index in alive if tokens[index].unit == unit]
                m = self.method.count(cut, sum(token.unit == unit for token in tokens))
                if m == len(mine):
                    continue
                reduction = self.method.reduce(self._tokens(cut, number, hidden, alive, first, seen, mine, now))
                assert reduction.m == m
                places = [alive.index(index) for index in mine]
                kept = weighted(reduction, hidden[places])
                anchors = [mine[anchor] for anchor in reduction.anchors.tolist()]
                stay = [(index, row) for index, row in zip(order, rows, strict=True) if index not in mine]
                merged = sorted([*stay, *zip(anchors, kept, strict=True)], key=lambda pair: pair[0])
                order, rows = [index for index, _ in merged], [row for _, row in merged]
        return torch.stack(rows), order, len(order) < len(alive)

    def _tokens(self, cut, number, hidden, alive, first, seen: Seen, mine, now) -> LayerTokens:
        tokens = self.context.tokens
        unit, turn = tokens[mine[0]].unit, tokens[mine[0]].turn
        started = [index for index, token in enumerate(tokens) if token.unit == unit]
        words = [index for index in alive if tokens[index].turn == turn and tokens[index].unit is None]
        at, text = [alive.index(index) for index in mine], [alive.index(index) for index in words]
        query, key, weights = seen.query, seen.key, seen.weights

        def attend(which: torch.Tensor, ahead: bool) -> torch.Tensor:
            asking = [words[i] for i in which.tolist()]
            if not ahead:
                return weights[[alive.index(i) for i in asking]][:, at].float()
            states, order = now
            layer = family_of(self.context.model).language_model.layers[number]
            self._layer(layer, states, order, len(order) < len(tokens))
            maps = seen.weights
            seen.query, seen.key, seen.weights = query, key, weights
            return maps[[order.index(i) for i in asking]][:, [order.index(i) for i in mine]].float()

        return LayerTokens(
            layer=number,
            cut=cut,
            before=len(started),
            hidden=hidden[at],
            text=hidden[text],
            first=first[started],
            first_text=first[words],
            behind=torch.tensor([index > started[-1] for index in words]),
            keys=lambda: key.transpose(0, 1)[[*at, *text]],
            attend=attend,
            norm=family_of(self.context.model).language_model.norm,
        )


def tokens_have_deeper(tokens) -> bool:
    return any(token.deeper for token in tokens)
