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
        """Ask the method about each image; returns what goes on, and whether anything left."""
        tokens = self.context.tokens
        rows, order, left = list(hidden), list(alive), False
        for unit in sorted({t.unit for t in tokens if t.unit is not None}):
            mine = [index for index in alive if tokens[index].unit == unit]
            started = [index for index, token in enumerate(tokens) if token.unit == unit]
            turn = tokens[started[0]].turn
            words = [i for i in alive if tokens[i].turn == turn and tokens[i].unit is None]
            m = self.method.count(cut, len(started))
            if m == len(mine):
                continue
            places = {index: alive.index(index) for index in alive}
            told = self._tokens(cut, number, hidden, alive, first, seen, mine, started, words, places)
            reduction = self.method.reduce(told)
            assert reduction.m == m
            kept = weighted(reduction, hidden[[places[index] for index in mine]])
            anchors = [mine[anchor] for anchor in reduction.anchors.tolist()]
            stay = [(index, row) for index, row in zip(order, rows, strict=True) if index not in mine]
            merged = sorted([*stay, *zip(anchors, kept, strict=True)], key=lambda pair: pair[0])
            order, rows, left = [index for index, _ in merged], [row for _, row in merged], True
        return torch.stack(rows), order, left

    def _tokens(self, cut, number, hidden, alive, first, seen: Seen, mine, started, words, places) -> LayerTokens:
        at = [places[index] for index in mine]
        text = [places[index] for index in words]
        query, key, weights = seen.query, seen.key, seen.weights

        def attend(which: torch.Tensor, ahead: bool) -> torch.Tensor:
            maps = weights
            if ahead:
                layer = family_of(self.context.model).language_model.layers[number]
                self._layer(layer, hidden, alive, any(t not in alive for t in range(len(self.context.tokens))))
                maps = seen.weights
                seen.query, seen.key, seen.weights = query, key, weights
            return maps[[text[i] for i in which.tolist()]][:, at].float()

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
