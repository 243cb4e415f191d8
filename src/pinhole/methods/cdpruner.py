"""CDPruner: a subset that is diverse given the question, by a determinantal point process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.text_tower import in_joint_space
from pinhole.visual import VisualTokens

TWINS = 1e-6
"""Tokens whose cosine is closer to 1 than this are one and the same but for rounding."""
ROUNDING = 1e-5
"""Share of a token's own kernel entry up to which rounding may bring what it adds to the determinant."""


@dataclass(frozen=True)
class CDPruner(TrainingFree):
    """Keep the subset S that makes det(L_S) large, L = diag(r) C diag(r): C cosines of tokens, r their relevance.

    "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs", NeurIPS 2025, arXiv
    2506.10967: equations 3 and 5 to 7. S is built greedily, one Cholesky step a pick; kept tokens stay in the order of
    the image. r is the cosine of each token with the question, scaled to [0, 1] over the image.

    **Which CDPruner this is.** The paper takes that cosine in one of two ways. For encoders without a text tower of
    their own (Qwen2.5-VL, InternVL3): between the projected tokens and the mean of the LLM's embeddings of the
    instruction. That is the default here, on every model. For CLIP (LLaVA-1.5, LLaVA-NeXT): between patches and
    question in CLIP's joint space. An LVLM does not hold what leads there, so `tower` and `tokenizer` name it; the
    default is a variant on these models, not what the paper measured.

    Other deviations from the published code, which is for LLaVA alone: all tokens of an image are one set, where it
    takes each tile by itself and keeps every newline (see `Scope` for separators; by `tower` they are the least
    relevant); the instruction is all text behind the image, where it gets the bare question, and CLIP reads its first
    77 tokens, where it takes the mean over all parts of 77; cosines are float32. Where r is constant, where a token is
    all zeros and where duplicates alone are left, its numbers become NaN; here r is 1, zeros come last, and the more
    relevant of the duplicates goes first.

    Attributes:
        theta: weighs relevance against diversity, in [0, 1): r becomes exp(theta r / (2 (1 - theta))), as in the
            paper's supplement; 0 leaves the question out. None is r itself, the paper's main form.
        similarity: gives the cosines (n,) of an image's tokens with a question that it knows; in Python only.
        invert: take minus the cosine. Equation 5 has no minus; the published code has, for CLIP, whose patches are the
            less like a text the better they show it. Its authors saw this with CLIP alone.
        tower: folder or hub name of the CLIP whose vision tower the LVLM has ("openai/clip-vit-large-patch14-336"). Its
            text tower reads the question; minus the cosine is taken, of the text and of each patch's state that the
            projector reads, behind CLIP's last norm and projection.
        tokenizer: folder or hub name of the LVLM's own tokenizer, for `tower`: makes text of the instruction's ids,
            without special tokens and what the chat template prints behind a question ("ASSISTANT:").
        turns: whose question counts in a dialogue: the "first" one's, or "each" turn's, at which all is read anew.
    """

    name = "cdpruner"
    paper = "CDPruner, NeurIPS 2025, arXiv 2506.10967"
    needs = frozenset({"prompt_embeddings"})
    theta: float | None = None
    similarity: Callable[[VisualTokens], torch.Tensor] | None = None
    invert: bool = False
    tower: str | None = None
    tokenizer: str | None = None
    turns: Literal["first", "each"] = "first"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.theta is not None and not 0 <= self.theta < 1:
            raise ValueError(f"theta lies in [0, 1), or is None for relevance itself; got {self.theta}")
        if self.similarity is not None and not callable(self.similarity):
            raise TypeError(f"similarity is a function of VisualTokens, given in Python; got {self.similarity!r}")
        names = (self.tower, self.tokenizer)
        if not all(isinstance(name, str | None) for name in names):
            raise TypeError(f"tower and tokenizer are folders or hub names, got {names[0]!r} and {names[1]!r}")
        if bool(self.tower) != bool(self.tokenizer):
            raise ValueError(
                f"tower and tokenizer go together, got {names[0]!r} and {names[1]!r}: name the CLIP whose vision tower "
                "the LVLM has, and the LVLM, such as openai/clip-vit-large-patch14-336 and llava-hf/llava-1.5-7b-hf"
            )
        if self.tower and (self.similarity is not None or self.invert):
            raise ValueError("tower gives the cosine and its sign: leave similarity and invert out, or tower")
        if self.tower or self.similarity is not None:
            object.__setattr__(self, "needs", frozenset({"encoder_output", "prompt_ids"} if self.tower else ()))

    @torch.no_grad()
    def reduce(self, image: VisualTokens) -> Reduction:
        """Pick m tokens one by one."""
        x = F.normalize(image.x.to(torch.promote_types(image.x.dtype, torch.float32)), dim=-1)
        if self.tower and self.tokenizer:
            cosine = in_joint_space(image, self.tower, self.tokenizer).to(x)
        elif self.similarity is not None:
            cosine = self.similarity(image).to(x)
        else:
            question = F.normalize(image.cues["prompt_embeddings"].to(x).mean(0), dim=0)
            cosine = (x * question).sum(-1)  # unlike a matrix product, the same for duplicates to the last bit
        if cosine.shape != (image.n,):
            raise ValueError(f"similarity gives one number a token, ({image.n},), got {tuple(cosine.shape)}")
        relevance = _relevance(-cosine if self.invert or self.tower else cosine, self.theta)
        picks = _greedy_map(relevance[:, None] * _cosines(x) * relevance, self.count(image.n))
        return Reduction.select(picks.sort().values, image.n)

    def settings(self) -> dict[str, Any]:
        """Every field but `keep`; a function by its name."""
        given = self.similarity
        name = None if given is None else getattr(given, "__qualname__", type(given).__qualname__)
        return {**super().settings(), "similarity": name}

    def flops(self, n: int, m: int, width: int) -> int:
        """The kernel, the cosines with the question and the picks; not what a `similarity` or CLIP takes."""
        return 2 * n * n * width + 2 * n * width + 2 * n * n * m


