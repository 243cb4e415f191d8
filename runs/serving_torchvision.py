"""Lets `import torchvision`, built for CUDA, succeed beside a torch without CUDA: for tests on machines without a GPU.

Every process of an environment loads this at its start. torchvision describes two of its operators to torch while it is
imported, and fails where their compiled half could not be loaded; declared before, they can be described. They cannot
be run, and what vLLM and transformers use of torchvision does not.
"""

from __future__ import annotations

import sys
from typing import Any

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
declared: list[Any] = []
"""Holds the declaration: it ends with the object."""


class BeforeTorchvision:
    """Finds no module: when torchvision is looked for it declares the operators, once."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Called by Python for each import."""
        if name != "torchvision":
            return
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        import torch

        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                library.define(operator)
            declared.append(library)


sys.meta_path.insert(0, BeforeTorchvision())  # type: ignore[arg-type]
