# `make demo` and `make test` are all the set-up there is: Python 3.11+ and git suffice.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench crash chaos clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Chatferry needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[wechat]'
	@touch $@

.venv/.dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv, with what tests need (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/.base

demo: .venv/.base ## LINE, WeChat and Slack on a page: no account, no key
	@$(BIN)/chatferry demo

# Four at once also on two cores: much of the suite waits, for processes that start and for WeChat.
test: .venv/.dev ## every module, in some minutes; with ARGS=--long the whole suite
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.dev ## ruff and mypy --strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/.dev ## all measurements (minutes); figures: bench/RESULTS.md
	@$(BIN)/python -m bench

crash: .venv/.dev ## the crash tests, long: 300 kills
	@$(BIN)/python -m pytest tests/scenarios/test_crash.py tests/scenarios/test_slack_crash.py \
		tests/scenarios/test_wechat_crash.py --long --kills 300

chaos: .venv/.dev ## five minutes of everything at once, on PostgreSQL
	@$(BIN)/python -m tests.chaos $(ARGS)

clean:
	rm -rf .venv
