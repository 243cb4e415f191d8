"""What lmms-eval's tasks ask, in Pinhole's terms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pinhole.lmms.requests import MAX_NEW_TOKENS, Request, generate_options, sorted_visuals, stop_strings

PICTURE = Image.new("RGB", (4, 4))


def test_the_marks_that_tasks_write_for_llava_are_taken_out():
    words = Request("<image>\nWhat is <image> and <video>this, <image 1>?", list, {}).words
    assert words == "What is  and this, <image 1>?"


def test_pictures_and_videos_are_told_apart_and_keep_their_order():
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    visuals = ["b.mp4", PICTURE, "/data/A.JPG", frames, [PICTURE, PICTURE], "a.webm"]
    pictures, videos = sorted_visuals(visuals)
    assert pictures == [PICTURE, "/data/A.JPG"]
    assert videos[0] == "b.mp4"
    assert videos[1] is frames
    assert videos[2:] == [[PICTURE, PICTURE], "a.webm"]
    assert sorted_visuals(None) == sorted_visuals([]) == ([], [])


def test_sound_is_refused():
    with pytest.raises(ValueError, match="this task shows a dict: Pinhole reads pictures"):
        sorted_visuals([{"array": np.zeros(3), "sampling_rate": 16000}])


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, {"max_new_tokens": MAX_NEW_TOKENS, "do_sample": False}),
        (
            {"max_new_tokens": 16, "temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False, "until": ["x"]},
            {"max_new_tokens": 16, "num_beams": 1, "do_sample": False},
        ),
        ({"temperature": 0.2, "top_p": None}, {"max_new_tokens": 1024, "temperature": 0.2, "do_sample": True}),
        ({"temperature": 0.2, "do_sample": False}, {"max_new_tokens": 1024, "do_sample": False}),
        ({"temperature": 0, "do_sample": True}, {"max_new_tokens": 1024, "do_sample": False}),
        (
            {"do_sample": True, "top_k": 5, "repetition_penalty": 1.2, "image_aspect_ratio": "pad"},
            {"max_new_tokens": 1024, "top_k": 5, "repetition_penalty": 1.2, "do_sample": True},
        ),
    ],
)
def test_generation_kwargs_become_options_of_generate(settings, options):
    assert generate_options(settings) == options


def test_what_generate_does_not_know_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="visual_cot means nothing to Pinhole"):
        assert "visual_cot" not in generate_options({"visual_cot": True})


@pytest.mark.parametrize(
    ("until", "stops"),
    [(None, []), ([], []), ("ASSISTANT:", ["ASSISTANT:"]), (["\n\n", "", "\n", "Q:"], ["\n", "Q:"])],
)
def test_stop_strings(until, stops):
    assert stop_strings({} if until is None else {"until": until}) == stops
