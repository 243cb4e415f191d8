"""Pass: one forward pass of a model from whose layers visual tokens leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from pinhole.between import look
from pinhole.families.base import Family
from pinhole.families.cues import Call
from pinhole.kept import Kept, State, state_of
from pinhole.layer_method import LayerMethod
from pinhole.reduction import Reduction


@dataclass(frozen=True, eq=False)
class Unit:
    """One image or video that is new in this pass.

    Attributes:
        row: of the batch.
        columns: (n,) of its tokens that are alive.
        before: how many there were at the LLM's input.
        started: (before,) columns of these.
    """

    row: int
    columns: torch.Tensor
    started: torch.Tensor

    @property
    def before(self) -> int:
        """How many tokens it had at the LLM's input."""
        return len(self.started)


@dataclass(eq=False)
class Pass:
    """Columns are those of the whole context, counted as the first layer does.

    Attributes:
        valid: (B, L) which columns are real tokens.
        past: columns that the cache held before.
        units: the images that are new.
        columns: (B, q) columns of this pass's tokens that are alive, -1 for none.
        state: what the layers behind each cut hold.
        is_cut: whether tokens left in this pass.
        local: (B, q) where these tokens were in the first layer's input of this pass, -1 for none.
        first: (B, L - past, d) what the first layer was given.
        calls: of the attention in the layer in front of each cut.
        masks: of the layers behind each cut, made once.
        embeddings: as `masks`, rotary embeddings.
    """

    valid: torch.Tensor
    past: int
    units: list[Unit]
    columns: torch.Tensor
    state: State
    is_cut: bool = False
    first: torch.Tensor | None = None
    calls: dict[int, Call] = field(default_factory=dict)
    masks: dict[int, torch.Tensor] = field(default_factory=dict)
    embeddings: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, family: Family, inputs: dict[str, Any]) -> Pass | None:
        """What `forward` is about to read; None where nothing is or was cut."""
        cache, ids = inputs.get("past_key_values"), inputs.get("input_ids")
        state = {} if cache is None else state_of(cache)
        outputs = inputs.get("mm_encoder_outputs") or {}
        if ids is None or not (outputs or state):
            return None
        past = 0 if cache is None else cache.get_seq_length()
        length = past + ids.shape[1]
        units = []
        for modality, output in outputs.items():
            where = (ids == family.token_id(modality)).nonzero()
            for places in where.split([len(x) for x in output.pooler_output]):
                units.append(Unit(int(places[0, 0]), places[:, 1] + past, places[:, 1] + past))
        mask = inputs.get("attention_mask")
        every = torch.ones(len(ids), length, dtype=torch.bool, device=ids.device)
        columns = torch.arange(past, length, device=ids.device).expand(len(ids), -1)
        return cls(every if mask is None else mask[:, :length].bool(), past, units, columns, state)

    @property
    def length(self) -> int:
        """Columns of the context after this pass."""
        return self.valid.shape[1]

    @property
    def local(self) -> torch.Tensor:
        """(B, q): where the tokens that are alive were in the first layer's input, -1 for none."""
        return torch.where(self.columns < 0, -1, self.columns - self.past)

    @property
    def total(self) -> int:
        """Tokens of this pass in the whole batch, before any left."""
        return len(self.valid) * (self.length - self.past)

    @property
    def flat(self) -> torch.Tensor:
        """(B, q): as `local`, counted through the whole batch."""
        rows = torch.arange(len(self.columns), device=self.columns.device)[:, None] * (self.length - self.past)
        return torch.where(self.columns < 0, -1, self.local + rows)

    def is_real(self, columns: torch.Tensor) -> torch.Tensor:
        """(B, k): whether columns are real tokens."""
        return self.valid.gather(1, columns.clamp_min(0)) & (columns >= 0)

    def real_in(self, row: int, columns: torch.Tensor) -> torch.Tensor:
        """(k,): whether columns are real tokens in one row."""
        return self.valid[row][columns.clamp_min(0)] & (columns >= 0)

    def held(self, cut: int, cuts: tuple[int, ...]) -> torch.Tensor:
        """(B, k): columns of the keys in the layer in front of `cut`."""
        earlier = [layer for layer in cuts if layer < cut]
        if earlier and earlier[-1] in self.state:
            return self.state[earlier[-1]].all_columns(self.length)
        return torch.arange(self.length, device=self.valid.device).expand(len(self.valid), -1)

    def gathered(self, embeddings: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotary embeddings (..., B or 1, L - past, width) of the tokens that are alive."""
        index = self.local.clamp_min(0)[..., None]

        def of_alive(values: torch.Tensor) -> torch.Tensor:
            values = values.expand(*values.shape[:-3], len(index), *values.shape[-2:])
            return values.gather(-2, index.expand(*values.shape[:-3], *index.shape[:-1], values.shape[-1]))

        return of_alive(embeddings[0]), of_alive(embeddings[1])

    def spread(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, q, d) of the tokens that are alive to (B, L - past, d), zeros elsewhere."""
        size = self.length - self.past
        index = torch.where(self.columns < 0, size, self.columns - self.past)[..., None].expand(hidden.shape)
        return hidden.new_zeros(len(hidden), size + 1, hidden.shape[-1]).scatter(1, index, hidden)[:, :size]

    def cut(
        self, family: Family, method: LayerMethod, cut: int, hidden: torch.Tensor, kwargs: dict[str, Any]
    ) -> tuple[torch.Tensor, list[Reduction]]:
        """Ask the method about every new image, and let the tokens go that it does not keep.

        Returns:
            the hidden states (B, q', d) that go on, and what was decided.
        """
        reductions = []
        number = method.cuts(len(family.language_model.layers)).index(cut)
        alive = [self.columns[row][self.is_real(self.columns)[row]] for row in range(len(hidden))]
        states = [hidden[row, self.places(row, columns)] for row, columns in enumerate(alive)]
        units = []
        for unit in self.units:
            m, n = method.count(number, unit.before), len(unit.columns)
            if m == n:
                reduction = Reduction.identity(n, hidden.device)
            else:
                reduction = method.reduce(look(self, family, method, cut, unit, hidden, kwargs))
            assert (reduction.m, reduction.n) == (m, n), f"{method.name} announced {m} tokens and returned {reduction}"
            reductions.append(reduction)
            anchors = unit.columns[reduction.anchors]
            kept = reduction.apply(hidden[unit.row, self.places(unit.row, unit.columns)])
            stay = ~torch.isin(alive[unit.row], unit.columns)
            columns = torch.cat([alive[unit.row][stay], anchors])
            order = columns.argsort()
            alive[unit.row] = columns[order]
            states[unit.row] = torch.cat([states[unit.row][stay], kept])[order]
            units.append(Unit(unit.row, anchors.sort().values, unit.started))
        is_whole = all(reduction.m == reduction.n for reduction in reductions)
        if is_whole and not self.is_cut and cut not in self.state:
            return hidden, reductions
        if not all(map(len, alive)):
            raise ValueError(f"{method.name} leaves nothing of a prompt that is an image alone: put words with it")
        self._hold(cut, alive)
        self.units, self.is_cut = units, True
        padded = hidden.new_zeros(*self.columns.shape, hidden.shape[-1])
        for row, state in enumerate(states):
            padded[row, self.columns[row] >= 0] = state
        return padded, reductions

    def places(self, row: int, columns: torch.Tensor) -> torch.Tensor:
        """Where tokens stand in this pass's hidden states."""
        places = torch.zeros(self.length, dtype=torch.long, device=columns.device)
        mine = self.columns[row]
        places[mine[mine >= 0]] = (mine >= 0).nonzero()[:, 0]
        return places[columns]

    def _hold(self, cut: int, alive: list[torch.Tensor]) -> None:
        """Note the tokens that go on: the pass's own, and what the layers behind the cut hold then."""
        size = max(map(len, alive))
        columns = torch.full((len(alive), size), -1, device=self.valid.device)
        padded_left = bool(self.valid[:, -1].all())
        for row, mine in enumerate(alive):
            columns[row, slice(size - len(mine), None) if padded_left else slice(0, len(mine))] = mine
        old = self.state.get(cut)
        earlier = torch.arange(self.past, device=columns.device).expand(len(columns), -1)
        even = all(len(mine) == size for mine in alive) and (old is None or old.even)
        kept = torch.cat([earlier if old is None else old.all_columns(self.past), columns], 1)
        self.state = {**self.state, cut: Kept(kept, self.length, even)}
        self.columns = columns
