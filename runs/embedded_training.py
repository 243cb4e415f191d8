"""How the embedded LVLMs are trained: patch by patch, and then to answer. `train_embedded_lvlm.py` and
`train_signs_lvlm.py` are two uses of it.

First the CLIP tower and the projector learn, patch by patch, the words of what each patch shows: the projector's
output is pulled to the (tied) word embeddings of the thing, its colour and its text, and linear heads must read the
thing's centre from it. Then the whole model learns to answer: each sequence is one picture and many questions, more of
those kinds that are still hard; at first every sequence starts with captions that list every thing, its attributes in
a random, prompted order. The captions are what teaches attention to bind the attributes of one thing together. The
dense labels stay in the second stage: without them the tower forgets the texts.

The state is saved every `--save-every` steps; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from embedded_lessons import HUES, ID, LETTERS, TEXTS, THINGS, VISUAL, Lessons
from transformers.modeling_outputs import BaseModelOutputWithPooling

Turn = tuple[list[int], list[int], int]
"""Question and answer as token ids, and the kind."""


@dataclass(frozen=True)
class Course:
    """Worlds, and how many of `--batch` scenes are of each: in proportion to its share."""

    lessons: tuple[Lessons, ...]
    shares: tuple[int, ...]

    @property
    def kinds(self) -> list[str]:
        return [f"{lessons.name}.{kind}" for lessons in self.lessons for kind in lessons.world.kinds]

    def batch(self, first: int, size: int) -> list[tuple[Lessons, Any]]:
        """Training scenes, from number `first` on."""
        chosen = [lessons for lessons, share in zip(self.lessons, self.shares, strict=True) for _ in range(share)]
        numbered = [(chosen[i % len(chosen)], i) for i in range(first, first + size)]
        return [(lessons, lessons.world.make_scene("train", i)) for lessons, i in numbered]


def arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the training state")
    parser.add_argument("--patch-steps", type=int, default=1600)
    parser.add_argument("--patch-batch", type=int, default=48)
    parser.add_argument("--patch-lr", type=float, default=2e-3)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decay", type=int, default=1500, help="how many of the steps lower the learning rate to 0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--questions", type=int, default=12, help="turns in a sequence")
    parser.add_argument("--caption-steps", type=int, default=1500, help="steps in which every sequence starts with one")
    parser.add_argument("--captions", type=float, default=0.15, help="share of batches with captions after that")
    parser.add_argument("--patch-weight", type=float, default=0.3, help="of the dense labels in stage 2")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--save-every", type=int, default=500)
    parser.set_defaults(**defaults)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def train(
    model,
    args: argparse.Namespace,
    to_see: Course,
    to_answer: Course,
    between: Callable[[Any], None] | None = None,
) -> None:
    """Both stages, from the state in `args.out` where there is one; `between` changes the model between them."""
    model.model.vision_tower.set_attn_implementation("eager")  # twice as fast as SDPA's backward pass on processors
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    patch_loss = PatchLoss(model)
    patches = args.out / "patches.pt"
    if not patches.exists():
        learn_patches(model, patch_loss, to_see, args)
        torch.save({"model": model.state_dict(), "measures": patch_loss.measures.state_dict()}, patches)
    seen = torch.load(patches, weights_only=True)
    model.load_state_dict(seen["model"])
    patch_loss.measures.load_state_dict(seen["measures"])
    if between:
        between(model)
    learn_answers(model, patch_loss, to_answer, args, args.out / "answers.pt")
    model.eval().save_pretrained(args.out / "checkpoint")


def fast() -> torch.autocast:
    """bf16 where the processor computes in it; elsewhere that would be ten times slower than float32."""
    able = {"avx512_bf16", "amx_bf16"} & {name for name, there in torch.cpu.get_capabilities().items() if there}
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(able))


def pictures(scenes: Sequence[tuple[Lessons, Any]]) -> torch.Tensor:
    pixels = np.stack([np.asarray(lessons.world.render(scene)) for lessons, scene in scenes])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def words(text: str) -> list[int]:
    return [ID[word] for word in text.lower().replace("?", " ?").split()]


def sequence(turns: Sequence[Turn]) -> tuple[list[int], list[int], list[int]]:
    """Token ids, labels (-100 where nothing is asked) and the kind of each label (-1 for none, -2 for the end)."""
    ids, labels, kinds = [ID["<s>"]], [-100], [-1]
    for number, (question, answer, kind) in enumerate(turns):
        head = [ID["USER:"], *([ID["<image>"]] * VISUAL if number == 0 else []), *question, ID["ASSISTANT:"]]
        ids += [*head, *answer, ID["</s>"]]
        labels += [-100] * len(head) + [*answer, ID["</s>"]]
        kinds += [-1] * len(head) + [kind] * len(answer) + [-2]
    return ids, labels, kinds


def training_turns(
    lessons: Lessons, scene: Any, rng: random.Random, count: int, with_caption: bool, weights: dict[str, float]
) -> list[Turn]:
    """Questions for one sequence; a kind that `weights` favours comes more often."""
    turns: list[Turn] = []
    names = list(weights)
    if with_caption:
        turns += [(words(asked), words(said), len(names)) for asked, said in lessons.captions(scene, rng)]
        count -= 5
    seen: set[str] = set()
    for _ in range(4 * count):
        order = sorted(lessons.world.kinds, key=lambda kind: rng.expovariate(weights[f"{lessons.name}.{kind}"]))
        question = lessons.ask(scene, rng, kinds=order)
        if question is None or len(turns) == count or question.text in seen:
            continue
        seen.add(question.text)
        kind = names.index(f"{lessons.name}.{question.kind}")
        turns.append((words(question.text), words(question.answer), kind))
    return turns


def batch_of(rows: list[tuple[list[int], list[int], list[int]]]) -> list[torch.Tensor]:
    length = max(len(row[0]) for row in rows)
    fill = (ID["<pad>"], -100, -1)
    return [torch.tensor([row[part] + [fill[part]] * (length - len(row[part])) for row in rows]) for part in range(3)]


def answer_logits(model, features, ids, labels):
    """Logits at the places that predict a label, and those labels. Rows are padded on the right: no mask needed."""
    seen = {"image": BaseModelOutputWithPooling(pooler_output=list(features))}
    with fast():
        hidden = model.model(input_ids=ids, mm_encoder_outputs=seen, use_cache=False).last_hidden_state
    wanted = labels[:, 1:] != -100
    return model.lm_head(hidden[:, :-1][wanted].float()), labels[:, 1:][wanted], wanted


@torch.no_grad()
def validate(model, lessons: Lessons, count: int) -> dict[str, float]:
    """Teacher-forced accuracy per kind on validation dialogues: a turn counts when all its words are right."""
    model.eval()
    right, asked = Counter(), Counter()
    scenes = [lessons.world.make_scene("validation", i) for i in range(count)]
    found = [(scene, questions) for scene in scenes if (questions := lessons.world.dialogue(scene))]
    for start in range(0, len(found), 50):
        part = found[start : start + 50]
        rows = []
        for _, questions in part:
            turns = [(words(q.text), words(q.answer), n) for n, q in enumerate(questions)]
            rows.append(sequence(turns))
        ids, labels, kinds = batch_of(rows)
        features = see(model, [(lessons, scene) for scene, _ in part])
        logits, target, wanted = answer_logits(model, features, ids, labels)
        correct = torch.ones_like(wanted)
        correct[wanted] = logits.argmax(-1) == target
        for row, (_, questions) in enumerate(part):
            for turn, question in enumerate(questions):
                asked[question.kind] += 1
                right[question.kind] += bool(correct[row][kinds[row, 1:] == turn].all())
    model.train()
    scores = {kind: right[kind] / max(asked[kind], 1) for kind in lessons.world.kinds}
    return {"all": right.total() / asked.total(), **scores}


class PatchLoss(torch.nn.Module):
    """How far the projector's output is from the words of what each patch shows, and from the thing's measures."""

    def __init__(self, model) -> None:
        super().__init__()
        self.embedding = model.get_input_embeddings()
        self.measures = torch.nn.Linear(self.embedding.weight.shape[1], 4 + 1 + len(LETTERS))
        rows = len(self.embedding.weight)
        ids = [[ID[word] for word in words] for words in (THINGS, HUES, TEXTS)]
        self.classes = [torch.tensor([i for i in column if i < rows]) for column in ids]

    def forward(
        self, features: torch.Tensor, scenes: Sequence[tuple[Lessons, Any]]
    ) -> tuple[torch.Tensor, list[float]]:
        """The loss for `features` (B, VISUAL, d), and what share of letters, things, colours and texts is right."""
        labels = torch.from_numpy(np.stack([lessons.patches(scene) for lessons, scene in scenes])).flatten(0, 1)
        features = features.float().flatten(0, 1)
        there = labels[:, 0] > 0
        guess = self.measures(features)
        loss = F.mse_loss(guess[there, :2], labels[there, 3:5])
        loss = loss + F.mse_loss(guess[there, 3], labels[there, 6])
        loss = loss + 3 * F.binary_cross_entropy_with_logits(guess[:, 2], labels[:, 5])
        loss = loss + F.cross_entropy(guess[:, 4:], labels[:, 7].long())
        hits = [(guess[:, 4:].argmax(-1) == labels[:, 7])[labels[:, 7] > 0].float().mean().item()]
        for column, ids in enumerate(self.classes):
            logits, target = 4 * features @ self.embedding.weight.detach()[ids].T, labels[:, column].long()
            weight = torch.ones(len(ids))
            if column == 2:
                weight[1:] = 4.0
            loss = loss + F.cross_entropy(logits, target, weight=weight)
            hits.append((logits.argmax(-1) == target)[target > 0].float().mean().item())
        return loss, hits


def see(model, scenes: Sequence[tuple[Lessons, Any]]) -> torch.Tensor:
    """The visual tokens (B, VISUAL, d) of these scenes' pictures."""
    with fast():
        return torch.stack(list(model.model.get_image_features(pixel_values=pictures(scenes)).pooler_output))


