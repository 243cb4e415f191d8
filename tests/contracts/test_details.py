"""What compress and Session promise beyond the cells, in detail on one family: undo, failures, limits, refusals."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

import tiny
from pinhole import Session, compress
from pinhole.families import family_of
from pinhole.layout import Layout, View
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.shrink import shrink
from reference import Context, rows_of, visual_tokens

KEEP = 0.25
methods = pytest.mark.parametrize("name", tiny.METHODS)
sides = pytest.mark.parametrize("side", ["left", "right"])
policies = pytest.mark.parametrize("positions", ["compact", "original"])


@pytest.fixture(scope="module")
def model():
    return tiny.llava()


@pytest.fixture
def ends(model):
    """Sets the end-of-sequence token for one test."""

    def set_end(token: int) -> None:
        model.generation_config.eos_token_id = token

    yield set_end
    model.generation_config.eos_token_id = None


ROTARY = 1e-4
"""transformers computes rotary angles in float32: equal relative positions at another offset differ by rounding."""


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def hooks(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


class Recorder(LogitsProcessor):
    """Keeps the logits that generation saw."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.clone())
        return scores


def ask(session: Session, inputs: dict[str, torch.Tensor], tokens: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """The answer (B, T) and the logits of its steps (B, T, vocabulary)."""
    recorder = Recorder()
    answer = session.ask(
        inputs, max_new_tokens=tokens, do_sample=False, logits_processor=LogitsProcessorList([recorder])
    )
    return answer, torch.stack(recorder.steps, 1)


def check_turn(contexts: list[Context], turn: dict, method: InputMethod, answer: torch.Tensor, logits: torch.Tensor):
    """Read the turn and its answer into each context by hand and compare the logits of every step."""
    end = contexts[0].model.generation_config.eos_token_id
    for i, (context, row) in enumerate(zip(contexts, rows_of(turn), strict=True)):
        said = answer[i].tolist()
        said = said[: said.index(end) + 1] if end in said else said
        context.read(row, method)
        for token in said:
            context.say(token)
        expected = context.logits()[-len(said) - 1 : -1].clone()
        assert logits[i, 0, tiny.IMAGE] == -torch.inf  # never generated, so not compared
        expected[:, tiny.IMAGE] = -torch.inf
        close(logits[i, : len(said)].double(), expected, ROTARY)


@methods
class TestUndo:
    @torch.no_grad()
    def test_the_model_is_as_before_after_the_block_and_after_an_error_in_it(self, model, name):
        inputs = tiny.inputs(2)
        before, attached = model(**inputs).logits, hooks(model)
        with compress(model, tiny.method(name, KEEP)):
            assert hooks(model) == attached + 1
            model(**inputs)
        assert torch.equal(model(**inputs).logits, before)
        with pytest.raises(RuntimeError, match="inside"), compress(model, tiny.method(name, KEEP)):
            raise RuntimeError("inside")
        assert torch.equal(model(**inputs).logits, before)
        assert hooks(model) == attached
        assert "generate" not in model.__dict__

    def test_compressing_twice_is_refused_and_leaves_the_first_in_place(self, model, name):
        inputs = tiny.inputs()
        with compress(model, tiny.method(name, KEEP)) as first:
            with pytest.raises(ValueError, match="already compressed"):
                compress(model, tiny.method(name, 0.5))
            model(**inputs)
            assert first.reductions[0].m == tiny.method(name, KEEP).count(tiny.VISUAL, Layout.of(View(6, 6)))

    def test_removing_twice_removes_no_later_compression(self, model, name):
        handle = compress(model, tiny.method(name, KEEP))
        handle.remove()
        handle.remove()
        assert "generate" not in model.__dict__
        with compress(model, tiny.method(name, KEEP)) as later:
            model(**tiny.inputs())
        assert later.reductions


@methods
@policies
class TestSession:
    @torch.no_grad()
    def test_three_turns_with_a_new_image_in_the_last_equal_a_recompute_without_cache(self, model, name, positions):
        method = tiny.method(name, KEEP)
        session = Session(model, method, positions=positions)
        contexts = [Context(model, positions)]
        for turn in (tiny.inputs(1), tiny.words(5, seed=1), tiny.inputs(1, seed=2)):
            answer, logits = ask(session, turn)
            check_turn(contexts, turn, method, answer, logits)
        assert [r.m for r in session.reductions] == [method.count(tiny.VISUAL, Layout.of(View(6, 6)))] * 2
        assert session.context.position_ids[0].tolist() == contexts[0].positions

    @torch.no_grad()
    def test_a_batch_with_one_row_that_ends_early_equals_a_recompute_without_cache(self, model, name, positions, ends):
        method = tiny.method(name, KEEP)
        first = tiny.inputs(3)
        never_ended = ask(Session(model, method, positions=positions), first)[0].tolist()
        ends(next(t for row in never_ended for t in row[:-1] if any(t not in other for other in never_ended)))
        session = Session(model, method, positions=positions)
        contexts = [Context(model, positions) for _ in range(3)]
        for turn in (first, tiny.words(4, seed=3, batch=3), tiny.inputs(3, seed=4)):
            answer, logits = ask(session, turn)
            check_turn(contexts, turn, method, answer, logits)
            assert session.context.attention_mask.sum(-1).tolist() == [len(context.positions) for context in contexts]
            if turn is first:
                assert (session.context.attention_mask[:, -answer.shape[1] :] == 0).any(), "no row ended early"


@torch.no_grad()
def test_a_batch_of_dialogues_equals_each_dialogue_alone(model, ends):
    method = tiny.method("metacompress", KEEP)
    turns = [tiny.inputs(3), tiny.words(4, seed=3, batch=3), tiny.words(6, seed=5, batch=3)]
    never_ended, _ = ask(Session(model, method), turns[0])
    end = int(never_ended[2, 0])
    ends(end)
    together = Session(model, method)
    answers = [ask(together, turn)[0] for turn in turns]
    for i in range(3):
        alone = Session(model, method)
        for turn, batched in zip(turns, answers, strict=True):
            [answer] = ask(alone, rows_of(turn)[i])[0].tolist()
            assert batched[i, : len(answer)].tolist() == answer
            assert set(batched[i, len(answer) :].tolist()) <= {tiny.PAD}


def test_an_end_token_given_for_one_turn_ends_that_turn_in_the_context(model):
    first, second = tiny.inputs(2), tiny.words(4, seed=3, batch=2)
    never_ended, _ = ask(Session(model), first)
    end = int(never_ended[0, 0])
    session = Session(model)
    session.ask(first, max_new_tokens=4, do_sample=False, eos_token_id=end)
    said = session.context.attention_mask[:, first["input_ids"].shape[1] :].sum(-1)
    assert said[0] == 1
    assert session.ask(second, max_new_tokens=2, do_sample=False).shape == (2, 2)


def test_two_sessions_on_one_model_do_not_meet(model):
    one, two = tiny.method("sample", KEEP), tiny.method("spatial", 0.5)
    turns_one = [tiny.inputs(1), tiny.words(3, seed=1), tiny.words(4, seed=2)]
    turns_two = [tiny.inputs(1, seed=9), tiny.inputs(1, seed=8), tiny.words(5, seed=7)]

    def run(session: Session, turns: list[dict]) -> list[torch.Tensor]:
        return [ask(session, turn)[1] for turn in turns]

    alone_one, alone_two = run(Session(model, one), turns_one), run(Session(model, two), turns_two)
    first, second = Session(model, one), Session(model, two)
    for i in range(3):
        assert torch.equal(run(first, [turns_one[i]])[0], alone_one[i])
        assert torch.equal(run(second, [turns_two[i]])[0], alone_two[i])


def test_a_session_reads_its_own_method_on_a_model_that_is_compressed_otherwise(model):
    alone = ask(Session(model, tiny.method("sample", KEEP)), tiny.inputs())[1]
    with compress(model, tiny.method("random", 0.5)):
        inside = ask(Session(model, tiny.method("sample", KEEP)), tiny.inputs())[1]
    assert torch.equal(alone, inside)


@pytest.mark.parametrize("failing_turn", [1, 2, 3])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_turn_that_fails_half_way_leaves_the_session_as_it_was(model, failing_turn, layer):
    method = tiny.method("sample", KEEP)
    turns = [tiny.inputs(1), tiny.words(3, seed=1), tiny.inputs(1, seed=2)]
    expected = [ask(session, turn)[1] for session in [Session(model, method)] for turn in turns]
    session = Session(model, method)
    for number, turn in enumerate(turns, start=1):
        if number == failing_turn:
            before = session.context, session.reductions
            passes = iter(range(3))

            def fail(*_, passes=passes):
                if next(passes) == 2:  # the prefill and one step went well
                    raise MemoryError("no memory left")

            hook = model.model.language_model.layers[layer].register_forward_pre_hook(fail)
            with pytest.raises(MemoryError, match="no memory"):
                ask(session, turn)
            hook.remove()
            after = session.context, session.reductions
            assert all(a is b for a, b in zip(after, before, strict=True))
        close(ask(session, turn)[1], expected[number - 1])


def test_retracting_an_answer_lets_another_take_its_place(model):
    method = tiny.method("sample", KEEP)
    first, gold, second = tiny.inputs(2), tiny.words(3, seed=5, batch=2), tiny.words(4, seed=6, batch=2)
    second = {key: torch.cat([gold[key], second[key]], 1) for key in second}
    session = Session(model, method)
    ask(session, first)
    asked = shrink(family_of(model), first, method).inputs["input_ids"]
    session.retract()
    assert torch.equal(session.context.input_ids, asked)
    answer, logits = ask(session, second)
    contexts = [Context(model).read(row, method) for row in rows_of(first)]
    check_turn(contexts, second, method, answer, logits)


def test_a_failed_turn_does_not_move_what_retract_forgets(model):
    session = Session(model, tiny.method("sample", KEEP))
    ask(session, tiny.inputs())
    asked = session.context.input_ids.shape[1] - 4
    with pytest.raises(ValueError, match="placeholders"):
        ask(session, {**tiny.inputs(seed=1), "pixel_values": torch.zeros(2, 3, tiny.SIDE, tiny.SIDE).double()})
    session.retract()
    assert session.context.input_ids.shape[1] == asked


@pytest.mark.parametrize("setting", ["num_beams", "num_return_sequences"])
def test_a_session_refuses_more_than_one_continuation(model, setting):
    session = Session(model)
    with pytest.raises(ValueError, match=setting):
        session.ask(tiny.inputs(), max_new_tokens=2, **{setting: 2})
    assert session.context.input_ids.numel() == 0


def test_a_session_refuses_a_turn_for_another_number_of_dialogues(model):
    session = Session(model)
    ask(session, tiny.inputs(2))
    with pytest.raises(ValueError, match=r"holds 2 dialogue\(s\), got 3"):
        ask(session, tiny.words(3, seed=1, batch=3))


@pytest.mark.parametrize("name", ["metacompress"])
@sides
def test_the_loss_is_that_of_the_reduced_embeddings_and_teaches_the_compressor(model, name, side):
    inputs = tiny.inputs(3, side)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels = labels.masked_fill(labels == tiny.IMAGE, -100)
    starts = inputs["attention_mask"].argmax(-1, keepdim=True)
    labels = labels.scatter(1, starts, -100)  # transformers would predict the first word from the padding on its left
    method = tiny.method(name, KEEP)
    with compress(model, method):
        loss = model(**inputs, labels=labels).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())
    model.zero_grad()

    losses = []
    with torch.no_grad():
        for i, row in enumerate(rows_of(inputs)):
            context = Context(model).read(row, method, labels[i][inputs["attention_mask"][i].bool()])
            losses.append(
                torch.nn.functional.cross_entropy(
                    context.logits()[:-1], torch.tensor(context.labels[1:]), reduction="none", ignore_index=-100
                )
            )
    losses = torch.cat(losses)
    torch.testing.assert_close(loss.detach().double(), losses.sum() / (losses != 0).sum(), rtol=1e-5, atol=1e-5)


