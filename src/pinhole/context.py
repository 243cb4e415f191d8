"""Context: everything that a batch of dialogues has read and said so far, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Context:
    """The tokens of B dialogues, with placeholders for the reduced images.

    Attributes:
        input_ids: (B, L).
        attention_mask: (B, L) zero where a row has nothing.
        position_ids: (B, L), or (3, B, L) for M-RoPE.
        token_inputs: what else the family has for every token, (B, L) each.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    token_inputs: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def empty(cls, device: torch.device) -> Context:
        """Nothing yet."""
        nothing = torch.zeros(0, 0, dtype=torch.long, device=device)
        return cls(nothing, nothing, nothing)

    @classmethod
    def of(cls, inputs: dict[str, Any], token_inputs: Sequence[str]) -> Context:
        """The tokens of model inputs; `token_inputs` names what a family has for every token."""
        others = {name: inputs[name] for name in token_inputs if name in inputs}
        return cls(inputs["input_ids"], inputs["attention_mask"], inputs["position_ids"], others)

    def inputs(self) -> dict[str, torch.Tensor]:
        """As model inputs."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": self.position_ids,
            **self.token_inputs,
        }

    @property
    def length(self) -> int:
        """L."""
        return self.input_ids.shape[1]

    def append(self, new: Context) -> Context:
        """This, then `new`, whose positions count from 0: they go on behind the last position of each row."""
        if not self.length:
            return new
        columns = torch.arange(1, self.length + 1, device=self.input_ids.device)
        last = (self.attention_mask * columns).argmax(-1, keepdim=True)
        last = self.position_ids.gather(-1, last.expand(*self.position_ids.shape[:-1], 1))
        zeros = {name: torch.zeros_like(self.input_ids) for name in new.token_inputs}
        return Context(
            torch.cat([self.input_ids, new.input_ids], 1),
            torch.cat([self.attention_mask, new.attention_mask], 1),
            torch.cat([self.position_ids, new.position_ids + last + 1], -1),
            {
                name: torch.cat([value, new.token_inputs.get(name, torch.zeros_like(new.input_ids))], 1)
                for name, value in (zeros | self.token_inputs).items()
            },
        )

    def cut(self, length: int) -> Context:
        """The first `length` columns."""
        return Context(
            self.input_ids[:, :length],
            self.attention_mask[:, :length],
            self.position_ids[..., :length],
            {name: value[:, :length] for name, value in self.token_inputs.items()},
        )
