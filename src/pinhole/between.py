"""What a layer method sees of one image in front of a cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    row, cuts = unit.row, method.cuts(len(family.language_model.layers))
    mine = run.columns[row][run.is_real(run.columns)[row]]
    visual = torch.cat([other.columns for other in run.units if other.row == row])
    text = mine[~torch.isin(mine, visual)]
    view = _View(run, family, cut, cuts, unit, hidden, kwargs, mine, text, method.positions == "compact")
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
        keys=view.keys,
        attend=view.attend,
        norm=family.language_model.norm,
    )


@dataclass(frozen=True, eq=False)
class _View:
    """One image in front of a cut: as in `look`, and the columns of its row's tokens and of the text among them."""

    run: Pass
    family: Family
    cut: int
    cuts: tuple[int, ...]
    unit: Unit
    hidden: torch.Tensor
    kwargs: dict[str, Any]
    mine: torch.Tensor
    text: torch.Tensor
    is_compact: bool

    @property
    def places(self) -> torch.Tensor:
        """Where the row's tokens stand in `hidden`."""
        return self.run.places(self.unit.row, self.mine)

    def before(self) -> tuple[Call, torch.Tensor]:
        """The call of the layer in front of the cut, queries those of the row's tokens, and the columns of its keys."""
        row, call = self.unit.row, self.run.calls[self.cut]
        mine = replace(call, query=call.query[row : row + 1, :, self.places], key=call.key[row : row + 1])
        return mine, self.run.held(self.cut, self.cuts)[row]

    def ahead(self) -> tuple[Call, torch.Tensor]:
        """As `before`, of the layer behind the cut, if it were called now."""
        run, row = self.run, self.unit.row
        kept = run.state.get(self.cut)
        past = torch.arange(run.past, device=self.hidden.device) if kept is None else kept.all_columns(run.past)[row]
        is_numbered = self.is_compact and (run.is_cut or kept is not None)
        first = run.real_in(row, past).sum() if is_numbered else None
        call = _ahead(run, self.family, self.cut, row, self.places, self.hidden, self.kwargs, first)
        if not run.past:
            return call, self.mine
        key = torch.cat([self.kwargs["past_key_values"].layers[self.cut].keys[row : row + 1], call.key], 2)
        return replace(call, key=key), torch.cat([past, self.mine])

    def attend(self, which: torch.Tensor, is_ahead: bool) -> torch.Tensor:
        """As `LayerTokens.attend`."""
        call, held = self.ahead() if is_ahead else self.before()
        asking = self.text[which]
        visible = (held <= asking[:, None]) & self.run.real_in(self.unit.row, held)
        if call.window is not None:
            visible &= held > asking[:, None] - call.window
        asked = replace(call, query=call.query[:, :, _entries(self.mine, asking, self.run.length)])
        return asked.weights(visible)[0].mean(0)[:, _entries(held, self.unit.columns, self.run.length)]

    def keys(self) -> torch.Tensor:
        """As `LayerTokens.keys`."""
        call, held = self.before()
        wanted = torch.cat([self.unit.columns, self.text])
        return call.key[0].transpose(0, 1)[_entries(held, wanted, self.run.length)]


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
