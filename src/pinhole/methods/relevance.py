"""Relevance: which visual tokens an answer will rest on, told from the LLM's first look at the image."""

from __future__ import annotations

import itertools
from typing import Any, Literal, Self

import torch
from torch import nn

from pinhole.budget import Keep, check_keep
from pinhole.method import Learned, check_turns
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens

FIRST, WIDEST = 32, 512
"""Channels of the first layer, and of the fifth and all behind it."""
LEAST = 1e-3
"""Attention below this share of the image's mean counts as this share."""


class Relevance(Learned, library_name="pinhole", license="apache-2.0", paper_url="https://arxiv.org/abs/2506.01097"):
    """Keep the tokens with the largest f(A_v), A_v the attention that the question pays them in the LLM's first layer.

    "Task-Related Token Compression in Multimodal Large Language Models from an Explainability Perspective", ICLR 2026,
    arXiv 2506.01097. A_v (n,) is the mean over heads and over the instruction's tokens; f is a 1-D depthwise-separable
    convolutional network, a softmax over the image's n tokens behind it. It learns to tell the relevance R_v that
    rollout through the whole LLM gives (`pinhole.explain`), from labels and without the LLM. Kept tokens stay in the
    order of the image. f is fully convolutional: n may be far above what it was trained on, or below its kernel.

    Where the paper is silent: a layer is a depthwise convolution, a pointwise one and ReLU, and zeros pad the ends; one
    more pointwise convolution makes the logit; f reads log(n A_v / sum A_v), cut off at log(1e-3), which is 0 for even
    attention whatever n is; ties go to the earlier token.

    Args:
        width: of the LLM. f has no weights of this size, but belongs to the LLM that it was trained for.
        keep: share (float in (0, 1]) or count (int) of visual tokens that remain; the same weights serve all.
        layers: of f. Channels double from 32 to 512, which are the paper's five; fewer layers are the first of these,
            more have 512 (the paper's ablation has 3, 5, 7 and 10, whose channels it does not give).
        kernel: tokens that a depthwise convolution sees, an odd number.
        input_layer: layer of the LLM, from 0, whose attention f reads. Those before it read the whole prompt first.
        turns: whose question counts in a dialogue: the "first" one's, or "each" turn's, at which all is read anew.
    """

    name = "relevance"
    paper = "Explainability compressor, ICLR 2026, arXiv 2506.01097"
    needs = frozenset({"first_layer_attention"})
    recipe = "explanation"

    def __init__(
        self,
        width: int,
        keep: Keep = 0.1,
        layers: int = 5,
        kernel: int = 3,
        input_layer: int = 0,
        turns: Literal["first", "each"] = "first",
    ) -> None:
        super().__init__()
        if min(width, layers) < 1 or input_layer < 0:
            raise ValueError(
                f"width and layers are at least 1 and input_layer at least 0, got {width}, {layers} and {input_layer}"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is an odd number of tokens, such as 3; got {kernel}")
        check_turns(turns)
        if input_layer:
            object.__setattr__(self, "needs", frozenset({f"attention@{input_layer}"}))
        self.keep, self.turns = check_keep(keep), turns
        self.width, self.layers, self.kernel, self.input_layer = width, layers, kernel, input_layer
        self._channels = [1, *(min(FIRST * 2**layer, WIDEST) for layer in range(layers))]
        *before, last = self._channels
        self.depthwise = nn.ModuleList(nn.Conv1d(c, c, kernel, padding=kernel // 2, groups=c) for c in before)
        self.pointwise = nn.ModuleList(nn.Conv1d(*pair, 1) for pair in itertools.pairwise(self._channels))
        self.head = nn.Conv1d(last, 1, 1, bias=False)  # which the softmax would take away again
        for module in (*self.depthwise, *self.pointwise, self.head):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if module in self.pointwise else "linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    @classmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(width, **settings)

    def forward(self, attention: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (..., n), in the dtype of the weights, for attention A_v (..., n)."""
        a = attention.to(self.head.weight)
        mean = a.mean(-1, keepdim=True).clamp_min(torch.finfo(a.dtype).tiny)
        states = (a / mean).clamp_min(LEAST).log().reshape(-1, 1, a.shape[-1])
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            states = pointwise(depthwise(states)).relu()
        return self.head(states).view(a.shape).log_softmax(-1)

    @torch.no_grad()
    def reduce(self, image: VisualTokens) -> Reduction:
        """The m tokens that are said to be most relevant."""
        [cue] = self.needs
        order = self(image.cues[cue].mean(-1)).argsort(descending=True, stable=True)
        return Reduction.select(order[: self.count(image.n)].sort().values.to(image.x.device), image.n)

    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`."""
        fields = ("layers", "kernel", "input_layer", "turns")
        return {name: getattr(self, name) for name in fields}

    def flops(self, n: int, m: int, width: int) -> int:
        """The network and, roughly, the attention that it reads: what the LLM computes of n tokens up to there.

        Queries, keys and values in the layer itself, 12 d^2 weights in each one before; the text is not counted.
        """
        pairs = itertools.pairwise(self._channels)
        network = sum(before * (self.kernel + behind) for before, behind in pairs) + self._channels[-1]
        return 2 * n * (network + (3 + 12 * self.input_layer) * width**2)
