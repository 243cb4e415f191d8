"""Writes the embedded LVLM as a LLaVA-NeXT that sees a picture twice: whole, and as four tiles at twice the resolution.

    python runs/embedded_tiles.py FOLDER

The weights are those that Pinhole ships; nothing is trained. The newline behind each row of tiles is a token of zeros.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
)

from pinhole.loading import EMBEDDED, load
from pinhole.scenes.world import SIDE


def main() -> None:
    folder = Path(sys.argv[1])
    model, processor = load(EMBEDDED)
    pinpoints = [[2 * SIDE, 2 * SIDE]]
    told = model.config.to_dict()
    names = ("vision_config", "text_config", "image_token_index", "vision_feature_layer", "tie_word_embeddings")
    config = LlavaNextConfig(
        **{name: told[name] for name in names},
        vision_feature_select_strategy="default",
        image_grid_pinpoints=pinpoints,
    )
    tiled = LlavaNextForConditionalGeneration(config)
    missing, unexpected = tiled.load_state_dict(model.state_dict(), strict=False)
    assert missing == ["model.image_newline"], missing
    assert not unexpected, unexpected
    with torch.no_grad():
        tiled.model.image_newline.zero_()
    tiled.generation_config = model.generation_config
    tiled.save_pretrained(folder)
    given = processor.image_processor.to_dict()
    names = ("size", "crop_size", "image_mean", "image_std", "do_center_crop", "resample")
    LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            **{name: given[name] for name in names if name in given}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=processor.tokenizer,
        patch_size=processor.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=processor.chat_template,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
