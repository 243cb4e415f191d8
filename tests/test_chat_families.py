"""Chats on checkpoints as they are published: the whole way from files to the KV cache, on every family."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList
from transformers.utils import is_torchvision_available

import checkpoints
from checkpoints import PUBLISHED, opened, picture
from pinhole import Chat, Sample
from pinhole.budget import kept_tokens
from pinhole.data import Dialogue, Turn
from pinhole.encoding import answer_end, encode_turn
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.families import family_of
from pinhole.loading import load
from pinhole.shrink import shrink
from pinhole.transcript import Transcript

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers' own
KEEP = 0.25
TURNS = [("What colour is it?", [0, 1], "red box"), ("Which digit?", [], "two circles"), ("And this one?", [2], "blue")]
VIDEOS = ["llava_next_video", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm", "glm4v"]
no_torchvision = pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
torchvision = pytest.mark.skipif(not is_torchvision_available(), reason="needs torchvision")


class Script(LogitsProcessor):
    """Makes a model say given tokens."""

    def __init__(self, ids: list[int]) -> None:
        self.left = iter(ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([next(self.left)]), 0.0)


def ids_of(processor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


@functools.cache
def held(family: str) -> tuple[Chat, list[torch.Tensor], list[dict]]:
    """A chat whose answers are given; the ids of what was said; the inputs of each turn."""
    model, processor = opened(family)
    chat, transcript = Chat(model, processor, Sample(keep=KEEP)), Transcript(processor)
    end, said, turns = PUBLISHED[family].end, [], []
    for number, (question, shown, answer) in enumerate(TURNS):
        text = transcript.question(question, len(shown))
        turns.append(encode_turn(model, processor, [text], [picture(i) for i in shown], first=not number))
        ids = ids_of(processor, transcript.written(answer) + end)
        script = LogitsProcessorList([Script(ids)])
        heard = chat.ask(question, [picture(i) for i in shown], logits_processor=script, max_new_tokens=len(ids))
        assert heard.removeprefix("<think></think>").strip() == answer
        transcript.answer(answer, PUBLISHED[family].ends[0])
        said.append(torch.tensor([ids]))
    return chat, said, turns


def rendered(processor, family: str) -> str:
    """The whole dialogue, as the template prints it and a chat reads it."""
    published, messages = PUBLISHED[family], []
    for question, shown, answer in TURNS:
        content = [{"type": "image"} for _ in shown] + [{"type": "text", "text": question}]
        messages += [{"role": "user", "content": content}, published.answer(answer)]
    text = processor.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    return published.as_read(text, [answer for _, _, answer in TURNS[:-1]])


def families() -> list:
    """Those whose processors can be loaded here."""
    missing = [pytest.mark.skipif(not is_torchvision_available(), reason="needs torchvision")]
    return [pytest.param(name, marks=missing if p.needs_torchvision else []) for name, p in PUBLISHED.items()]


@pytest.mark.parametrize("family", families())
class TestChat:
    def test_counts_are_those_of_the_budget(self, family):
        model, _ = opened(family)
        chat, _, turns = held(family)
        image = model.config.image_token_id
        seen = [int((turn["input_ids"] == image).sum()) for turn in turns]
        assert [len(chat.reductions), sum(r.n for r in chat.reductions)] == [3, sum(seen)]
        assert chat.reductions[2].n == seen[2] > 0 == seen[1]
        assert [r.m for r in chat.reductions] == [kept_tokens(r.n, KEEP) for r in chat.reductions]
        assert int((chat._session.context.input_ids == image).sum()) == sum(r.m for r in chat.reductions)

    def test_its_words_are_those_of_the_whole_dialogue(self, family):
        """Token by token, but for the number of placeholders: of several images at once, OneVision makes no tiles."""
        model, processor = opened(family)
        chat, said, _ = held(family)
        text, image = rendered(processor, family), model.config.image_token_id
        bos = processor.tokenizer.bos_token
        whole = processor(
            text=[text],
            images=[[picture(i) for i in range(3)]],
            add_special_tokens=not (bos and text.startswith(bos)),
            return_tensors="pt",
        )
        context = chat._session.context.input_ids[0, : -said[-1].shape[1]]
        assert context[context != image].tolist() == whole["input_ids"][whole["input_ids"] != image].tolist()
        if family != "llava_onevision":
            placeholders = int((whole["input_ids"] == image).sum())
            assert placeholders == sum(reduction.n for reduction in chat.reductions)

    @torch.no_grad()
    def test_its_cache_is_that_of_reading_everything_at_once(self, family):
        model, _ = opened(family)
        chat, said, turns = held(family)
        known, visuals, pieces, start = family_of(model), [], [], 0
        for turn, answer in zip(turns, said, strict=True):
            for visual in known.encode(turn)[0] if "pixel_values" in turn else []:
                visual.columns.add_(start)
                visuals.append(visual)
            pieces += [turn["input_ids"], answer]
            start += turn["input_ids"].shape[1] + answer.shape[1]
        whole = {"input_ids": torch.cat(pieces, 1)}
        for name in {*known.spent_inputs, *known.token_inputs} & turns[0].keys():
            values = [turn[name] for turn in turns if name in turn]
            if values[0].shape == turns[0]["input_ids"].shape:  # a value for every token; answers are text
                parts = [part for value, answer in zip(values, said, strict=True) for part in (value, answer * 0)]
                whole[name] = torch.cat(parts, 1)
            elif name.endswith("_thw"):
                whole[name] = torch.cat(values)
        inputs = shrink(known, whole, Sample(keep=KEEP), visuals=visuals).inputs
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        features = known.ready(inputs.pop("mm_encoder_outputs"))
        model(**inputs, mm_encoder_outputs=features, past_key_values=cache, use_cache=True)
        tolerance = 1e-4 if model.dtype == torch.float32 else 1e-9
        for held_layer, layer in zip(chat._session._cache.layers, cache.layers, strict=True):
            length = held_layer.keys.shape[2]
            assert length == inputs["input_ids"].shape[1] - 1, "the last token said is not read yet"
            for kind in ("keys", "values"):
                ours, theirs = getattr(held_layer, kind), getattr(layer, kind)[:, :, :length]
                torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)

    def test_the_models_own_marks_are_refused(self, family):
        model, processor = opened(family)
        chat = Chat(model, processor)
        for mark in (processor.image_token, processor.tokenizer.decode([model.config.image_token_id])):
            with pytest.raises(ValueError, match="with which this model marks"):
                chat.ask(f"what is {mark}?")
            with pytest.raises(ValueError, match=r"with which this model marks|placeholders"):
                chat.ask(f"what is {mark}?", [picture(0)])
        assert chat.context_length == 0

    def test_an_answer_ends_with_what_the_template_prints(self, family):
        model, processor = opened(family)
        assert answer_end(model, processor) == PUBLISHED[family].end

    def test_dialogues_in_a_batch_are_answered_as_alone(self, family):
        """One has an image, one two: each prompt's images are told apart, and gold answers take the model's place."""
        model, processor = opened(family)
        words = [Turn("What colour is it?", "red box"), Turn("How many?", "two"), Turn("Which digit?", "blue")]
        shown = [(picture(0),), (picture(1), picture(2))]
        dialogues = [Dialogue(str(i), images, tuple(words)) for i, images in enumerate(shown)]
        [contender] = contenders(["sample"], [KEEP], family_of(model).shape)
        for history in ("own", "gold"):
            settings = EvalSettings(history, max_new_tokens=2)
            together = hold(model, processor, contender, dialogues, settings)
            assert together == [hold(model, processor, contender, [one], settings)[0] for one in dialogues]
            assert [len(record.images) for record in together] == [1, 2]
            if family == "llava_onevision":
                assert [n for n, _ in together[1].images] == [17, 17], "two images in a prompt have no tiles"


def test_later_turns_are_tokenized_as_behind_an_answer_in_a_batch_too():
    """Llama's tokenizer sets a blank before whatever it reads, which is none of a dialogue's."""
    model, processor = opened("vipllava")
    texts = ["###Human: two?###Assistant:", "###Human: What colour is it?###Assistant:"]
    behind = [ids_of(processor, f"red</s>{text}")[len(ids_of(processor, "red</s>")) :] for text in texts]
    assert behind[0] != ids_of(processor, texts[0])
    inputs = encode_turn(model, processor, texts, first=False)
    for ids, mask, expected in zip(inputs["input_ids"], inputs["attention_mask"], behind, strict=True):
        assert ids[mask.bool()].tolist() == expected
        assert mask.tolist() == sorted(mask.tolist()), "padded on the left"
    assert inputs["attention_mask"][1].all()


@no_torchvision
@pytest.mark.parametrize("family", [name for name, published in PUBLISHED.items() if published.needs_torchvision])
def test_without_torchvision_a_processor_that_needs_it_for_images_says_so(tmp_path, family):
    folder = checkpoints.write(family, tmp_path / family, dtype=torch.float32)
    with pytest.raises(ImportError, match=r"the processor of .* needs torchvision, for images too: pip install"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize("family", ["llava", "llava_next", "gemma3", "idefics3"])
def test_a_video_is_refused_where_the_model_reads_none(family):
    with pytest.raises(ValueError, match="this model reads no videos"):
        Chat(*opened(family)).ask("What happens?", videos=[[picture(0)] * 4])


@no_torchvision
@pytest.mark.parametrize("family", VIDEOS)
def test_without_torchvision_a_video_is_one_clear_error(family):
    model, processor = opened(family)
    chat = Chat(model, processor)
    with pytest.raises(ImportError, match=r"reading videos with this model needs torchvision: pip install 'pinhole-"):
        chat.ask("What happens?", videos=[[picture(0)] * 4])
    assert chat.context_length == 0
    assert chat.ask("What colour is it?", [picture(0)], max_new_tokens=2) is not None


@torchvision
@pytest.mark.parametrize("family", VIDEOS)
@pytest.mark.parametrize("scope", ["whole", "frame"])
def test_a_video_is_reduced_once_and_talked_about(family, scope):
    model, processor = opened(family)
    chat = Chat(model, processor, Sample(keep=KEEP), video=scope)
    chat.ask("What happens?", videos=[[picture(0)] * 4], max_new_tokens=3)
    assert chat.reductions
    before = len(chat.reductions)
    assert all(reduction.m < reduction.n for reduction in chat.reductions)
    chat.ask("And then?", max_new_tokens=3)
    chat.ask("And in this picture?", [picture(1)], max_new_tokens=3)
    assert len(chat.reductions) == before + 1


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_stop_string_ends_an_answer_and_is_left_out_of_it(family):
    model, processor = opened(family)
    chat = Chat(model, processor, max_new_tokens=9)
    ids = ids_of(processor, "two red circles")
    for stops in (["circles", "red"], "red"):
        script = LogitsProcessorList([Script(ids)])
        assert chat.ask("How many?", stop_strings=stops, logits_processor=script) == "two"
    script = LogitsProcessorList([Script(ids)])
    assert "".join(chat.stream("How many?", stop_strings=["red"], logits_processor=script)).strip() == "two red"
    context = processor.tokenizer.decode(chat._session.context.input_ids[0])
    assert (context.count("two red"), context.count("circles")) == (3, 0)
