"""What a layer method sees of one image in front of a cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from pinhole.families.base import Family
from pinhole.families.cues import Call, watched
from pinhole.layer_method import LayerMethod, LayerTokens

if TYPE_CHECKING:
    from pinhole.forward_pass import Pass, Unit


class _Seen(Exception):  # noqa: N818 - not an error: it ends a layer whose rest is not needed
    """Carries the `Call`."""


def look(
    run: Pass, family: Family, method: LayerMethod, cut: int, unit: Unit, hidden: torch.Tensor, kwargs: dict[str, Any]
) -> LayerTokens:
    """The tokens of `unit` and of its row's text; attention and keys are computed when they are asked for.

    Args:
        run: the pass.
        family: of the model.
        method: that will look.
        cut: the layer in front of which it looks.
        unit: one image.
        hidden: (B, q, d) what the layer would be given.
        kwargs: the layer's other arguments.
    """
    row = unit.row
    mine = run.columns[row][run.is_real(run.columns)[row]]
    visual = torch.cat([other.columns for other in run.units if other.row == row])
    text = mine[~torch.isin(mine, visual)]
    places = run.places(row, mine)
    of_column = torch.zeros(run.length, dtype=torch.long, device=hidden.device)
    of_column[mine] = torch.arange(len(mine), device=hidden.device)
    cuts = method.cuts(len(family.language_model.layers))

    def before() -> tuple[Call, torch.Tensor]:
        call, held = run.calls[cut], run.held(cut, cuts)[row]
        return replace(call, query=call.query[row : row + 1, :, places], key=call.key[row : row + 1]), held

    def ahead() -> tuple[Call, torch.Tensor]:
        kept = run.state.get(cut)
        earlier = torch.arange(run.past, device=hidden.device) if kept is None else kept.all_columns(run.past)[row]
        first = None
        if method.positions == "compact" and (run.is_cut or kept is not None):
            first = run.real_in(row, earlier).sum()
        call = _ahead(run, family, cut, row, places, hidden, kwargs, first)
        if not run.past:
            return call, mine
        key = torch.cat([kwargs["past_key_values"].layers[cut].keys[row : row + 1], call.key], 2)
        return replace(call, key=key), torch.cat([earlier, mine])

    def attend(which: torch.Tensor, is_ahead: bool) -> torch.Tensor:
        call, held = ahead() if is_ahead else before()
        asking = torch.cat([text, unit.columns])[which]
        visible = (held <= asking[:, None]) & run.real_in(row, held)
        if call.window is not None:
            visible &= held > asking[:, None] - call.window
        weights = replace(call, query=call.query[:, :, of_column[asking]]).weights(visible)[0].mean(0)
        return weights[:, _entries(held, unit.columns, run.length)]

    def keys() -> torch.Tensor:
        call, held = before()
        return call.key[0].transpose(0, 1)[_entries(held, torch.cat([unit.columns, text]), run.length)]

    assert run.first is not None
    return LayerTokens(
        layer=cut,
        cut=cuts.index(cut),
        before=unit.before,
        hidden=hidden[row, run.places(row, unit.columns)],
        text=hidden[row, run.places(row, text)],
        first=run.first[row, unit.started - run.past],
        first_text=run.first[row, text - run.past],
        behind=text > unit.started[-1],
        keys=keys,
        attend=attend,
        norm=family.language_model.norm,
    )


def _entries(held: torch.Tensor, columns: torch.Tensor, length: int) -> torch.Tensor:
    """Which of a cache's entries, which hold the columns `held`, are `columns`."""
    entries = torch.zeros(length, dtype=torch.long, device=held.device)
    real = held >= 0
    entries[held[real]] = real.nonzero()[:, 0]
    return entries[columns]


def _ahead(
    run: Pass,
    family: Family,
    cut: int,
    row: int,
    places: torch.Tensor,
    hidden: torch.Tensor,
    kwargs: dict[str, Any],
    first: torch.Tensor | None,
) -> Call:
    """What the layer behind the cut would give to its attention for one row, without padding and without the past.

    Args:
        run, family, cut, row, hidden, kwargs: as in `look`.
        places: (k,) of the row's tokens in `hidden`.
        first: where tokens are numbered anew, the number of the first of these; None leaves positions as they were.
    """

    def stop(call: Call) -> NoReturn:
        raise _Seen(call)

    layer = family.language_model.layers[cut]
    if first is None:
        embeddings = tuple(
            values[..., row : row + 1, places, :] for values in run.gathered(kwargs["position_embeddings"])
        )
    else:
        embeddings = family.rotary(hidden, first + torch.arange(len(places), device=hidden.device)[None])
    arguments = {
        **kwargs,
        **family.cut_inputs(kwargs, run.flat[row : row + 1, places], run.total),
        "attention_mask": None,
        "past_key_values": None,
        "position_ids": None,
        "position_embeddings": embeddings,
    }
    try:
        with watched(layer.self_attn, stop):
            layer.forward(hidden[row : row + 1, places], **arguments)
    except _Seen as seen:
        return seen.args[0]
    raise AssertionError(f"layer {cut} called no attention function")
