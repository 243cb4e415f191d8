"""InternLM2's SentencePiece model as a fast tokenizer, without the checkpoint's own code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from pinhole.models.xcomposer2.processing import IMAGE_TOKEN

TURN_START, TURN_END = "[UNUSED_TOKEN_146]", "[UNUSED_TOKEN_145]"
SPARE = "[UNUSED_TOKEN_140]"
"""A piece that nothing was trained on: its id becomes the image token's."""

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4


def load_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a `tokenizer.model`, with `<ImageHere>` as one token, in a spare id or else in a new one.

    A prompt starts with `<s>` unless `add_special_tokens=False`; padding is `</s>`.

    Raises:
        ImportError: sentencepiece or protobuf is not installed.
        ValueError: not a byte-level BPE without a dummy prefix.
    """
    proto = _read(file)
    spec = proto.trainer_spec
    if spec.model_type != spec.BPE or not spec.byte_fallback or proto.normalizer_spec.add_dummy_prefix:
        raise ValueError(
            f"{file} is no InternLM2 tokenizer: expected BPE with byte fallback and without a dummy prefix"
        )
    pieces = [IMAGE_TOKEN if piece.piece == SPARE else piece.piece for piece in proto.pieces]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = _merges({piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL}, vocabulary)
    unknown = pieces[spec.unk_id]
    backend = Tokenizer(BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = {unknown, TURN_START, TURN_END, IMAGE_TOKEN} | {p.piece for p in proto.pieces if p.type == _CONTROL}
    whole = [p for p, known in zip(pieces, proto.pieces, strict=True) if p in special or known.type == _USER_DEFINED]
    backend.add_tokens(
        [
            AddedToken(piece, normalized=False, special=piece in special)
            for piece in dict.fromkeys([*whole, IMAGE_TOKEN])
        ]
    )
    bos, eos = pieces[spec.bos_id], pieces[spec.eos_id]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, spec.bos_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        pad_token=eos,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _read(file: Path) -> Any:
    try:
        schema = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    except ImportError as error:
        raise ImportError(f"{file} is a SentencePiece model: to read it, pip install sentencepiece protobuf") from error
    proto = schema.ModelProto()
    proto.ParseFromString(file.read_bytes())
    return proto


def _merges(scores: dict[str, float], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two, best score first: the order in which SentencePiece merges."""
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                found.append((-score, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
