# Needs make and Python 3.11 or 3.12, nothing else; everything is installed into $(VENV).

VENV ?= .venv
RESULTS ?= results
# What `make benchmark` adds to its commands, e.g. ARGS="benchmark.sequences=100 run.workers=8".
ARGS ?=
# What pip is told on top, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu".
PIP_ARGS ?=
# 0 leaves out torch and transformers, and with them the tests of policies/vla.
VLA ?= 1
# Tests that run at once; each may take 1.5 GB.
JOBS ?= 3
# What pytest is told on top, e.g. TESTS="tests/unit -x".
TESTS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt $(PIP_ARGS)
DEV := $(if $(filter 0,$(VLA)),dev,dev-vla)
RUN := $(BIN)/vla-bench run benchmark=calvin_smoke benchmark.sequences=20 run.results=$(RESULTS)

.DEFAULT_GOAL := help
.PHONY: help benchmark test coverage lint clean simpler

help: ## this text
	@echo "make <target>"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo
	@echo "$(BIN)/vla-bench run --help says how to evaluate a policy of your own."

benchmark: $(VENV)/.installed ## evaluate the scripted expert and a policy that does nothing, on the built-in play table
	$(RUN) policy=stub $(ARGS)
	$(RUN) policy=expert $(ARGS)

test: $(VENV)/.installed-$(DEV) ## run all tests (VLA=0 leaves out those that need torch)
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

coverage: $(VENV)/.installed-$(DEV) ## run the unit tests and print which lines they reach
	$(BIN)/python -m pytest tests/unit --cov=vla_bench --cov-report=term:skip-covered $(TESTS)

lint: $(VENV)/.installed-$(DEV) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.check_types

clean: ## remove the virtual environment and caches; results stay
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache *.egg-info

# 3.11 before 3.12: PyBullet has no wheel for 3.12, and compiling it takes ten minutes.
$(BIN)/python:
	@for version in 3.11 3.12; do \
		for python in $(or $(PYTHON),python$$version python3 python); do \
			"$$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null || continue; \
			echo "making $(VENV) with $$("$$python" --version)"; \
			if [ $$version = 3.12 ]; then \
				echo "PyBullet has no wheel for Python 3.12 and is compiled: some ten minutes. Python 3.11 needs none of it."; \
				command -v c++ >/dev/null || { echo "There is no C++ compiler. Install one, or Python 3.11." >&2; exit 1; }; \
			fi; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "$$python cannot make virtual environments. On Debian or Ubuntu: apt install python$$version-venv" >&2; \
			exit 1; \
		done; \
	done; \
	echo "Python 3.11 or 3.12 is needed$(if $(PYTHON),; $(PYTHON) is neither). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing dependencies into $(VENV)"
	@$(PIP) -e '.[fast]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing dependencies and test tools into $(VENV)"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev-vla: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing dependencies, test tools, torch and transformers into $(VENV)"
	@$(PIP) -e '.[dev,vla]' || { echo "Without torch: make test VLA=0" >&2; exit 1; }
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

simpler: $(VENV)/.installed ## make .venv-simpler, the environment of the original SimplerEnv (10 minutes, 1.5 GB)
	$(BIN)/python -m vla_bench.envs.simpler.install
