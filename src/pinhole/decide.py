"""Asks a method about one image or video, in the scope that the user set."""

from __future__ import annotations

import torch

from pinhole.adapter_folders import adapter_of
from pinhole.families.base import Family
from pinhole.families.parts import Visual
from pinhole.layer_method import LayerMethod
from pinhole.method import InputMethod
from pinhole.plan import Plan
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.visual import VisualTokens


def check(method: InputMethod, family: Family) -> None:
    """Refuse a method that cannot work on this model, before anything runs.

    Raises:
        ValueError: it needs cues that the family lacks, or was trained for another width.
    """
    missing = method.needs - family.provides
    if missing:
        kind = family.model.config.model_type
        raise ValueError(f"{method.name} needs {', '.join(sorted(missing))}, which models of type {kind!r} do not give")
    width = getattr(method, "width", family.width)
    if width != family.width:
        raise ValueError(
            f"this {method.name} was trained for an LLM of width {width}, the model's is {family.width}: "
            "load a compressor that was trained for this model"
        )


def check_inside(method: LayerMethod, family: Family) -> None:
    """Refuse a method that cannot work between this model's layers.

    Raises:
        ValueError: the LLM has other or too few layers, tokens cannot leave where the method says, or its adapter is
            another model's.
    """
    first, kind = method.cuts(family.shape.layers)[0], family.model.config.model_type
    if refusal := family.uncut:
        raise ValueError(f"{method.name} cannot drop tokens between the layers of models of type {kind!r}: {refusal}")
    if first < family.first_cut:
        raise ValueError(
            f"{method.name} drops tokens in front of layer {first}, and models of type {kind!r} add image features up "
            f"to layer {family.first_cut - 1}: start at layer {family.first_cut} or later"
        )
    if method.adapter:
        adapter_of(family, method.adapter)


def check_plan(plan: Plan, family: Family) -> None:
    """Refuse methods that cannot work on this model, before anything runs.

    Raises:
        ValueError: as `check` and `check_inside` do.
    """
    check(plan.entry, family)
    if plan.layer:
        check_inside(plan.layer, family)


def check_scope(scope: Scope, family: Family) -> None:
    """Refuse a scope that the model would misread.

    Raises:
        ValueError: original positions for 1-D RoPE under FlashAttention.
    """
    attention = family.model.config.get_text_config(decoder=True)._attn_implementation or ""
    if scope.positions == "original" and family.positions == "compact" and "flash" in attention:
        raise ValueError(
            f"positions='original' cannot be used with {attention}: transformers takes jumps in position ids for the "
            "starts of other sequences there; load the model with attn_implementation='sdpa', or leave them compact"
        )


def decide(method: InputMethod, visual: Visual, scope: Scope) -> Reduction:
    """The reduction of one image or video, with the layout of its tokens.

    Each part that the scope reduces on its own is put to the method by itself; the method is not asked about a part of
    which everything remains. Where separators are kept, or text stands between the placeholders, the kept tokens are in
    the order of their anchors, as far as these need it; else in the order that the method gave.
    """
    tokens = visual.tokens
    parts, kept = _parts(tokens, scope, visual.modality)
    joined = [(part, _ask(method, tokens if len(part) == tokens.n else tokens.take(part))) for part in parts]
    if len(kept):
        joined.append((kept, Reduction.identity(len(kept), tokens.x.device)))
    if len(joined) == 1:
        reduction = joined[0][1]
    else:
        device = tokens.x.device
        reduction = Reduction.join([(part.to(device), answer) for part, answer in joined], tokens.n)
    return _ordered(reduction, visual.columns, bool(len(kept))).placed(tokens.layout)


def _parts(tokens: VisualTokens, scope: Scope, modality: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The tokens of each part that is reduced on its own, and the separators that are kept as they are."""
    everything = torch.arange(tokens.n)
    kept = everything[tokens.layout.separators] if scope.separators == "keep" else everything[:0]
    left = everything[~tokens.layout.separators] if len(kept) else everything
    if scope.video == "whole" or modality != "video":
        return [left], kept
    frames = tokens.layout.frames[left]
    return [left[frames == frame] for frame in frames.unique().tolist()], kept


def _ask(method: InputMethod, tokens: VisualTokens) -> Reduction:
    m = method.count(tokens.n, tokens.layout)
    reduction = Reduction.identity(tokens.n, tokens.x.device) if m == tokens.n else method.reduce(tokens)
    announced = (reduction.m if m is None else m, tokens.n)
    assert (reduction.m, reduction.n) == announced, f"{method.name} announced {m} tokens and returned {reduction}"
    return reduction


def _ordered(reduction: Reduction, columns: torch.Tensor, by_anchor: bool) -> Reduction:
    """Rows in an order in which the prompt can hold them.

    Args:
        reduction: of the tokens at `columns`.
        columns: (n,) of the placeholders; runs of them are apart where text stands between.
        by_anchor: whether separators must come between the tokens that they part.
    """
    anchors = reduction.anchors.to(columns.device)
    if by_anchor:
        key = anchors
    else:
        run = torch.cat([columns.new_zeros(1), (columns.diff() != 1).long().cumsum(0)])
        key = run[anchors]
    order = key.sort(stable=True).indices
    return reduction if bool((order.diff() > 0).all()) else reduction.reorder(order)
