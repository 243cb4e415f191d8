"""MetaCompress: P learned from the image alone, by matching the LLM's outputs before and after."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import nn

from pinhole.budget import Keep, check_keep
from pinhole.method import Learned
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


class MetaCompress(Learned, library_name="pinhole", license="apache-2.0", paper_url="https://arxiv.org/abs/2603.21701"):
    """X~ = P X with P = softmax_rows(Q diag(b) K^T / sqrt(d_c)), Q = Pool(Z + E_pos) W_q, K = (Z + E_pos) W_k.

    "Rethinking Token Reduction for Large Vision-Language Models", CVPR 2026, arXiv 2603.21701. Z is X (normalised, see
    below); the values are the raw X. One set of weights (2 d d_c + d_c numbers, and the temperature) serves any n and
    any `keep`.

    Where the paper is silent, each choice is a setting:

    Args:
        width: d, the width of the LLM that reads the tokens.
        keep: share (float in (0, 1]) or count (int) of visual tokens that remain.
        d_c: width of queries and keys.
        kernel: tokens averaged into each query; windows start at floor(i (n - kernel) / (m - 1)).
        normalize: "image" centres X on its mean token and scales it to a mean norm of sqrt(d) to get Z; "none" is the
            formula as printed, Z = X. Projector outputs share a large mean: as printed, the softmax is saturated at the
            start and training never leaves it (measured on the embedded LVLM).
        positions: "sinusoidal" adds the fixed E_pos of "Attention is all you need"; "none" adds nothing.
        temperature: the softmax's sharpness at the start, learned from there; None fixes it to 1, as printed.
        init_std: standard deviation of W_q = W_k at the start; None is d^-1/2.
    """

    name = "metacompress"
    paper = "MetaCompress, CVPR 2026, arXiv 2603.21701"

    def __init__(
        self,
        width: int,
        keep: Keep = 0.1,
        d_c: int = 64,
        kernel: int = 3,
        normalize: Literal["image", "none"] = "image",
        positions: Literal["sinusoidal", "none"] = "sinusoidal",
        temperature: float | None = math.exp(0.5),
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        for setting, value, allowed in (
            ("normalize", normalize, ("image", "none")),
            ("positions", positions, ("sinusoidal", "none")),
        ):
            if value not in allowed:
                raise ValueError(f"{setting} is one of {', '.join(allowed)}, got {value!r}")
        if min(width, d_c, kernel) < 1:
            raise ValueError(f"width, d_c and kernel are at least 1, got {width}, {d_c}, {kernel}")
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature is above 0, or None for the formula as printed; got {temperature}")
        self.keep = check_keep(keep)
        self.width, self.d_c, self.kernel = width, d_c, kernel
        self.normalize, self.positions = normalize, positions
        self._start = {"temperature": temperature, "init_std": init_std}
        w = torch.randn(width, d_c) * (width**-0.5 if init_std is None else init_std)
        self.w_q, self.w_k = nn.Parameter(w.clone()), nn.Parameter(w.clone())
        self.b = nn.Parameter(torch.ones(d_c))
        self.log_temperature = None if temperature is None else nn.Parameter(torch.tensor(math.log(temperature)))

    @classmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(width, **settings)

    def forward(self, x: torch.Tensor, m: int) -> torch.Tensor:
        """P, (m, n), in the dtype of the weights, for the tokens `x` (n, d). Every row sums to 1."""
        z = x.to(self.w_q.dtype)
        if self.normalize == "image":
            z = z - z.mean(0)
            z = z * (self.width**0.5 / z.norm(dim=-1).mean().clamp_min(1e-6))
        if self.positions == "sinusoidal":
            z = z + _sinusoids(len(z), self.width, z.device).to(z.dtype)
        queries = _pool(z, m, self.kernel) @ self.w_q
        logits = (queries * self.b) @ (z @ self.w_k).T / self.d_c**0.5
        if self.log_temperature is not None:
            logits = logits * self.log_temperature.exp()
        return logits.softmax(-1)

    def reduce(self, image: VisualTokens) -> Reduction:
        """P for this image; gradients reach the weights."""
        return Reduction.mix(self(image.x, self.count(image.n)))

    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`, as at the start of training."""
        fields = ("d_c", "kernel", "normalize", "positions")
        return {name: getattr(self, name) for name in fields} | self._start

    def flops(self, n: int, m: int, width: int) -> int:
        """Both projections, Q K^T and P X."""
        return 2 * ((m + n) * width * self.d_c + m * n * self.d_c + m * n * width)


def _pool(z: torch.Tensor, m: int, kernel: int) -> torch.Tensor:
    """(m, d): means of m windows of `kernel` neighbours, spread evenly from the first token to the last."""
    n = len(z)
    kernel = min(kernel, n)
    starts = torch.arange(m, device=z.device) * (n - kernel) // (m - 1) if m > 1 else torch.tensor([(n - kernel) // 2])
    return z[starts.to(z.device)[:, None] + torch.arange(kernel, device=z.device)].mean(1)


def _sinusoids(n: int, width: int, device: torch.device) -> torch.Tensor:
    """(n, d): sin in the even columns, cos in the odd ones (Vaswani et al. 2017, section 3.5)."""
    position = torch.arange(n, device=device, dtype=torch.float32)[:, None]
    angle = position * 10000 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)[:, :width]