@sides
def test_labels_over_padding_are_ignored_whatever_they_were(model, side):
    inputs = tiny.inputs(3, side)
    result = shrink(family_of(model), {**inputs, "labels": inputs["input_ids"]}, tiny.method("sample", KEEP)).inputs
    padding = result["attention_mask"] == 0
    assert padding.any()
    assert (result["labels"][padding] == -100).all()
    assert torch.equal(result["labels"][~padding], result["input_ids"][~padding])
    assert (result["input_ids"][padding] == tiny.PAD).all()


@torch.no_grad()
def test_a_kept_subset_equals_slicing_the_embeddings(model):
    inputs = tiny.inputs()
    kept = torch.tensor([3, 4, 17, 30])

    class Fixed(InputMethod):
        name, keep = "fixed", 4

        def reduce(self, image):
            return Reduction.select(kept, image.n)

        def settings(self):
            return {}

    with compress(model, Fixed()):
        logits = model(**inputs).logits
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    columns = (inputs["input_ids"][0] == tiny.IMAGE).nonzero()[:, 0]
    embeddings[0, columns] = visual_tokens(model, inputs).x
    gone = set(columns.tolist()) - set(columns[kept].tolist())
    sliced = embeddings[:, [i for i in range(embeddings.shape[1]) if i not in gone]]
    close(logits, model(inputs_embeds=sliced).logits)


