"""What a served model is asked for: a method, and how many visual tokens it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from transformers import PretrainedConfig

from pinhole.budget import Keep, check_keep
from pinhole.serving import MODELS

KEY = "pinhole"
"""Where a model's configuration holds the settings, and what the multimodal hash calls them."""


@dataclass(frozen=True)
class Settings:
    """What `--hf-overrides` carries to each of vLLM's processes.

    Attributes:
        method: as on the command line, such as "sample" or "metacompress:FOLDER".
        keep: share or count of visual tokens that remain; None leaves it to the method.
    """

    method: str
    keep: Keep | None = None

    @classmethod
    def of(cls, config: PretrainedConfig) -> Self:
        """The settings in a model's configuration.

        Raises:
            ValueError: there are none, or others than these.
        """
        given = getattr(config, KEY, None)
        if not isinstance(given, dict) or not isinstance(given.get("method"), str) or given.keys() - {"method", "keep"}:
            raise ValueError(
                f'{KEY} in --hf-overrides is {{"method": "sample", "keep": 0.1}} or alike, got {given!r}: '
                "`pinhole serve` writes it"
            )
        if given.get("keep") is not None:
            check_keep(given["keep"])
        return cls(**given)

    def overrides(self, model_type: str) -> dict[str, Any]:
        """The value of `--hf-overrides`.

        Raises:
            ValueError: models of this type cannot be served.
        """
        kept = {} if self.keep is None else {"keep": self.keep}
        return {"architectures": [architecture(model_type)], KEY: {"method": self.method, **kept}}


def architecture(model_type: str) -> str:
    """The name of vLLM's model that reads fewer visual tokens.

    Raises:
        ValueError: models of this type cannot be served.
    """
    if model_type not in MODELS:
        raise ValueError(f"models of type {model_type!r} cannot be served; types that can: {', '.join(MODELS)}")
    return MODELS[model_type].split(":")[1]
