"""Where a dialogue's first question ends, told from its token ids: nothing here needs vLLM."""

from __future__ import annotations

import pytest

from pinhole.scenes.build import build_processor
from pinhole.serving.question import first_turn, opening
from pinhole.transcript import Transcript

IMAGE, ANSWER = 9, [7, 8]


class TestOpening:
    def test_the_first_turn_of_a_dialogue_ends_with_it_whatever_was_asked(self):
        processor = build_processor()
        transcript = Transcript(processor)
        found = opening(processor)
        for text in ("what color is the circle?", "why"):
            ids = processor.tokenizer(transcript.question(text))["input_ids"]
            assert ids[-len(found) :] == found
            assert found not in [ids[i : i + len(found)] for i in range(len(ids) - len(found))]

    def test_a_template_that_prints_nothing_there_is_refused(self):
        processor = build_processor()
        processor.chat_template = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
        with pytest.raises(ValueError, match="prints nothing between a question and its answer"):
            opening(processor)


class TestFirstTurn:
    def test_it_ends_where_its_answer_starts(self):
        first = [1, 2, IMAGE, 3, *ANSWER]
        assert first_turn(first, {IMAGE}, ANSWER) == first
        assert first_turn([*first, 4, 5, *ANSWER], {IMAGE}, ANSWER) == first

    @pytest.mark.parametrize(
        ("prompt", "reason"),
        [
            ([IMAGE, 3, IMAGE, *ANSWER], "has 2 images and videos"),
            ([3, *ANSWER], "has 0 images and videos"),
            ([1, IMAGE, 3, 7], "write prompts with the model's own chat template"),
            ([3, *ANSWER, 4, IMAGE, 5, *ANSWER], "show it there"),
        ],
    )
    def test_prompts_without_one_question_about_one_image_are_refused(self, prompt, reason):
        with pytest.raises(ValueError, match=reason):
            first_turn(prompt, {IMAGE}, ANSWER)