class TestCompressedInputs:
    @torch.no_grad()
    def test_prompts_without_images_run_as_always(self, model):
        text = tiny.words(6, seed=0, batch=2)
        plain = model(**text).logits, model.generate(**text, max_new_tokens=3, do_sample=False)
        with compress(model, tiny.method("sample", KEEP)) as compression:
            assert torch.equal(model(**text).logits, plain[0])
            assert torch.equal(model.generate(text["input_ids"], max_new_tokens=3, do_sample=False), plain[1])
        assert compression.reductions == []

    @torch.no_grad()
    @sides
    def test_rows_with_and_without_images_mix(self, model, side):
        inputs = tiny.inputs(1)
        length = inputs["input_ids"].shape[1]
        text = tiny.words(7, seed=1)
        padding = torch.zeros(1, length - 7, dtype=torch.long)
        parts = [padding, text["input_ids"]] if side == "left" else [text["input_ids"], padding]
        row = torch.cat(parts, 1)
        mixed = {
            "input_ids": torch.cat([row, inputs["input_ids"]]),
            "attention_mask": torch.cat([(row != 0).long(), inputs["attention_mask"]]),
            "pixel_values": inputs["pixel_values"],
        }
        method = tiny.method("spatial", KEEP)
        with compress(model, method):
            logits = model(**mixed).logits
        words = logits[0, -7:] if side == "left" else logits[0, :7]
        close(words, Context(model).read(text, method).logits(), ROTARY if side == "left" else 1e-9)
        close(logits[1], Context(model).read(inputs, method).logits())

    @pytest.mark.parametrize("settings", [{"num_beams": 2}, {"num_beams": 4, "num_return_sequences": 2}])
    def test_beams_equal_beams_over_embeddings_reduced_by_hand(self, model, settings):
        inputs = tiny.inputs(3)
        method = tiny.method("metacompress", KEEP)
        with compress(model, method):
            output = model.generate(**inputs, max_new_tokens=4, do_sample=False, **settings)
        copies = settings.get("num_return_sequences", 1)
        length = inputs["input_ids"].shape[1]
        assert torch.equal(output[:, :length], inputs["input_ids"].repeat_interleave(copies, 0))
        for i, row in enumerate(rows_of(inputs)):
            embeddings = torch.stack([token.embedding for token in Context(model).read(row, method).tokens])[None]
            mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
            expected = model.generate(
                inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=4, do_sample=False, **settings
            )
            assert torch.equal(output[copies * i : copies * (i + 1), length:], expected)

    def test_sampled_sequences_come_one_after_another_for_each_prompt(self, model):
        inputs = tiny.inputs(2)
        with compress(model, tiny.method("sample", KEEP)):
            output = model.generate(**inputs, max_new_tokens=2, do_sample=True, num_return_sequences=3)
        assert torch.equal(output[:, : inputs["input_ids"].shape[1]], inputs["input_ids"].repeat_interleave(3, 0))

    @pytest.mark.parametrize("how", ["keyword", "configuration", "positional configuration"])
    def test_max_length_counts_the_prompt_as_it_was_given(self, model, how):
        inputs = tiny.inputs(2)
        length = inputs["input_ids"].shape[1]
        config = GenerationConfig(max_length=length + 3, do_sample=False, pad_token_id=tiny.PAD)
        with compress(model, tiny.method("sample", KEEP)):
            if how == "keyword":
                output = model.generate(**inputs, max_length=length + 3, do_sample=False)
            elif how == "configuration":
                output = model.generate(**inputs, generation_config=config)
            else:
                rest = {key: inputs[key] for key in ("attention_mask", "pixel_values")}
                output = model.generate(inputs["input_ids"], config, **rest)
        assert output.shape == (2, length + 3)
        assert config.max_length == length + 3

    def test_a_dictionary_of_outputs_holds_the_prompt_too(self, model):
        inputs = tiny.inputs(2)
        with compress(model, tiny.method("sample", KEEP)):
            ids = model.generate(**inputs, max_new_tokens=2, do_sample=False)
            output = model.generate(
                **inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True, output_logits=True
            )
        assert torch.equal(output.sequences, ids)
        assert len(output.logits) == 2

    @torch.no_grad()
    def test_positional_arguments_and_tuples_work_as_without_compression(self, model):
        inputs = tiny.inputs(2)
        method = tiny.method("sample", KEEP)
        with compress(model, method):
            expected = model(**inputs).logits
            positional = model(inputs["input_ids"], inputs["pixel_values"], inputs["attention_mask"], return_dict=False)
        assert torch.equal(positional[0], expected)

    @torch.no_grad()
    def test_padding_that_every_row_has_stays_when_everything_is_kept(self, model):
        inputs = tiny.inputs(2, "right")
        padding = torch.zeros(2, 5, dtype=torch.long)
        inputs |= {key: torch.cat([inputs[key], padding], 1) for key in ("input_ids", "attention_mask")}
        plain = model(**inputs).logits
        with compress(model, tiny.method("sample", 1.0)):
            assert torch.equal(model(**inputs).logits, plain)

    @torch.no_grad()
    def test_given_positions_are_gathered_at_the_anchors(self, model):
        inputs = tiny.inputs(1)
        given = torch.arange(inputs["input_ids"].shape[1])[None] + 7
        with compress(model, tiny.method("sample", KEEP), positions="original"):
            shifted = model(**inputs, position_ids=given).logits
            close(shifted, model(**inputs).logits, ROTARY)  # rotary positions are relative
            stretched = model(**inputs, position_ids=given * 2).logits
        assert (stretched - shifted).abs().max() > 1e-3


