"""What a method inside the LLM is shown, made by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pinhole.layer_method import LayerTokens


def layer_tokens(
    hidden: torch.Tensor,
    *,
    text: torch.Tensor | None = None,
    behind: list[bool] | None = None,
    first: torch.Tensor | None = None,
    first_text: torch.Tensor | None = None,
    keys: torch.Tensor | None = None,
    attention: torch.Tensor | None = None,
    ahead: torch.Tensor | None = None,
    norm: Callable[[torch.Tensor], torch.Tensor] | None = None,
    before: int | None = None,
    cut: int = 0,
) -> LayerTokens:
    """Tokens (n, d) whose attention (t, n) is given; asking for what is not given fails.

    Text is two tokens behind the image unless it is given.
    """
    text = torch.zeros(2, hidden.shape[1]) if text is None else text

    def given(value, name):
        assert value is not None, f"{name} was asked for"
        return value

    def attend(which: torch.Tensor, is_ahead: bool) -> torch.Tensor:
        return given(ahead if is_ahead else attention, f"attention, ahead={is_ahead},")[which]

    def normed(x: torch.Tensor) -> torch.Tensor:
        return given(norm, "norm")(x)

    return LayerTokens(
        layer=cut + 1,
        cut=cut,
        before=len(hidden) if before is None else before,
        hidden=hidden,
        text=text,
        first=hidden if first is None else first,
        first_text=text if first_text is None else first_text,
        behind=torch.ones(len(text), dtype=torch.bool) if behind is None else torch.tensor(behind),
        keys=lambda: given(keys, "keys"),
        attend=attend,
        norm=normed,
    )


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
