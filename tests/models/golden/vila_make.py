"""Makes golden/vila.json and golden/vila.safetensors: what the public code of VILA-1.5 computes.

The public code is NVlabs/VILA, branch vila1.5, commit 6b941da19e31ddfdfaa60160908ccf0978d96615, with transformers
4.36.2 and its own files copied over it, as its environment_setup.sh says, torch 2.13 on a CPU, float32. Packages that
are not needed for a SigLIP model (s2wrapper, and the modules of the other vision towers) are replaced by empty modules,
and flash_attn by attention written in torch. The conversations of the "Fix" release of the 8B model come from
llava/conversation.py of commit 8f60a53b6f8918bb3212dd020831b10a4e7b2bce, which published it.

    python vila_make.py write FOLDER                        # with Pinhole and tests/ on the path: the checkpoints
    python vila_make.py run FOLDER PUBLIC CONVERSATION      # in the public code's environment; PUBLIC is its checkout,
                                                            # CONVERSATION the newer conversation.py
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
CASES = {
    "square": (["square"], "What is shown in the first image?"),
    "wide": (["wide"], "Please describe the traffic condition.\nAnswer with one word."),
    "tall": (["tall"], "How many people are there?"),
    "two": (["wide", "tall"], "Compare the two pictures. (Zürich, 10:25)"),
    "none": ([], "Name the colour of the car."),
}
"""Name: the pictures of the first question, and its words."""


def write(folder: Path) -> None:
    """The checkpoints and pictures that the public code then reads."""
    from models.vila_original import CHECKPOINTS, golden_pictures, write_original

    for kind in CHECKPOINTS:
        llm = write_original(folder / kind, kind) / "llm"
        if kind != "llama_3":
            shutil.copy(HERE / "vila_tokenizer.model", llm / "tokenizer.model")
    for name, image in golden_pictures().items():
        image.save(folder / f"{name}.png")


class _Empty(types.ModuleType):
    """A module that has every name, and whose names do nothing."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _attend(q: Any, k: Any, v: Any, dropout: float = 0.0, softmax_scale: Any = None, causal: bool = True) -> Any:
    """flash_attn_func: (B, L, H, D) tensors."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, is_causal=causal, scale=softmax_scale, enable_gqa=True).transpose(1, 2)


def _import_public(public: Path) -> None:
    encoders = "llava.model.multimodal_encoder"
    names = f"s2wrapper flash_attn flash_attn.bert_padding {encoders}.radio_encoder {encoders}.intern_encoder"
    for name in names.split():
        sys.modules[name] = _Empty(name)
        sys.modules[name].__spec__ = importlib.util.spec_from_loader(name, None)
    sys.modules["flash_attn"].flash_attn_func = _attend
    sys.path.insert(0, str(public))


def _import_file(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prompt(conversation: Any, mode: str, questions: list[str], answers: list[str], closed: bool = False) -> str:
    """The text of a dialogue, up to where the next answer starts, or, where closed, with the last answer."""
    template = conversation.conv_templates[mode].copy()
    template.messages = []
    for question, answer in zip(questions, [*answers, *([] if closed else [None])], strict=True):
        template.append_message(template.roles[0], question)
        template.append_message(template.roles[1], answer)
    return template.get_prompt()


def _conversations(old: Any, new: Any) -> dict[str, list[str]]:
    """For each template: one question with an image, two with an answer between, and the same answered."""
    questions, answers = ["<image>\nWhat is it?", "Why?"], ["A dog.", "It barks."]
    made = {}
    for name, module, mode in (
        ("vicuna_v1", old, "vicuna_v1"),
        ("llama_3", new, "llama_3"),
        ("llama_3_first", old, "llama_3"),
    ):
        made[name] = [
            _prompt(module, mode, questions[:1], []),
            _prompt(module, mode, questions, answers[:1]),
            _prompt(module, mode, questions, answers, closed=True),
        ]
    return made


def run(folder: Path, public: Path, newer: Path) -> None:
    """Run the public code, and write vila.json and vila.safetensors beside this file, all numbers into `folder`."""
    _import_public(public)
    import sentencepiece
    from llava import conversation, mm_utils
    from llava.model import LlavaLlamaConfig, LlavaLlamaModel
    from PIL import Image
    from safetensors.torch import save_file

    new = _import_file(newer)
    texts: dict[str, Any] = {"conversations": _conversations(conversation, new), "prompts": {}}
    modes = {"vicuna": (conversation, "vicuna_v1"), "llama_3": (new, "llama_3")}
    full, golden = {}, {}
    for kind in ("vicuna", "llama_3", "mlp2x", "linear"):
        config = LlavaLlamaConfig.from_pretrained(folder / kind)
        config.model_dtype, config.resume_path = "torch.float32", str(folder / kind)
        model = LlavaLlamaModel(config).eval()
        source, mode = modes.get(kind, modes["vicuna"])
        texts["prompts"][kind] = {}
        if kind in modes:
            dialogue = texts["conversations"][mode][1]
            ids = mm_utils.tokenizer_image_token(dialogue, model.tokenizer)
            texts["prompts"][kind]["dialogue"] = {"text": dialogue, "ids": ids}
        for case, (names, words) in CASES.items():
            pictures = [Image.open(folder / f"{name}.png").convert("RGB") for name in names]
            prompt = _prompt(source, mode, ["<image>\n" * len(names) + words], [])
            ids = mm_utils.tokenizer_image_token(prompt, model.tokenizer, return_tensors="pt")[None]
            pixels = None
            if pictures:
                pixels = mm_utils.process_images(pictures, model.vision_tower.image_processor, model.config)
            with torch.no_grad():
                logits = model(ids, images=None if pixels is None else [pixels], attention_mask=torch.ones_like(ids))
                features = None if pixels is None else model.encode_images(pixels)
            full[f"{kind}.{case}.logits"] = logits.logits[0].clone()
            if kind in modes or case == "two":
                texts["prompts"][kind][case] = {"text": prompt, "ids": ids[0].tolist()}
                golden[f"{kind}.{case}.logits"] = logits.logits[0, [len(logits.logits[0]) // 2, -8, -1]].clone()
            for i in range(len(names)):
                full[f"{kind}.{case}.features.{i}"] = features[i].clone()
                full[f"{kind}.{case}.pixels.{i}"] = pixels[i].clone()
                if case == "two":
                    golden[f"{kind}.{case}.features.{i}"] = features[i].clone()
                    golden[f"{kind}.{case}.pixels.{i}"] = pixels[i, :, ::5, ::5].clone()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "vila_tokenizer.model"))
    texts["pieces"] = [pieces.id_to_piece(i) for i in range(len(pieces))]
    save_file(full, folder / "full.safetensors")
    save_file(golden, HERE / "vila.safetensors")
    (HERE / "vila.json").write_text(
        json.dumps(texts, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    {"write": write, "run": run}[sys.argv[1]](*map(Path, sys.argv[2:]))
