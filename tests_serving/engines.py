"""Runs tiny engines of vLLM one after the other and writes what they answered: `python engines.py JOB.json OUT.json`.

A job has a list of engines: the model's folder, `overrides`, options, and rounds of requests. The requests of a round
are asked at once, the cache is emptied before each round that says so.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from dialogues import film, metadata, picture


def media(request: dict[str, Any], with_metadata: bool) -> dict[str, Any]:
    """A request's pictures and films as vLLM takes them."""
    found: dict[str, Any] = {}
    if request["images"]:
        found["image"] = [picture(*image) for image in request["images"]]
    if request["video"]:
        frames = film(*request["video"])
        about = {**metadata(len(frames)), "do_sample_frames": False}
        found["video"] = [(frames, about) if with_metadata else frames]
    return found


def measured(llm: Any) -> dict[str, Any]:
    """What memory profiling reads and leaves of the largest image, and the count vLLM reserves for it."""
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.encoder_budget import MultiModalBudget

    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    budget = MultiModalBudget(llm.llm_engine.vllm_config, MULTIMODAL_REGISTRY)
    dummy = runner._get_mm_dummy_batch("image", 1)
    model, read = runner.get_model(), []
    parent = type(model).reduced

    def reduced(inputs: dict[str, Any]) -> Any:
        modality, answers = parent(model, inputs)
        read.extend(reduction.n for reduction, _ in answers)
        return modality, answers

    model.reduced = reduced
    [tokens] = model.embed_multimodal(**dummy)
    del model.reduced
    return {"reserved": budget.mm_max_toks_per_item["image"], "read": read, "left": len(tokens)}


def run(engine: dict[str, Any]) -> dict[str, Any]:
    """One engine's answers, round by round."""
    import torch
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    settings = {"dtype": "float32", "enforce_eager": True, "max_model_len": 1024, "max_num_seqs": 4, "block_size": 32}
    llm = LLM(engine["model"], hf_overrides=engine["overrides"], **settings, **engine["options"])
    greedy = SamplingParams(temperature=0, max_tokens=engine["tokens"], ignore_eos=True)
    rounds = []
    for asked in engine["rounds"]:
        if asked["cold"]:
            assert llm.reset_prefix_cache()
        prompts = [
            {
                "prompt_token_ids": request["ids"],
                "multi_modal_data": media(request, engine["with_metadata"]),
            }
            for request in asked["requests"]
        ]
        answers = llm.generate(prompts, greedy, use_tqdm=False)
        rounds.append(
            [
                {
                    "tokens": list(answer.outputs[0].token_ids),
                    "prompt": len(answer.prompt_token_ids),
                    "cached": answer.num_cached_tokens,
                }
                for answer in answers
            ]
        )
    in_process = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"
    result = {"rounds": rounds, "profile": measured(llm) if in_process else None}
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    torch.set_default_dtype(torch.float32)
    cleanup_dist_env_and_memory()
    return result


if __name__ == "__main__":
    job, out = map(Path, sys.argv[1:])
    out.write_text(json.dumps([run(engine) for engine in json.loads(job.read_text())]))
