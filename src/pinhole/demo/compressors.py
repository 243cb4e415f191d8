"""Finds learned compressors: which folders hold saved weights, and of which method."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pinhole.hub import ADAPTER_WEIGHTS, SETTINGS
from pinhole.method import Learned
from pinhole.registry import Loads, MethodSpec, method_class, method_names, settings_of
from pinhole.view.cells import method_label


def in_folders(folders: Iterable[Path]) -> dict[str, MethodSpec]:
    """The compressors in these folders and below, by what to call them.

    A folder counts where its settings are those of one method, so that whole models and other weights are passed over.

    Raises:
        ValueError: no such folder, or no compressor in it.
    """
    found: dict[str, MethodSpec] = {}
    for root in folders:
        if not root.is_dir():
            raise ValueError(f"no folder {root} with compressors: give --compressors a folder that pinhole train wrote")
        before = len(found)
        for settings in sorted(root.rglob(SETTINGS)):
            folder = settings.parent
            has_weights = any((folder / name).is_file() for name in (SAFETENSORS_SINGLE_FILE, ADAPTER_WEIGHTS))
            if has_weights and (name := _method_of(settings)):
                label = f"{method_label(name)} from {folder.relative_to(root.parent)}"
                label = f"{method_label(name)} from {folder}" if label in found else label
                found[label] = MethodSpec(name, str(folder), {})
        if len(found) == before:
            raise ValueError(f"no compressor in {root} or below: pinhole train --out writes one")
    return found


def from_hub(name: str) -> tuple[str, MethodSpec]:
    """What to call the compressor that has a hub name, and its specification.

    Raises:
        ValueError: no hub name, nothing of this name, or something else.
    """
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) or Path(name).exists():
        raise ValueError(f"{name!r} is no hub name: write it as owner/name")
    try:
        settings = Path(hf_hub_download(name, SETTINGS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"no compressor {name} can be had from the hub: {type(error).__name__}") from error
    method = _method_of(settings)
    if method is None:
        raise ValueError(f"{name} is no compressor: its {SETTINGS} has the settings of no method that learns")
    return f"{method_label(method)} from {name}", MethodSpec(method, name, {})


def _method_of(settings: Path) -> str | None:
    """The method that learns whose settings a file has: it names it, or has all of them and no others; or None."""
    try:
        told = json.loads(settings.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict):
        return None
    kinds = {name: method_class(name) for name in method_names()}
    for name, kind in kinds.items():
        if issubclass(kind, Learned) and told.keys() == {"width", *settings_of(kind)}:
            return name
    said = told.get("method")
    return said if isinstance(said, str) and said in kinds and issubclass(kinds[said], Loads) else None
