"""How far P of a compressor is from the best P for each picture, both with as many tokens: MetaCompress's Algorithm 2.

    python runs/fidelity_ceiling.py PLAIN WHOLE [--made out/fidelity] [--pictures 12] [--learned 10] [--steps 200]

PLAIN is a folder of `pinhole` without a correction, WHOLE one with it, at a tenth of the tokens. For each picture P is
fitted to the answers of further dialogues about it by Adam, from the P of PLAIN and from noise, and asked in three
dialogues that it was not fitted to, the reference answers as history: the KL divergence from the uncompressed model's
answers, and how many of the answers are right in every token. It writes `made/ceiling.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinhole.data import Dialogue, Turn
from pinhole.evaluation.results import save
from pinhole.evaluation.statistics import mean_interval
from pinhole.families import family_of
from pinhole.loading import EMBEDDED, load
from pinhole.method import InputMethod
from pinhole.methods.full import Full
from pinhole.methods.pinhole import Pinhole
from pinhole.progress import tracked
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import Scene, make_scene, render
from pinhole.training.examples import batch_of
from pinhole.training.free_p import FreeP
from pinhole.training.objectives import forward_kl
from pinhole.training.teacher import answer_outputs

ROOT = Path(__file__).parents[1]
KEEP, TURNS, HELD, RATE = 0.1, 3, 3, 0.1
NAMES = {
    "Full": "uncompressed",
    "plain": "P of the compressor",
    "fitted": "P fitted to the picture, from there",
    "noise": "P fitted to the picture, from noise",
    "whole": "P X + C of the compressor",
}


class Asked:
    """Dialogues about one picture, and what the uncompressed model says in them."""

    def __init__(self, model: Any, processor: Any, scene: Scene, numbers: range) -> None:
        picture, dialogues = render(scene), []
        for number in numbers:
            if questions := dialogue(scene, TURNS, number):
                turns = tuple(Turn(question.text, question.answer) for question in questions)
                dialogues.append(Dialogue(f"{scene.name}-{number}", (picture,), turns))
        self.family, self.inputs = family_of(model), batch_of(model, processor, dialogues)
        with torch.no_grad():
            self.visuals, _ = self.family.encode(self.inputs)
            self.expected = self.said(Full())

    def said(self, method: InputMethod) -> torch.Tensor:
        """(T, V) log-probabilities at the answers' tokens."""
        return answer_outputs(self.family, self.inputs, method, self.visuals).log_probs

    def loss(self, method: InputMethod) -> torch.Tensor:
        """KL from the uncompressed model's answers, in nats a token."""
        return forward_kl(self.expected, self.said(method))

    @torch.no_grad()
    def score(self, method: InputMethod) -> dict[str, float]:
        """The KL, and the share of answers that are right in every token."""
        said, labels = self.said(method), self.inputs["labels"]
        spoken = labels != -100
        begins = spoken & ~spoken.roll(1, 1)
        answer = begins.flatten().cumsum(0)[spoken.flatten()] - 1
        wrong = (said.argmax(-1) != labels[spoken]).long()
        wrong = wrong.new_zeros(int(answer.max()) + 1).index_add(0, answer, wrong)
        return {"kl": float(forward_kl(self.expected, said)), "right": float((wrong == 0).float().mean())}


def fitted(learned: Asked, method: FreeP, steps: int) -> FreeP:
    """The same P after Adam's steps on these dialogues."""
    learned.loss(method)
    optimizer = torch.optim.Adam(method.raw.values(), RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        learned.loss(method).backward()
        optimizer.step()
    return method


def one_picture(
    model: Any, processor: Any, scene: Scene, compressors: tuple[Pinhole, Pinhole], learned: int, steps: int
) -> dict[str, dict[str, float]]:
    """The scores of everything in the dialogues that nothing was fitted to."""
    plain, whole = compressors
    held = Asked(model, processor, scene, range(HELD))
    known = Asked(model, processor, scene, range(HELD, HELD + learned))
    image = known.visuals[0].tokens
    from_plain = FreeP(KEEP)
    with torch.no_grad():
        p = plain.reduce(image).weights
    assert p is not None
    from_plain.raw[image.fingerprint] = p.clamp_min(1e-6).log().requires_grad_()
    methods = {
        "Full": Full(),
        "plain": plain,
        "fitted": fitted(known, from_plain, steps),
        "noise": fitted(known, FreeP(KEEP), steps),
        "whole": whole,
    }
    return {name: held.score(method) for name, method in methods.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path)
    parser.add_argument("whole", type=Path)
    parser.add_argument("--made", type=Path, default=ROOT / "out" / "fidelity")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--learned", type=int, default=10, help="dialogues that P is fitted to")
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    model, processor = load(EMBEDDED, device="cpu", dtype="float32")
    model.requires_grad_(False)
    compressors = (Pinhole.from_pretrained(given.plain), Pinhole.from_pretrained(given.whole))
    found = []
    for index in tracked(range(given.pictures), "fitting"):
        scene = make_scene("test", index)
        if dialogue(scene, TURNS):
            found.append(one_picture(model, processor, scene, compressors, given.learned, given.steps))
    asked = np.ones(len(found))
    rows = []
    for name, label in NAMES.items():
        row: dict[str, Any] = {"name": label}
        for what in ("kl", "right"):
            values = np.array([one[name][what] for one in found])
            row[what], row[f"{what}_ci95"] = values.mean(), mean_interval(values, asked)
        rows.append(row)
    told = {"keep": KEEP, "pictures": len(found), "learned": given.learned, "steps": given.steps, "held": HELD}
    save(given.made / "ceiling.json", {**told, "rows": rows})


if __name__ == "__main__":
    main()
