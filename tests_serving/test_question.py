"""A method that reads the question: the first one of a dialogue decides, on vLLM as on transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from asked import IMAGES, KEEP, OTHER, TWO, Asked
from dialogues import SECOND, Dialogue, picture
from on_transformers import Reference
from pinhole.methods.relevance import Relevance
from pinhole.serving.settings import Settings
from tiny_checkpoints import FAMILIES, WIDTH, write

CHUNKS = {"max_num_batched_tokens": 24, "enable_chunked_prefill": True}
Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def relevance(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compressor whose choice follows what the question looks at."""
    folder = tmp_path_factory.mktemp("relevance")
    Relevance.create(WIDTH, seed=1).save_pretrained(folder)
    return f"relevance:{folder}"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference("llava", write("llava", tmp_path_factory.mktemp("llava")))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_on_transformers(
    family: str, relevance: str, run_engines: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reference = Reference(family, write(family, tmp_path_factory.mktemp(family)))
    asked = Asked(reference, relevance)
    engine = asked.engine()
    first, other = (engine["rounds"][2 * asked.dialogues.index(dialogue)] for dialogue in (IMAGES[0], OTHER))
    engine["rounds"] += [first, {**other, "cold": False}, {**first, "cold": False}]
    [result, chunked] = run_engines([engine, asked.engine(**CHUNKS)])
    *rounds, once, another, again = result.pop("rounds")
    asked.check({"rounds": rounds})
    asked.check(chunked)

    # the same picture with another question about it, what the first one left in the caches being there
    expected = [asked.expected[asked.dialogues.index(dialogue)][0] for dialogue in (IMAGES[0], OTHER)]
    assert [answer["tokens"] for [answer] in (once, another, again)] == [*expected, expected[0]]
    assert [answer["cached"] > 0 for [answer] in (once, another, again)] == [False, False, True]

    # the same comparison sees what another question chooses
    swapped = copy.copy(asked)
    swapped.expected = [asked.expected[asked.dialogues.index(OTHER)], *asked.expected[1:]]
    with pytest.raises(AssertionError):
        swapped.check({"rounds": rounds})


def test_two_processes_answer_as_one(llava: Reference, relevance: str, run_engines: Run) -> None:
    asked = Asked(llava, relevance)
    [result] = run_engines([asked.engine(tensor_parallel_size=2)], processes=2)
    asked.check(result)


@pytest.mark.filterwarnings("ignore")  # vLLM is imported here
@pytest.mark.parametrize(
    ("lora", "stages", "encoder_only", "reason"),
    [(object(), 1, False, "--enable-lora"), (None, 2, False, "--pipeline"), (None, 1, True, "--mm-encoder-only")],
)
def test_options_under_which_it_would_read_another_layer_are_refused(
    lora: Any, stages: int, encoder_only: bool, reason: str
) -> None:
    from pinhole.serving.first_look import refuse_question

    multimodal = SimpleNamespace(mm_encoder_only=encoder_only)
    config = SimpleNamespace(
        lora_config=lora,
        parallel_config=SimpleNamespace(pipeline_parallel_size=stages),
        model_config=SimpleNamespace(get_multimodal_config=lambda: multimodal),
    )
    with pytest.raises(ValueError, match=reason):
        refuse_question(config)


@pytest.mark.filterwarnings("ignore")  # vLLM is imported here
class TestProcessor:
    @pytest.fixture(scope="class")
    def named(self, llava: Reference, relevance: str) -> Callable[..., list[str]]:
        """The names on a server of the pictures in a prompt."""
        from vllm.config import ModelConfig
        from vllm.multimodal import MULTIMODAL_REGISTRY
        from vllm.plugins import load_general_plugins

        load_general_plugins()
        overrides = Settings(relevance, KEEP).overrides("llava")
        processor = MULTIMODAL_REGISTRY.create_processor(
            ModelConfig(str(llava.folder), hf_overrides=overrides, dtype="float32")
        )

        def name(prompt: str, images: int = 1, **options: Any) -> list[str]:
            items = processor.info.parse_mm_data({"image": [picture(56, 56, 0)] * images})
            return processor(llava.ids(prompt), items, **options)["mm_hashes"]["image"]

        return name

    def test_the_first_question_is_a_part_of_a_pictures_name(self, named: Callable[..., list[str]]) -> None:
        first, other = (dialogue.first("llava") for dialogue in (IMAGES[0], OTHER))
        assert named(first) != named(other)
        assert named(first) == named(first + "A thing." + SECOND), "a later question"
        assert named(first) != named("Be brief. " + first), "words in front of the picture"

    def test_a_client_cannot_give_another_question(self, named: Callable[..., list[str]]) -> None:
        first = IMAGES[0].first("llava")
        assert named(first) == named(first, hf_processor_mm_kwargs={"pinhole_asked": [1, 2]})

    @pytest.mark.parametrize(
        ("prompt", "images", "reason"),
        [
            (TWO.first("llava"), 2, "has 2 images and videos"),
            ("USER: <image> What? ASSISTANT:", 1, "write prompts with the model's own chat template"),
            (Dialogue().first("llava") + "A thing." + "\nuser: <image>And this?\nassistant: ", 1, "show it there"),
        ],
    )
    def test_what_it_cannot_read_is_refused(
        self, named: Callable[..., list[str]], prompt: str, images: int, reason: str
    ) -> None:
        with pytest.raises(ValueError, match=reason):
            named(prompt, images)
