# The two commands a newcomer needs are `make demo` and `make test`; each does all of its own set-up.
PHOTO ?= tests/data/astronaut.jpg
PIPELINE ?= avatar_twin

.PHONY: help demo serve test test-all lint types setup setup-test clean

help:
	@echo "make demo [PHOTO=me.jpg]  one photo -> out/avatar.glb, out/preview.png, out/report.json; PIPELINE=NAME: by another"
	@echo "make serve                start the server and leave it running (Ctrl-C stops it)"
	@echo "make test                 lint, types and tests, against a real server (minutes)"
	@echo "make test-all             the same, and what is slow by nature (tens of minutes)"
	@echo "make clean                remove the virtual environment and build output (caches stay)"

demo: setup
	@.venv/bin/python scripts/demo "$(PHOTO)" --pipeline "$(PIPELINE)"

serve: setup
	@.venv/bin/facewright serve

test: setup-test
	@scripts/test

test-all: setup-test
	@scripts/test --all

lint: setup-test
	@scripts/lint

types: setup-test
	@scripts/types

setup:
	@scripts/setup

setup-test:
	@scripts/setup --test

clean:
	rm -rf .venv .venv-export out build *.egg-info client/*.egg-info .pytest_cache .mypy_cache .ruff_cache