def learn_patches(model, patch_loss: PatchLoss, course: Course, args: argparse.Namespace) -> None:
    """Stage 1: tower and projector, against dense labels."""
    parameters = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimizer = torch.optim.AdamW([*parameters, *patch_loss.measures.parameters()], lr=args.patch_lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.patch_lr, total_steps=args.patch_steps, pct_start=0.1
    )
    start = time.time()
    for step in range(args.patch_steps):
        scenes = course.batch(step * args.patch_batch, args.patch_batch)
        loss, hits = patch_loss(see(model, scenes), scenes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            rates = "letter {:.3f} thing {:.3f} color {:.3f} text {:.3f}".format(*hits)
            print(f"patches {step + 1} {time.time() - start:.0f}s loss {loss.item():.3f} {rates}", flush=True)


def learn_answers(model, patch_loss: PatchLoss, course: Course, args: argparse.Namespace, state_file: Path) -> None:
    """Stage 2: the whole model, on captions and questions; the dense labels stay, or the tower forgets the texts."""
    vision = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    language = [*model.model.language_model.parameters()]
    groups = [
        {"params": language, "peak": args.lr},
        {"params": [*vision, *patch_loss.measures.parameters()], "peak": args.lr / 2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        patch_loss.measures.load_state_dict(state["measures"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    start, right, asked = time.time(), Counter(), Counter()
    weights = dict.fromkeys(course.kinds, 1.0)
    for step in range(first, args.steps):
        rng = random.Random(f"embedded LVLM/{step}")
        scenes = course.batch(1_000_000 + step * args.batch, args.batch)
        with_caption = step < args.caption_steps or rng.random() < args.captions
        turns = [training_turns(*s, rng, args.questions, with_caption, weights) for s in scenes]
        ids, labels, kinds = batch_of([sequence(t) for t in turns])
        scale = min(1, (step + 1) / 200, (args.steps - step) / args.decay)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * max(scale, 0.01)
        features = see(model, scenes)
        logits, target, wanted = answer_logits(model, features, ids, labels)
        kind = kinds[:, 1:][wanted]
        weight = torch.where(kind == -2, 0.1, torch.where(kind == len(weights), 0.5, 1.0))
        seen, hits = patch_loss(features, scenes)
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        (loss + args.patch_weight * seen).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        correct = logits.argmax(-1) == target
        for k, name in enumerate([*weights, "caption"]):
            right[name] += int(correct[kind == k].sum())
            asked[name] += int((kind == k).sum())
        if step % 100 == 99:
            rates = " ".join(f"{name} {right[name] / max(asked[name], 1):.3f}" for name in asked)
            took = f"{time.time() - start:.0f}s"
            print(f"answers {step + 1} {took} loss {loss.item():.3f} patch texts {hits[3]:.3f} {rates}", flush=True)
            weights = {name: 0.1 + 1 - right[name] / max(asked[name], 1) for name in weights}  # more of what is hard
            right, asked = Counter(), Counter()
        if step % args.save_every == args.save_every - 1 or step == args.steps - 1:
            for lessons in course.lessons:
                scores = " ".join(f"{name} {score:.3f}" for name, score in validate(model, lessons, 150).items())
                print(f"validation {step + 1} {lessons.name}: {scores}", flush=True)
            state = {
                "model": model.state_dict(),
                "measures": patch_loss.measures.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)
