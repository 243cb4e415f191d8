"""`transformers.pipeline("pinhole-image-text-to-text")`: transformers' own pipeline, on fewer visual tokens."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForImageTextToText
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.image_text_to_text import ImageTextToTextPipeline

from pinhole.compression import compress
from pinhole.evaluation.contender import parse_specs
from pinhole.families import family_of
from pinhole.plan import Methods

TASK = "pinhole-image-text-to-text"


class CompressedImageTextToTextPipeline(ImageTextToTextPipeline):
    """As transformers' pipeline, with four arguments more, both where it is made and where it is called.

    ```python
    pinhole.register_pipeline()
    pipe = pipeline("pinhole-image-text-to-text", model=name, method="sample:keep=0.1")
    pipe(text=chat, max_new_tokens=64, return_full_text=False)
    ```

    Args:
        method (Methods | str): what reduces images and videos: as for `pinhole.compress`, or as on the command line,
            such as "sample:keep=0.1" or "metacompress:FOLDER". None keeps every visual token. Weights are loaded where
            it is given: give a learned method where the pipeline is made, not at every call.
        positions (Positions | None): as in `pinhole.Scope`.
        video (str): as in `pinhole.Scope`.
        separators (str): as in `pinhole.Scope`.
    """

    def _sanitize_parameters(
        self,
        method: Methods | str = None,
        positions: Any = None,
        video: Any = None,
        separators: Any = None,
        **given: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before, forward, behind = super()._sanitize_parameters(**given)
        if isinstance(method, str):
            width = family_of(self.model).width
            method = [spec.build(width) for spec in parse_specs(method)]
        own = {"method": method, "positions": positions, "video": video, "separators": separators}
        return before, forward | {name: value for name, value in own.items() if value is not None}, behind

    def _forward(
        self, model_inputs: dict[str, Any], generate_kwargs: Any = None, method: Methods = None, **scope: Any
    ) -> Any:
        with compress(self.model, method, **scope):
            return super()._forward(model_inputs, generate_kwargs)


def register_pipeline() -> None:
    """Make the task "pinhole-image-text-to-text" known to `transformers.pipeline`, in this process."""
    if TASK in PIPELINE_REGISTRY.supported_tasks:
        return
    PIPELINE_REGISTRY.register_pipeline(
        TASK, CompressedImageTextToTextPipeline, AutoModelForImageTextToText, type="multimodal"
    )
    # Or `save_pretrained` would write this file beside the weights, and the folder could be read with remote code only.
    del CompressedImageTextToTextPipeline._registered_impl
