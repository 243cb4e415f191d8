from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from transformers.utils import is_av_available

from pinhole.videos import Video, load_video

needs_av = pytest.mark.skipif(not is_av_available(), reason="needs PyAV")
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("source", [FRAMES, list(FRAMES), [Image.fromarray(frame) for frame in FRAMES]])
def test_given_frames_are_all_used_as_they_are(source):
    video = load_video(source, frames=2)
    assert np.array_equal(video.frames, FRAMES)
    assert list(video.metadata.frames_indices) == [0, 1, 2, 3]
    assert video.metadata.fps == 24
    assert load_video(video) is video


def test_frames_become_rgb():
    video = load_video([Image.new("L", (8, 6), 7)] * 3)
    assert (video.frames.shape, video.frames.max()) == ((3, 6, 8, 3), 7)


def test_no_frames_and_frames_of_unlike_sizes_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        load_video([])
    with pytest.raises(ValueError, match="one frame or more, got 0"):
        load_video(FRAMES, frames=0)
    with pytest.raises(ValueError, match="have one size"):
        load_video([Image.new("RGB", (8, 6)), Image.new("RGB", (6, 8))])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no video file at .*none\.mp4"):
        load_video(tmp_path / "none.mp4")


@pytest.mark.skipif(is_av_available(), reason="PyAV is installed")
def test_a_file_needs_pyav(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    with pytest.raises(ImportError, match=r"reading video files needs PyAV: pip install 'pinhole-vlm\[video\]'"):
        load_video(tmp_path / "film.mp4")


@needs_av
def test_frames_of_a_file_are_spread_evenly_over_it(tmp_path):
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for shade in range(10):
            picture = np.full((32, 32, 3), 20 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    video = load_video(path, frames=5)
    assert isinstance(video, Video)
    assert video.frames.shape == (5, 32, 32, 3)
    assert np.abs(video.frames.mean((1, 2, 3)) - 20 * np.arange(0, 10, 2)).max() < 6
    assert video.metadata.frames_indices == [0, 2, 4, 6, 8]
    assert (video.metadata.fps, video.metadata.total_num_frames) == (5, 10)
    assert len(load_video(path).frames) == 10


@needs_av
def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"cannot use .*film\.mp4: it is not a video that can be read"):
        load_video(tmp_path / "film.mp4")
