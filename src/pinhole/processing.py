"""Loads the processor of a checkpoint; without torchvision, one that reads images and refuses videos."""

from __future__ import annotations

from typing import Any, NoReturn

from transformers import (
    PROCESSOR_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin


def load_processor(name: str) -> ProcessorMixin:
    """A checkpoint's own processor.

    transformers' video processors need torchvision, and a processor that has one cannot be built without it, not even
    to read images. Then its other parts are put together here; asking it about a video is an error that says so.

    Args:
        name: a checkpoint folder or a hub name.

    Raises:
        OSError, ValueError: nothing there that can be loaded.
        ImportError: a processor that needs torchvision for images too.
    """
    if is_torchvision_available():
        return AutoProcessor.from_pretrained(name, trust_remote_code=False)
    try:
        kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(name, trust_remote_code=False))]
        if "video_processor" not in kind.get_attributes():
            return AutoProcessor.from_pretrained(name, trust_remote_code=False)
        parts = [_load_part(part, name) for part in kind.get_attributes()]
        settings, _ = kind.get_processor_dict(name)
        return _for_images(kind).from_args_and_dict(parts, settings)
    except (ImportError, ValueError) as error:
        if "torchvision" not in str(error).lower():
            raise
        raise ImportError(
            f"the processor of {name} needs torchvision, for images too: pip install 'pinhole-vlm[video]'"
        ) from error


def _load_part(part: str, name: str) -> Any:
    if part == "video_processor":
        return NoVideos()
    loaders = {"image_processor": AutoImageProcessor, "tokenizer": AutoTokenizer}
    return loaders[part].from_pretrained(name, trust_remote_code=False)


class NoVideos(VideoProcessorMixin):
    """Stands where a processor expects its video processor."""

    num_frames = fps = None  # templates' defaults that some processors look up for every prompt

    def __call__(self, videos: Any, **settings: Any) -> NoReturn:
        """Refuse.

        Raises:
            ImportError: always; it says what to install.
        """
        raise ImportError("reading videos with this model needs torchvision: pip install 'pinhole-vlm[video]'")


def _for_images(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """`kind` as it is, but that it takes a `NoVideos` and leaves it out of what it saves."""

    class ForImages(kind):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if isinstance(argument, NoVideos):
                return NoVideos
            return super().check_argument_for_proper_class(argument_name, argument)

        def to_dict(self) -> dict[str, Any]:
            return {name: value for name, value in super().to_dict().items() if name != "video_processor"}

    ForImages.__name__ = ForImages.__qualname__ = kind.__name__
    return ForImages
