"""Methods by themselves, on any number of visual tokens: what they make of random tokens and cues."""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pinhole.families.cues import Call
from pinhole.layer_method import LayerMethod, LayerTokens
from pinhole.layout import Layout, View
from pinhole.method import InputMethod
from pinhole.plan import Method
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens

QUADRATIC = {
    "vispruner": "similarities of the tokens from which duplicates go (section 4)",
    "divprune": "distances of all pairs (equation 3)",
    "cdpruner": "the kernel of all pairs (equation 5)",
    "sparsevlm": "distances of all pairs of the tokens that are recycled (DPC-kNN)",
}
"""The methods whose memory grows with n x n, n visual tokens, and what their papers need it for. None else may."""


class Powers(NamedTuple):
    """Powers of n with which something grows.

    Attributes:
        time: of an algorithm.
        memory: of it.
    """

    time: int
    memory: int


PAPERS = {
    "tome": Powers(2, 2),
    "prumerge": Powers(2, 2),
    "prumerge+": Powers(2, 2),
    "visionzip": Powers(2, 2),
    "vispruner": Powers(3, 2),
    "divprune": Powers(2, 2),
    "cdpruner": Powers(3, 2),
    "metacompress": Powers(2, 2),
    "pinhole": Powers(2, 2),
    "sparsevlm": Powers(2, 2),
}
"""What the papers' algorithms take where a fixed share of n tokens is kept; `LINEAR` is that of all others.

Similarities of all pairs, or of all tokens to those kept, are n x n. VisPruner compares anew in every round, CDPruner
goes over all tokens and all picks at every pick: n x n x n."""
LINEAR = Powers(1, 1)


@dataclass(frozen=True)
class Sizes:
    """Of random tokens.

    Attributes:
        width: of the tokens.
        heads: in the LLM's attention.
        encoder_heads: in the encoder's, as wide as the LLM's.
        text: text tokens, all behind the image.
    """

    width: int = 1024
    heads: int = 8
    encoder_heads: int = 8
    text: int = 64

    @property
    def head_width(self) -> int:
        """Of one head."""
        return self.width // self.heads


@dataclass(frozen=True, eq=False)
class Noise:
    """Random tokens, the same for the same seed.

    Attributes:
        device, dtype: of them.
        sizes: theirs.
        seed: decides them.
    """

    device: torch.device
    dtype: torch.dtype
    sizes: Sizes
    seed: int = 0

    def numbers(self, *shape: int) -> torch.Tensor:
        """Normally distributed."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        return torch.randn(*shape, generator=generator, device=self.device, dtype=self.dtype)

    def image(self, n: int, needs: Set[str]) -> VisualTokens:
        """n visual tokens, a grid as square as n allows, with the cues that a method needs."""
        cues = {}
        for name in needs:
            value = self.numbers(*self._shape(name, n))
            cues[name] = value.float().softmax(0) if "attention" in name else value
        rows = next(side for side in range(math.isqrt(n), 0, -1) if n % side == 0)
        return VisualTokens(self.numbers(n, self.sizes.width), Layout.of(View(rows, n // rows)), torch.zeros(1), cues)

    def _shape(self, cue: str, n: int) -> tuple[int, ...]:
        sizes = self.sizes
        if cue.startswith(("first_layer_attention", "attention@")):
            return n, sizes.text
        shapes = {
            "encoder_keys": (n, sizes.encoder_heads, sizes.head_width),
            "prompt_embeddings": (sizes.text, sizes.width),
        }
        return shapes.get(cue.removesuffix("+1"), (n,))

    def inside(self, n: int, layer: int) -> LayerTokens:
        """n visual tokens in front of the first cut, at a decoder layer."""
        sizes = self.sizes
        hidden, text = self.numbers(n, sizes.width), self.numbers(sizes.text, sizes.width)
        key = self.numbers(n + sizes.text, sizes.heads, sizes.head_width)

        def attend(which: torch.Tensor, _is_ahead: bool) -> torch.Tensor:
            query = key[n:][which].transpose(0, 1)[None]
            return Call(query, key.transpose(0, 1)[None], sizes.head_width**-0.5).weights()[0].mean(0)[:, :n]

        behind = torch.ones(sizes.text, dtype=torch.bool, device=self.device)
        return LayerTokens(layer, 0, n, hidden, text, hidden, text, behind, lambda: key, attend, lambda x: x)


def own_work(method: Method, n: int, noise: Noise, layers: int = 32) -> Callable[[], Reduction]:
    """What a method does with n visual tokens, apart from the model: it decides, and P X is formed.

    Args:
        method: at the input, or inside an LLM, where its first cut is what counts.
        n: visual tokens.
        noise: makes them.
        layers: of the LLM.
    """
    tokens: Any
    if isinstance(method, LayerMethod):
        tokens = noise.inside(n, method.cuts(layers)[0])
        x = tokens.hidden
    else:
        assert isinstance(method, InputMethod)
        tokens = noise.image(n, method.needs)
        x = tokens.x

    def work() -> Reduction:
        reduction = method.reduce(tokens)
        reduction.apply(x)
        return reduction

    return work


class LargestTensor(TorchDispatchMode):
    """Notes the largest tensor that is made while the block runs.

    Attributes:
        elements: how many numbers it has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for every operation."""
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.untyped_storage().nbytes() // value.itemsize)
        return result