def _relevance(cosine: torch.Tensor, theta: float | None) -> torch.Tensor:
    """(n,): cosines scaled to [0, 1] and up by 1e-6, so that the least can be picked; 1 where all are equal."""
    low, span = cosine.min(), cosine.max() - cosine.min()
    relevance = torch.where(span > 0, (cosine - low + 1e-6) / span, 1.0)
    return relevance if theta is None else (theta / (2 * (1 - theta)) * relevance).exp()


def _cosines(x: torch.Tensor) -> torch.Tensor:
    """(n, n), of tokens of length 1 or 0; the same for tokens that are: rounding decides no tie."""
    cosines = x @ x.T
    cosines.diagonal().round_()  # to exactly 1 or 0
    first = (cosines > 1 - TWINS).byte().fill_diagonal_(1).argmax(0)
    return cosines[first][:, first]


def _greedy_map(kernel: torch.Tensor, m: int) -> torch.Tensor:
    """(m,) picks in their order, each the best for det(L_S): Chen et al. 2018, by Schur complements.

    Args:
        kernel: L, (n, n); it is overwritten by what is left of it, given the picks.
        m: picks.
    """
    left = kernel.diagonal()  # the factor that each token would bring
    least = (ROUNDING * left).clamp_min(torch.finfo(kernel.dtype).tiny)
    picks, explained = [], torch.empty_like(kernel)  # one for all rounds: new ones would tear the CPU's heap apart
    for _ in range(m):
        gain = torch.maximum(left, least)
        pick = gain.argmax(0, keepdim=True)
        row = kernel.index_select(0, pick)[0]
        kernel -= torch.mul(row[:, None], row / gain.index_select(0, pick), out=explained)
        for bound in (left, least):
            bound.index_fill_(0, pick, -torch.inf)  # so that no pick is picked again
        picks.append(pick)
    return torch.cat(picks)
