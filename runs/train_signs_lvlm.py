"""Trains the LVLM that knows both embedded worlds: `python runs/train_signs_lvlm.py --out DIR`.

It begins with the LVLM that Pinhole ships for the first world, adds rows for the words of the second to its
embeddings, and goes through both stages of `embedded_training` with pictures of the two worlds, five of the second to
two of the first.
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
        patch_steps=450,
        patch_batch=32,
        patch_lr=1.5e-3,
        steps=1700,
        decay=800,
        batch=14,
        caption_steps=300,
        lr=7e-4,
        save_every=300,
    )
    torch.manual_seed(0)
    to_see = Course((SHAPE_LESSONS, SIGN_LESSONS, READING), (2, 3, 3))
    train(extended(), args, to_see, Course((SHAPE_LESSONS, SIGN_LESSONS), (2, 5)))
    build_processor(SIGNS_VOCABULARY).save_pretrained(args.out / "checkpoint")


if __name__ == "__main__":
    main()
