"""Session: the growing context of a batch of dialogues, each image encoded and reduced once."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from pinhole.families import family_of
from pinhole.families.base import Positions
from pinhole.method import InputMethod
from pinhole.methods.full import Full
from pinhole.reduction import Reduction
from pinhole.shrink import check, shrink


class Session:
    """Ids, mask, positions and KV cache of B dialogues. Each turn prefills its own tokens only.

    All state is here: dialogues on one model never meet.

    Attributes:
        input_ids: (B, L) everything read and said, with the reduced images' placeholders.
        attention_mask: (B, L) zero where a row has nothing.
        position_ids: (B, L).
        reductions: what was decided for each image so far, in order.
    """

    def __init__(
        self, model: PreTrainedModel, method: InputMethod | None = None, positions: Positions | None = None
    ) -> None:
        self._family = family_of(model)
        self._method = method or Full()
        check(self._method, self._family)
        if isinstance(self._method, torch.nn.Module):
            self._method.to(model.device)
        self._model, self._positions = model, positions
        self._cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        empty = torch.zeros(0, 0, dtype=torch.long, device=model.device)
        self.input_ids = self.attention_mask = self.position_ids = empty
        self.reductions: list[Reduction] = []
        self._asked = 0

    @torch.no_grad()
    def ask(self, inputs: dict[str, Any], **generate: Any) -> torch.Tensor:
        """Read the next turn and answer it.

        Args:
            inputs: the processor's output for the turn's own text and images, padded on the left.
            generate: passed to `model.generate`.

        Returns:
            (B, T) the answers' token ids; after a row's end-of-sequence token, padding.

        A turn that fails leaves the session as it was before.
        """
        ids, mask, positions = self.input_ids, self.attention_mask, self.position_ids
        reductions, asked, cached = self.reductions, self._asked, self._cache.get_seq_length()
        try:
            return self._ask(dict(inputs), generate)
        except BaseException:
            self.input_ids, self.attention_mask, self.position_ids = ids, mask, positions
            self.reductions, self._asked = reductions, asked
            self._rewind(cached)
            raise

    def _ask(self, inputs: dict[str, Any], generate: dict[str, Any]) -> torch.Tensor:
        for name in ("num_beams", "num_return_sequences"):
            if generate.setdefault(name, 1) != 1:
                raise ValueError(f"a dialogue has one continuation: {name} is 1 here, got {generate[name]}")
        if self._asked and len(inputs["input_ids"]) != len(self.input_ids):
            raise ValueError(f"this session holds {len(self.input_ids)} dialogue(s), got {len(inputs['input_ids'])}")
        mask = inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp_min(0)
        if self._family.has_pixels(inputs):
            shrunk = shrink(self._family, inputs, self._method, self._positions)
            self.reductions = self.reductions + shrunk.reductions
            inputs = shrunk.inputs
        self._append(inputs["input_ids"], inputs["attention_mask"], inputs["position_ids"])
        self._asked = self.input_ids.shape[1]
        extra = {"mm_encoder_outputs": inputs["mm_encoder_outputs"]} if "mm_encoder_outputs" in inputs else {}
        ids = self._model.generate(
            input_ids=self.input_ids,
            attention_mask=self.attention_mask,
            position_ids=self.position_ids,
            past_key_values=self._cache,
            **self._without_image_tokens(generate),
            **extra,
        )
        ids = ids if isinstance(ids, torch.Tensor) else ids.sequences
        answer = ids[:, self._asked :]
        said = self._until_end(answer, generate.get("eos_token_id", self._model.generation_config.eos_token_id))
        self._append(answer, said, (said.cumsum(-1) - 1).clamp_min(0))
        return answer

    def retract(self) -> None:
        """Forget the latest answer, so that another (say the reference) can take its place in the next turn's text."""
        self._rewind(self._asked)
        self.input_ids = self.input_ids[:, : self._asked]
        self.attention_mask = self.attention_mask[:, : self._asked]
        self.position_ids = self.position_ids[:, : self._asked]

    def _rewind(self, length: int) -> None:
        """Cut the cache to `length` tokens, layer by layer: a pass that failed half-way fed only some of them."""
        for layer in self._cache.layers:
            if (surplus := layer.get_seq_length() - length) > 0:
                layer.crop(-surplus)

    def _append(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> None:
        if self.input_ids.numel():
            columns = torch.arange(1, self.attention_mask.shape[1] + 1, device=ids.device)
            last = (self.attention_mask * columns).argmax(-1, keepdim=True)
            positions = positions + self.position_ids.gather(1, last) + 1
            ids = torch.cat([self.input_ids, ids], 1)
            mask = torch.cat([self.attention_mask, mask], 1)
            positions = torch.cat([self.position_ids, positions], 1)
        self.input_ids, self.attention_mask, self.position_ids = ids, mask, positions

    def _until_end(self, answer: torch.Tensor, ends: int | list[int] | None) -> torch.Tensor:
        """(B, T) one up to and including each row's first end-of-sequence token."""
        if ends is None:
            return torch.ones_like(answer)
        is_end = torch.isin(answer, torch.tensor(ends, device=answer.device))
        return (is_end.long().cumsum(-1) - is_end.long() == 0).long()

    def _without_image_tokens(self, generate: dict[str, Any]) -> dict[str, Any]:
        """An answer with an image's placeholder in it would spoil every later turn: never generate one."""
        banned = {self._family.image_token_id, *(self._model.generation_config.suppress_tokens or ())}
        return {**generate, "suppress_tokens": sorted(banned | set(generate.get("suppress_tokens") or ()))}
