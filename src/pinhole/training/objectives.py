"""The losses as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def forward_kl(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student), the mean over answer tokens, in nats.

    Args:
        teacher: (T, V) log-probabilities of the uncompressed model.
        student: (T, V) log-probabilities of the compressed model.
    """
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


def hidden_distance(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """|h - h'|^2 / |h|^2, the mean over answer tokens.

    Args:
        teacher: (T, d) hidden states h of the uncompressed model.
        student: (T, d) hidden states h' of the compressed model.
    """
    precise = torch.promote_types(student.dtype, torch.float32)
    teacher, student = teacher.to(precise), student.to(precise)
    return ((teacher - student).square().sum(-1) / teacher.square().sum(-1).clamp_min(1e-12)).mean()


def relevance_kl(target: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """KL(R_v* || f), the mean over images, in nats: the explainability compressor's (ICLR 2026, arXiv 2506.01097).

    Args:
        target: (B, n) R_v*, probabilities, some of them 0.
        log_probs: (B, n) what the compressor says.
    """
    return F.kl_div(log_probs, target, reduction="batchmean")


def row_entropy(p: torch.Tensor) -> torch.Tensor:
    """Mean entropy of the rows of P (m, n), in nats: 0 where each output is one token, log n where it is the mean."""
    return -(p * p.clamp_min(1e-12).log()).sum(-1).mean()  # clamped: the slope of p log p at 0 is infinite


def largest_column_sum(p: torch.Tensor) -> torch.Tensor:
    """max_j sum_i P_ij of P (m, n): 1 where outputs share no token, m where they all are the same one (a collapse)."""
    return p.sum(0).max()
