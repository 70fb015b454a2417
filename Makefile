# Each target works on a fresh clone: .venv is made from the requirements when missing.
PYTHON ?= python3
VENV := .venv/bin
RUN := runs/demo

setup: .venv/ready

.venv/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Trains for about four minutes, shows what came of it, then draws harder sentences with
# the weights that the project ships.
demo: .venv/ready
	rm -rf $(RUN)
	$(VENV)/python train.py --config=configs/demo.py --workdir=$(RUN)
	$(VENV)/python sample.py --workdir=$(RUN) --prompts=configs/prompts/easy.txt --num=4 \
	  --out=$(RUN)/pictures.png
	$(VENV)/python sample.py --workdir=weights/shapes --prompts=configs/prompts/hard.txt \
	  --num=4 --out=$(RUN)/harder.png

test: .venv/ready
	$(VENV)/python -m pytest -q -n 2

# The tests that are too long for every time: each paper's config trains and draws, and
# Apache Beam, which is large.
long: .venv/beam
	$(VENV)/python -m pytest -q -n 2 --dist load -m long

.venv/beam: .venv/ready requirements-beam.txt
	$(VENV)/python -m pip install --quiet --disable-pip-version-check -r requirements-beam.txt
	touch $@

# What a user waits for, and our networks beside diffusers' where TORCH_PYTHON has it:
# today's rows, each with the one that benchmarks/README.md keeps.
TORCH_PYTHON ?= $(VENV)/python
bench: .venv/ready
	$(VENV)/python benchmarks/start.py
	$(VENV)/python benchmarks/against_torch.py --torch_python=$(TORCH_PYTHON)

# The documentation as a site, runs/site; a broken link ends it.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --quiet

.venv/docs: .venv/ready requirements-docs.txt
	$(VENV)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

lint: .venv/ready
	$(VENV)/ruff check .

.PHONY: setup demo test long bench docs lint
