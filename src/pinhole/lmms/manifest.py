"""What lmms-eval finds under its entry point group "lmms_eval.models"."""

from __future__ import annotations

from lmms_eval.models.registry_v2 import ModelManifest  # type: ignore[import-not-found]


def manifest() -> ModelManifest:
    """The model `pinhole`, by the path of its class: lmms-eval imports it where it is asked for."""
    return ModelManifest("pinhole", simple_class_path="pinhole.lmms.model.Pinhole")
