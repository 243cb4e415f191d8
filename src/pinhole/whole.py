"""Whole: a batch of dialogues before anything is left out, for methods that decide anew at every turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pinhole.context import Context
from pinhole.families.base import Family
from pinhole.families.first_layer import of_prompt, with_prompt_cues
from pinhole.families.parts import Visual
from pinhole.method import InputMethod
from pinhole.scope import Scope
from pinhole.shrink import Shrunk, shrink


@dataclass(frozen=True, eq=False)
class Whole:
    """What B dialogues have read and said, with a placeholder for every visual token.

    Attributes:
        context: all tokens.
        visuals: all images and videos as encoded, at the columns of their placeholders in it.
    """

    context: Context
    visuals: tuple[Visual, ...] = ()

    def read(self, family: Family, inputs: dict[str, Any], method: InputMethod) -> Whole:
        """This and the next turn, its images and videos encoded, with the cues of its question for all of them.

        Args:
            family: of the model.
            inputs: of the turn, with position ids.
            method: that will decide.
        """
        start = self.context.length
        new = family.encode(inputs, method.needs - of_prompt(method.needs))[0] if family.has_pixels(inputs) else []
        placed = (*self.visuals, *(replace(visual, columns=visual.columns + start) for visual in new))
        context = self.context.append(Context.of(inputs, family.token_inputs))
        visuals = sorted(placed, key=lambda visual: (visual.row, int(visual.columns[0])))
        visuals = with_prompt_cues(family, context.inputs(), visuals, method.needs, start)
        return Whole(context, tuple(visuals))

    def shrunk(self, family: Family, method: InputMethod, scope: Scope) -> Shrunk:
        """Everything, as the LLM will read it: what `method` decides now."""
        return shrink(family, self.context.inputs(), method, scope, list(self.visuals))
