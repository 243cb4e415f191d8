"""Loads videos as the frames that processors expect, or says why one cannot be used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.utils import is_av_available
from transformers.video_utils import VideoMetadata, default_sample_indices_fn, read_video_pyav

from pinhole.images import load_image

FRAMES = 32
"""The most frames that a file is read as, unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of a video.

    Attributes:
        frames: (T, H, W, 3) uint8.
        metadata: which of the file's frames they are and at what rate it runs, for models that are told the time.
    """

    frames: np.ndarray
    metadata: VideoMetadata


VideoSource = str | os.PathLike[str] | Video | np.ndarray | Sequence[Image.Image | np.ndarray]


def load_video(source: VideoSource, frames: int = FRAMES) -> Video:
    """One video.

    Args:
        source: a file, or the frames themselves: pictures of one size, or (T, H, W, 3) bytes. Frames that are given
            are all used; models that are told the time hear that they follow each other at 24 a second.
        frames: the most frames of a file; they are spread evenly over it.

    Raises:
        FileNotFoundError: no such file.
        ImportError: a file, and PyAV is not installed.
        ValueError: no video, no frames, or frames of unlike sizes; or `frames` is below 1.
    """
    if frames < 1:
        raise ValueError(f"a video is read as one frame or more, got {frames}")
    if isinstance(source, Video):
        return source
    if isinstance(source, str | os.PathLike):
        return _read(Path(source), frames)
    pictures = [np.asarray(load_image(Image.fromarray(f) if isinstance(f, np.ndarray) else f)) for f in source]
    if not pictures:
        raise ValueError("a video has at least one frame")
    if len({picture.shape for picture in pictures}) > 1:
        raise ValueError("the frames of a video have one size")
    height, width = pictures[0].shape[:2]
    metadata = VideoMetadata(len(pictures), 24.0, width, height, frames_indices=list(range(len(pictures))))
    return Video(np.stack(pictures), metadata)


def _read(path: Path, frames: int) -> Video:
    if not path.is_file():
        raise FileNotFoundError(f"no video file at {path}")
    if not is_av_available():
        raise ImportError("reading video files needs PyAV: pip install 'pinhole-vlm[video]'")
    import av

    def chosen(metadata: VideoMetadata) -> np.ndarray:
        if not metadata.total_num_frames:
            raise ValueError("it does not say how many frames it has")
        return default_sample_indices_fn(metadata, num_frames=min(frames, metadata.total_num_frames))

    try:
        pixels, metadata = read_video_pyav(str(path), chosen)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise ValueError(f"cannot use {path}: it is not a video that can be read ({error})") from error
    metadata.frames_indices = [int(index) for index in metadata.frames_indices]
    return Video(pixels, metadata)
