# `make help` prints every line of the form `target: ... ## text`.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: install
install: $(STAMP) ## Make .venv with the locked dependencies (Python 3.11 or 3.12; about 1.9 GB)

$(STAMP): requirements.lock pyproject.toml scripts/bootstrap.sh
	@PYTHON='$(PYTHON)' sh scripts/bootstrap.sh

.PHONY: versitygw
versitygw: ## Build versitygw, the S3 server that tests, soak and bench use where it is there (needs Go; about 2 minutes)
	@sh scripts/versitygw.sh

.PHONY: demo
demo: $(STAMP) ## Run the mortgage application on damaged registers; FILE=my.csv does it with a file of your own
	@$(PY) demo/run_demo.py $(if $(FILE),'$(FILE)')

.PHONY: ui
ui: $(STAMP) ## Open Dagster's web UI on http://127.0.0.1:3000 with sensors and schedules running; PORT=… for another
	@$(PY) scripts/run_ui.py $(if $(PORT),'$(PORT)')

.PHONY: test
test: $(STAMP) ## Run the whole suite: the embedded half, then Spark's (needs Java 17)
	@$(PY) scripts/run_tests.py

.PHONY: test-embedded
test-embedded: $(STAMP) ## Run the embedded half of the suite (needs no Java)
	@$(PY) scripts/run_tests.py --embedded

.PHONY: unit
unit: $(STAMP) ## Run the unit tests only
	@$(PY) -m pytest tests/unit

.PHONY: lint
lint: $(STAMP) ## Check style and types (the suite does the same)
	@$(PY) -m pytest tests/unit/test_lint.py

.PHONY: faults
faults: $(STAMP) ## Kill runs at every named place and at random, and compare with a run that nobody killed (about 10 minutes)
	@$(PY) -m tests.faults.run
	@FAULTS=all $(PY) -m pytest tests/faults/test_scenarios_runs.py tests/faults/test_scenarios_disk.py

.PHONY: soak
soak: $(STAMP) ## A day simulated: 5,000 files of 40 feeds over SFTP and S3, each sender with a misbehaviour (some minutes)
	@$(PY) -m tests.faults.soak

.PHONY: bench
bench: $(STAMP) ## Measure speed and memory against scripts written by hand (some minutes)
	@$(PY) -m benchmarks.run

.PHONY: screenshots
screenshots: $(STAMP) ## Take the pictures of docs/images from what make demo left (needs Debian's chromium)
	@DATALAKE_DATA="$${DATALAKE_DATA:-.demo}" $(PY) scripts/screenshots.py

.PHONY: docs
docs: $(STAMP) ## Generate docs/language.md, rules.md, expressions.md and reliability.md from code and tests
	@$(PY) scripts/generate_docs.py

.PHONY: lock
lock: $(STAMP) ## Write requirements.lock again from pyproject.toml
	@$(VENV)/uv/bin/uv pip compile pyproject.toml --group dev --generate-hashes --no-header --no-annotate \
		--universal --python-version 3.11 --quiet -o requirements.lock

.PHONY: clean
clean: ## Remove caches and build leftovers; .venv and data stay
	@rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse metastore_db
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