class TestRefusals:
    def test_a_compressor_for_another_width(self, model):
        wrong = tiny.method("metacompress", KEEP, width=16)
        for use in (compress, Session):
            with pytest.raises(ValueError, match="width 16, the model's is 32"):
                use(model, wrong)
        assert "generate" not in model.__dict__

    def test_a_cue_the_family_lacks(self, model):
        class Curious(type(tiny.method("sample"))):
            needs = frozenset({"encoder attention"})

        with pytest.raises(ValueError, match="needs encoder attention, which models of type 'llava' do not give"):
            compress(model, Curious(keep=0.5))

    def test_a_model_of_no_family(self):
        with pytest.raises(TypeError, match="got Linear"):
            compress(torch.nn.Linear(2, 2), tiny.method("sample"))

    def test_a_text_model(self, model):
        with pytest.raises(ValueError, match="no support for models of type 'llama'; supported types: "):
            compress(model.model.language_model, tiny.method("sample"))

    def test_embeddings_instead_of_ids(self, model):
        inputs = tiny.inputs()
        ids = inputs.pop("input_ids")
        inputs["inputs_embeds"] = model.get_input_embeddings()(ids)
        with compress(model, tiny.method("sample")):
            for call in (model, model.generate):
                with pytest.raises(ValueError, match="given as input_ids"):
                    call(**inputs)

    def test_fewer_images_than_placeholders(self, model):
        inputs = tiny.inputs(2)
        with compress(model, tiny.method("sample")), pytest.raises(ValueError, match="for 108 placeholders"):
            model(**{**inputs, "pixel_values": inputs["pixel_values"][:2]})

    def test_more_tokens_than_the_image_has(self, model):
        with compress(model, tiny.method("sample", 37)), pytest.raises(ValueError, match="cannot keep 37 of 36"):
            model(**tiny.inputs())

    def test_an_image_in_front_of_a_filled_cache(self, model):
        inputs = tiny.inputs()
        with compress(model, tiny.method("sample", KEEP)):
            first = model(**inputs, use_cache=True)
            past = first.past_key_values
            for call in (model, model.generate):
                mask = torch.ones(1, past.get_seq_length() + inputs["input_ids"].shape[1], dtype=torch.long)
                with pytest.raises(ValueError, match=r"pinhole\.Chat"):
                    call(**{**inputs, "attention_mask": mask}, past_key_values=past)

    def test_a_method_that_breaks_its_own_announcement(self, model):
        class Liar(type(tiny.method("sample"))):
            def reduce(self, image):
                return Reduction.identity(image.n)

        with compress(model, Liar(keep=0.5)), pytest.raises(AssertionError, match="announced 18 tokens"):
            model(**tiny.inputs())


@methods
def test_a_static_cache_gives_the_same_answers(model, name):
    inputs, limits = tiny.inputs(2), {"max_new_tokens": 5, "do_sample": False}
    with compress(model, tiny.method(name, KEEP)):
        dynamic, static = (
            model.generate(**inputs, **limits, **more) for more in ({}, {"cache_implementation": "static"})
        )
    assert torch.equal(dynamic, static)
