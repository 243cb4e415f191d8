"""What a method decides for one picture."""

from __future__ import annotations

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.decide import decide
from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.transcript import Transcript


@torch.no_grad()
def look(
    model: PreTrainedModel, processor: ProcessorMixin, method: InputMethod, image: Image.Image
) -> tuple[Reduction, tuple[int, int] | None]:
    """The reduction of `image` and the (rows, columns) of its visual tokens, None where they fill no grid.

    Args:
        model: encodes the image.
        processor: its own.
        method: decides; it must not read the prompt.
        image: RGB.
    """
    text = Transcript(processor).question("?", images=1)
    [encoded], _ = family_of(model).encode(encode_turn(model, processor, [text], [image]), method.needs)
    return decide(method, encoded, Scope()), encoded.tokens.grid
