"""Trains the LVLM that knows both embedded worlds: `python runs/train_signs_lvlm.py --out DIR`.

It begins with the LVLM that Pinhole ships for the first world, adds rows for the words of the second to its
embeddings, and goes through both stages of `embedded_training` with pictures of the two worlds. In stage 1 half of the
second world's pictures are full of signs or charts.

The shipped checkpoint was made in several sittings on a part of one core without bf16, while the world was being
found: 450 steps of stage 1 without charts in the full pictures; in stage 2, which had two pictures of the first world
to five of the second, bars of any height and no text on charts among the dense labels, which had weight 0.3, up to step
300; the ranks of bars as their text, and weight 0.6, up to 600; then bars of five heights, "on the chart" in the
question of how many there are, 160 steps of stage 1 with charts and a rate of 1.2e-3, and stage 2 up to 750; at last
three pictures to four, weight 1 and a falling rate up to step 1080. From start to end, as it stands, it has not been
run yet.
"""

from __future__ import annotations

import torch
from embedded_lessons import READING, SHAPE_LESSONS, SIGN_LESSONS
from embedded_training import Course, arguments, train
from transformers import LlavaForConditionalGeneration

from pinhole.scenes import checkpoint
from pinhole.scenes.build import SIGNS_VOCABULARY, build_model, build_processor


@torch.no_grad()
def extended() -> LlavaForConditionalGeneration:
    """The first world's LVLM with more words."""
    model, known = build_model(SIGNS_VOCABULARY), LlavaForConditionalGeneration.from_pretrained(checkpoint())
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=model.config.text_config.hidden_size**-0.5)
    for (name, tensor), before in zip(model.state_dict().items(), known.state_dict().values(), strict=True):
        assert tensor.shape[1:] == before.shape[1:], name
        tensor[: len(before)] = before
    return model


def main() -> None:
    args = arguments(
        __doc__,
        patch_steps=600,
        patch_batch=32,
        patch_lr=1.5e-3,
        steps=1200,
        decay=400,
        batch=14,
        caption_steps=300,
        captions=0.2,
        patch_weight=1.0,
        lr=7e-4,
        save_every=150,
    )
    torch.manual_seed(0)
    to_see = Course((SHAPE_LESSONS, SIGN_LESSONS, READING), (2, 3, 3))
    train(extended(), args, to_see, Course((SHAPE_LESSONS, SIGN_LESSONS), (3, 4)))
    build_processor(SIGNS_VOCABULARY).save_pretrained(args.out / "checkpoint")


if __name__ == "__main__":
    main()
