"""What the contracts are checked against: contexts put together by hand, read in one pass without a cache."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

import tiny
from pinhole.layout import Layout, View
from pinhole.visual import VisualTokens

SIDE = tiny.SIDE // tiny.PATCH


@torch.no_grad()
def visual_tokens(model, pixels: torch.Tensor) -> VisualTokens:
    """One image (3, H, W), encoded on its own."""
    x = model.model.get_image_features(pixel_values=pixels[None], return_dict=True).pooler_output[0]
    return VisualTokens(x, Layout.of(View(SIDE, SIDE)), pixels)


def rows_of(inputs: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Each row of a batch as inputs of its own, without padding."""
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
class Context:
    """One row, token by token: what is embedded and at which position."""

    model: torch.nn.Module
    positions_kept: str = "compact"
    embeddings: list[torch.Tensor] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def read(self, row: dict[str, torch.Tensor], method, labels: torch.Tensor | None = None) -> Context:
        """Append a row's tokens, its images reduced by `method`."""
        ids = row["input_ids"][0].tolist()
        start = self.positions[-1] + 1 if self.positions else 0
        pixels = iter(row.get("pixel_values", ()))
        column = position = 0
        while column < len(ids):
            if ids[column] == tiny.IMAGE:
                image = visual_tokens(self.model, next(pixels))
                reduction = method.reduce(image)
                self.embeddings += list(reduction.apply(image.x))
                for anchor in reduction.anchors.tolist():
                    self.positions.append(start + (column + anchor if self.positions_kept == "original" else position))
                    self.labels.append(-100)
                    position += 1
                column += image.n
            else:
                self.say(ids[column], start + (column if self.positions_kept == "original" else position))
                self.labels[-1] = -100 if labels is None else int(labels[column])
                position += 1
                column += 1
        return self

    def say(self, token: int, position: int | None = None) -> None:
        """Append one text token, at the next position unless told."""
        self.embeddings.append(self.model.get_input_embeddings()(torch.tensor(token)))
        self.positions.append(self.positions[-1] + 1 if position is None else position)
        self.labels.append(-100)

    def logits(self) -> torch.Tensor:
        """(L, vocabulary), in one pass."""
        x = torch.stack(self.embeddings)[None]
        mask = torch.ones(1, len(self.positions), dtype=torch.long)
        hidden = self.model.model.language_model(
            inputs_embeds=x, attention_mask=mask, position_ids=torch.tensor([self.positions]), use_cache=False
        ).last_hidden_state
        return self.model.lm_head(hidden)[0]
