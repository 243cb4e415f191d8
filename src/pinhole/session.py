"""Session: the growing context of a batch of dialogues, each image and video encoded and reduced once."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Unpack

import torch
from transformers import DynamicCache, PreTrainedModel

from pinhole.context import Context
from pinhole.cutting import Cutting
from pinhole.decide import check_plan, check_scope
from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.kept import lengths_of, set_state, state_of
from pinhole.last_logits import last_logits
from pinhole.plan import Methods, Plan
from pinhole.reduction import Reduction
from pinhole.scope import Scope, ScopeOptions
from pinhole.shrink import shrink
from pinhole.whole import Whole


class Session:
    """Context and KV cache of B dialogues. Each turn prefills its own tokens only, unless the method decides anew.

    All state is here: dialogues on one model never meet.

    Args:
        model: a loaded LVLM of a supported family.
        method: what reduces images and videos, as for `pinhole.compress`; None keeps every visual token.
        scope: `positions`, `video` and `separators`, as `pinhole.Scope` explains them.

    Attributes:
        context: everything read and said.
        reductions: what was decided for each image and video so far, in order.
    """

    def __init__(self, model: PreTrainedModel, method: Methods = None, **scope: Unpack[ScopeOptions]) -> None:
        self._family = family_of(model)
        plan = Plan.of(method)
        self._method = plan.entry
        self._cutting = Cutting(self._family, plan.layer) if plan.layer else None
        check_plan(plan, self._family)
        if isinstance(self._method, torch.nn.Module):
            self._method.to(input_device(model))
        self._model, self._scope = model, Scope(**scope)
        check_scope(self._scope, self._family)
        self._cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        self.context = Context.empty(input_device(model))
        self._whole = Whole(self.context) if self._method.turns == "each" else None
        self.reductions: list[Reduction] = []
        self._asked = 0

    @torch.no_grad()
    def ask(self, inputs: dict[str, Any], **generate: Any) -> torch.Tensor:
        """Read the next turn and answer it.

        Args:
            inputs: the processor's output for the turn's own text, images and videos, padded on the left.
            generate: passed to `model.generate`.

        Returns:
            (B, T) the answers' token ids; after a row's end-of-sequence token, padding.

        A turn that fails leaves the session as it was before.
        """
        before = self.context, self._whole, self.reductions, self._asked, self._cache
        cached, state = self._cache.get_seq_length(), state_of(self._cache)
        try:
            return self._ask(dict(inputs), generate)
        except BaseException:
            self.context, self._whole, self.reductions, self._asked, self._cache = before
            set_state(self._cache, state, self._cutting)
            self._rewind(cached)
            raise

    def _ask(self, inputs: dict[str, Any], generate: dict[str, Any]) -> torch.Tensor:
        for name in ("num_beams", "num_return_sequences"):
            if generate.setdefault(name, 1) != 1:
                raise ValueError(f"a dialogue has one continuation: {name} is 1 here, got {generate[name]}")
        held = len(self.context.input_ids)
        if self._asked and len(inputs["input_ids"]) != held:
            raise ValueError(f"this session holds {held} dialogue(s), got {len(inputs['input_ids'])}")
        if generate.get("stop_strings") and len(inputs["input_ids"]) > 1:
            raise ValueError("stop strings end one dialogue at a time: give a batch an eos_token_id")
        mask = inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        inputs["position_ids"] = self._family.full_positions(inputs, mask)
        inputs = self._reduced(inputs)
        self._asked = self.context.length
        features = inputs.get("mm_encoder_outputs")
        if features and not self._cutting:
            features = self._family.ready(features)
        with self._cutting.reading() if self._cutting else contextlib.nullcontext():
            ids = self._model.generate(
                past_key_values=self._cache,
                **self.context.inputs(),
                **(last_logits(self._model) | self._without_placeholders(generate)),
                **({"mm_encoder_outputs": features} if features else {}),
            )
        ids = ids if isinstance(ids, torch.Tensor) else ids.sequences
        answer = ids[:, self._asked :]
        said = self._until_end(answer, generate.get("eos_token_id", self._model.generation_config.eos_token_id))
        heard = Context(answer, said, (said.cumsum(-1) - 1).clamp_min(0))
        self.context = self.context.append(heard)
        if self._whole:
            self._whole = replace(self._whole, context=self._whole.context.append(heard))
        return answer

    def _reduced(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The turn with fewer visual tokens; the context holds it then. May start the context and its cache anew."""
        if self._whole:
            self._whole = self._whole.read(self._family, inputs, self._method)
            shrunk = self._whole.shrunk(self._family, self._method, self._scope)
            self.reductions, inputs = shrunk.reductions, shrunk.inputs
            self._cache = DynamicCache(config=self._model.config.get_text_config(decoder=True))
            self.context = Context.empty(inputs["input_ids"].device)
        elif self._family.has_pixels(inputs):
            shrunk = shrink(self._family, inputs, self._method, self._scope)
            self.reductions, inputs = self.reductions + shrunk.reductions, shrunk.inputs
        self.context = self.context.append(Context.of(inputs, self._family.token_inputs))
        return inputs

    def retract(self) -> None:
        """Forget the latest answer, so that another (say the reference) can take its place in the next turn's text."""
        self._rewind(self._asked)
        if self._whole:
            answered = self.context.length - self._asked
            self._whole = replace(self._whole, context=self._whole.context.cut(self._whole.context.length - answered))
        self.context = self.context.cut(self._asked)

    def _rewind(self, length: int) -> None:
        """Cut the cache to `length` tokens, layer by layer: a pass that failed half-way fed only some of them."""
        lengths = lengths_of(self._cache, len(self._cache.layers), length)
        for layer, kept in zip(self._cache.layers, lengths, strict=True):
            if (surplus := layer.get_seq_length() - kept) > 0:
                try:
                    layer.crop(-surplus)
                except RuntimeError as error:
                    raise ValueError(
                        "this model's layers have a sliding window and forgot what came before: nothing can be taken "
                        "back any more, start the conversation anew"
                    ) from error

    def _until_end(self, answer: torch.Tensor, ends: int | list[int] | None) -> torch.Tensor:
        """(B, T) one up to and including each row's first end-of-sequence token."""
        if ends is None:
            return torch.ones_like(answer)
        is_end = torch.isin(answer, torch.tensor(ends, device=answer.device))
        return (is_end.long().cumsum(-1) - is_end.long() == 0).long()

    def _without_placeholders(self, generate: dict[str, Any]) -> dict[str, Any]:
        """An answer with a placeholder in it would spoil every later turn: never generate one."""
        banned = {self._family.token_id(modality) for modality in self._family.modalities}
        banned |= {*(self._model.generation_config.suppress_tokens or ()), *(generate.get("suppress_tokens") or ())}
        return {**generate, "suppress_tokens": sorted(banned)}
