PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := src tests tests_demo tests_lmms tests_serving runs

.PHONY: help quickstart learn tables bench docs demo-test lmms-test serving-test test contracts lint format lock clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

quickstart: $(VENV)/.installed  ## train MetaCompress on the embedded LVLM, compare it, write out/quickstart/report.html
	$(BIN)/pinhole quickstart --out out/quickstart

learn: $(VENV)/.installed  ## label, train and compare the systems that learn, on the embedded LVLM; writes out/learn/results.json
	runs/learn.sh

tables: $(VENV)/.installed  ## the papers' tables on the embedded LVLM; writes docs/tables.md and docs/results
	for table in runs/table_[0-9]*.sh runs/explainability_main.sh runs/adsc_main.sh; do $$table --embedded || exit 1; done

bench: $(VENV)/.installed  ## what methods cost on LLaVA-1.5-7B cut to two layers; writes out/bench/results.json
	rm -rf out/bench
	$(BIN)/pinhole bench --model llava-1.5-7b:layers=2 --methods full sample metacompress --keep 0.1 \
		--turns 2 --repeats 2 --tokens 2 --out out/bench

.venv-docs/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --editable '.[docs]' --constraint constraints.txt
	touch $@

docs: .venv-docs/.installed  ## the documentation as a site, in out/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-demo/.installed: pyproject.toml constraints.txt runs/demo_env.sh
	PYTHON=$(PYTHON) runs/demo_env.sh .venv-demo
	touch $@

demo-test: .venv-demo/.installed  ## the page of `pinhole demo` in a headless Chromium, in an environment of its own
	OMP_NUM_THREADS=1 .venv-demo/bin/python -m pytest tests_demo

.venv-lmms/.installed: pyproject.toml constraints.txt runs/lmms_env.sh
	runs/lmms_env.sh .venv-lmms
	touch $@

lmms-test: .venv-lmms/.installed  ## Pinhole as a model of the installed lmms-eval, in an environment of its own
	OMP_NUM_THREADS=1 .venv-lmms/bin/python -m pytest tests_lmms

.venv-serving/.installed: runs/serving_env.sh runs/serving_torchvision.py pyproject.toml
	PYTHON=$(PYTHON) runs/serving_env.sh .venv-serving
	touch $@

serving-test: .venv-serving/.installed  ## vLLM with the plug-in against transformers, in an environment of its own
	OMP_NUM_THREADS=1 .venv-serving/bin/python -m pytest tests_serving -n 2 --dist loadgroup

test: $(VENV)/.installed  ## the test suite, on two processes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not gpu and not contract'

contracts: $(VENV)/.installed  ## every method on every model family; writes docs/compatibility.md
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/contracts/test_cells.py -n 2 --cells docs/results/contracts.json
	$(BIN)/python runs/compatibility.py docs/results/contracts.json docs/compatibility.md

lint: $(VENV)/.installed  ## ruff and mypy
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy

format: $(VENV)/.installed  ## rewrite the code in the house style
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

lock:  ## renew constraints.txt from the newest releases that fit; torch stays where it is
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet '.[dev]' torch==2.13.0
	$(VENV)/lock/bin/pip freeze --exclude pinhole-vlm | sed 's/+cpu//' > constraints.txt
	rm -r $(VENV)/lock

clean:  ## everything that was made
	rm -rf $(VENV) .venv-demo .venv-docs .venv-lmms .venv-serving out .pytest_cache .mypy_cache .ruff_cache
