"""What the contracts are checked against: contexts put together by hand, read in one pass without a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

import tiny
from pinhole.families import family_of
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


class _CaughtError(Exception):
    """The LLM was reached."""


def language_model(model) -> torch.nn.Module:
    return family_of(model).language_model


@torch.no_grad()
def heard(model, row: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the unmodified model hands to its LLM for one prompt."""
    caught: dict[str, Any] = {}

    def catch(module, args, kwargs):
        caught.update(kwargs)
        raise _CaughtError

    hook = language_model(model).register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model(**row)
    except _CaughtError:
        pass
    finally:
        hook.remove()
    return caught


@torch.no_grad()
def visual_tokens(model, row: dict[str, torch.Tensor]) -> VisualTokens:
    """The only image of a prompt."""
    [visual], _ = family_of(model).encode(row)
    return visual.tokens


def rows_of(inputs: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Each row of a batch of the tiny LLaVA as inputs of its own, without padding."""
    rows, taken = [], 0
    for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        kept = ids[mask.bool()]
        row = {"input_ids": kept[None], "attention_mask": torch.ones_like(kept)[None]}
        images = int((kept == tiny.IMAGE).sum()) // tiny.VISUAL
        if images:
            row["pixel_values"] = inputs["pixel_values"][taken : taken + images]
            taken += images
        rows.append(row)
    return rows


@dataclass
class Token:
    """One token of a context: its embedding, what deeper layers add, its position on each axis, its label.

    `unit` is the number of its image in the context, `turn` that of the prompt it came with; answers have no turn.
    """

    embedding: torch.Tensor
    position: tuple[int, ...]
    deeper: list[torch.Tensor] | None = None
    label: int = -100
    unit: int | None = None
    turn: int | None = None

    @property
    def visual(self) -> bool:
        return self.unit is not None


@dataclass
class Context:
    """One row, token by token."""

    model: torch.nn.Module
    positions_kept: str = "compact"
    tokens: list[Token] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)
    told: frozenset[str] = frozenset()
    turns: int = 0

    @torch.no_grad()
    def read(self, row: dict[str, torch.Tensor], method, labels: torch.Tensor | None = None, decide=None) -> Context:
        """Append a prompt's tokens, its images and videos reduced by `method`, or by `decide(visual)`."""
        told = heard(self.model, row)
        self.told = frozenset(told)
        length = row["input_ids"].shape[1]
        positions = told.get("position_ids")
        positions = torch.arange(length)[None] if positions is None else positions.reshape(-1, length)[-3:]
        if self.tokens:  # a turn of text has one axis, where images have three
            positions = positions.expand(len(self.tokens[0].position), -1)
        start = self.tokens[-1].position[-1] + 1 if self.tokens else 0
        visuals = family_of(self.model).encode(row, method.needs)[0] if family_of(self.model).has_pixels(row) else []
        kept = self._kept(told, visuals, decide or (lambda visual: by_hand(method, visual.tokens)))
        gone = {column for visual in visuals for column in visual.columns.tolist()}
        count = 0
        for column in range(length):
            here = kept.get(column, [])
            if column not in gone:
                label = -100 if labels is None else int(labels[column])
                here = [(Token(told["inputs_embeds"][0, column], (), label=label), column)]
            for token, anchor in here:
                axes = [count] * len(positions) if self.positions_kept == "compact" else positions[:, anchor].tolist()
                token.position = tuple(start + position for position in axes)
                token.turn = self.turns
                self.tokens.append(token)
                count += 1
        self.turns += 1
        return self

    def _kept(self, told: dict[str, Any], visuals: list, decide) -> dict[int, list[tuple[Token, int]]]:
        """The kept tokens and their anchors, by the column of the unbroken run that they go into."""
        places: dict[int, list[tuple[Token, int]]] = {}
        for visual in visuals:
            columns = visual.columns.tolist()
            x = told["inputs_embeds"][0, columns]
            assert torch.equal(x, visual.tokens.x.to(x))
            reduction = decide(visual)
            unit = len(self.reductions)
            self.reductions.append(reduction)
            anchors = [columns[anchor] for anchor in reduction.anchors.tolist()]
            for i, anchor in enumerate(anchors):
                run = anchor
                while run - 1 in columns:
                    run -= 1
                deeper = None
                if told.get("deepstack_visual_embeds") is not None:
                    before = int(told["visual_pos_masks"][0, : columns[0]].sum())
                    layers = [layer[before : before + len(columns)] for layer in told["deepstack_visual_embeds"]]
                    deeper = [weighted(reduction, layer)[i] for layer in layers]
                embedding = weighted(reduction, x)[i]
                if reduction.correction is not None:
                    embedding = embedding + reduction.correction[i].to(x.dtype)
                token = Token(embedding, (), deeper, unit=unit)
                places.setdefault(run, []).append((token, anchor))
        return places

    def say(self, token: int) -> None:
        """Append one text token, at the next position."""
        place = (self.tokens[-1].position[-1] + 1,) * len(self.tokens[-1].position)
        self.tokens.append(Token(self.model.get_input_embeddings()(torch.tensor(token)), place))

    @property
    def positions(self) -> list[int]:
        return [token.position[-1] for token in self.tokens]

    @property
    def labels(self) -> list[int]:
        return [token.label for token in self.tokens]

    @torch.no_grad()
    def logits(self) -> torch.Tensor:
        """(L, vocabulary), in one pass."""
        length = len(self.tokens)
        positions = torch.tensor([token.position for token in self.tokens]).T
        more: dict[str, Any] = {}
        if any(token.deeper for token in self.tokens):
            more["visual_pos_masks"] = torch.tensor([[token.visual for token in self.tokens]])
            layers = zip(*(token.deeper for token in self.tokens if token.visual), strict=True)
            more["deepstack_visual_embeds"] = [torch.stack(layer) for layer in layers]
        if "image_mask" in self.told:
            more["image_mask"] = torch.tensor([[token.visual for token in self.tokens]])
        reader = language_model(self.model)
        for name in family_of(self.model).token_inputs:  # the model itself makes masks of them
            reader, more[name] = self.model.base_model, torch.tensor([[int(token.visual) for token in self.tokens]])
        hidden = reader(
            inputs_embeds=torch.stack([token.embedding for token in self.tokens])[None],
            attention_mask=torch.ones(1, length, dtype=torch.long),
            position_ids=positions[:, None] if len(positions) > 1 else positions,
            use_cache=False,
            **more,
        ).last_hidden_state
        return self.model.lm_head(hidden)[0]


def by_hand(method, tokens: VisualTokens) -> Reduction:
    """The method's answer, or everything where everything remains."""
    return Reduction.identity(tokens.n) if method.count(tokens.n, tokens.layout) == tokens.n else method.reduce(tokens)


def weighted(reduction: Reduction, x: torch.Tensor) -> list[torch.Tensor]:
    """Each kept token as an explicit sum over all tokens; a selection's sums have one term."""
    if reduction.weights is None:
        return [x[index] for index in reduction.anchors.tolist()]
    rows = reduction.matrix().detach().to(x.dtype).tolist()
    return [sum((w * token for w, token in zip(row, x, strict=True) if w), torch.zeros_like(x[0])) for row in rows]
