# The one list of tasks. `make` alone prints it.
PYTHON ?= python3
UV := .venvs/uv/bin/uv
DEV := .venvs/dev/bin
DRIVE := .venvs/dev/bin/python -m
# Containers are operated by any Python 3.9, `make run` by the environment that it made.
OPERATE = $(if $(wildcard $(DEV)/python),$(DRIVE),$(PYTHON) -m) stack.operate
LOCK = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate $(if $(UPGRADE),--upgrade)
PLATFORMS := x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin
COMPOSE := docker compose
# `PROFILE=production` after any task that touches containers, or COMPOSE_FILE in .env (docs/how-to/production.md).
ifeq ($(PROFILE),production)
export COMPOSE_FILE := docker-compose.yml:docker-compose.production.yml
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests keys doctor demo run test check secrets up down backup restore move e2e loop faults train status history rollback ask ingest embed sign rotate-key password logs data bench platforms lock

help:
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

setup:  ## environments from the pinned requirements, and Java; quick when nothing changed  [WITH="tests bulk torch classes"]
	@$(PYTHON) -m stack.setup $(WITH)

setup-tests:
	@$(PYTHON) -m stack.setup tests

keys: setup  ## every key of pipeline.yaml, with its default and its meaning
	@$(DRIVE) stack.keys

doctor:  ## what this machine has and lacks, line by line, each with what to do; for bug reports
	@$(PYTHON) -m stack.doctor

demo: setup  ## the whole way without containers: train, predict, index, ask; then it runs until Ctrl-C  [CONFIG= DATA= KEEP=0]
	@$(DRIVE) stack.demo

run:  ## the same programs with Airflow's scheduler and page, until Ctrl-C  [CONFIG= DATA=]
	@$(PYTHON) -m stack.setup classes
	@$(DRIVE) stack.run

test: setup-tests  ## all tests that need no containers, with branch coverage  [ONLY="api rag"]
	@$(DRIVE) stack.suite $(ONLY)

# Each environment has its own versions of the same libraries, so each has a cache of its own: mypy crashed on a shared one.
check: setup-tests  ## format, lint, types, import rules, Compose files, workflows
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .
	$(DEV)/mypy --cache-dir .mypy_cache/api --python-executable .venvs/api/bin/python api/prediction_api
	$(DEV)/mypy --cache-dir .mypy_cache/training --python-executable .venvs/training/bin/python scripts/training scripts/*.py
	$(DEV)/mypy --cache-dir .mypy_cache/mlflow --python-executable .venvs/training/bin/python mlflow/start.py
	cd rag && ../$(DEV)/mypy --cache-dir ../.mypy_cache/rag --python-executable ../.venvs/rag/bin/python rag_service
	$(DEV)/mypy --cache-dir .mypy_cache/airflow --python-executable .venvs/airflow/bin/python airflow/dags airflow/entrypoint.py airflow/health.py airflow/spark_node.py
	$(DEV)/mypy --cache-dir .mypy_cache/dev --python-executable .venvs/dev/bin/python stack
	PYTHONPATH=api:scripts:rag $(DEV)/lint-imports
	cd rag && PYTHONPATH=. ../$(DEV)/lint-imports --config pyproject.toml
	$(DEV)/zizmor --offline --quiet .github
	$(DEV)/compose-lint check --quiet --fail-on medium --strict-config --skip-suppressed docker-compose.yml rag/docker-compose.yml

secrets:  ## (production) make the secrets that are missing in var/secrets
	@$(PYTHON) -m stack.secret_files write var/secrets

up:  ## the whole stack as containers  [PROFILE=production]
	@$(PYTHON) -m stack.up

down:  ## stop the containers; the volumes stay
	$(COMPOSE) down

backup:  ## everything that persists as one file, while the stack runs  [TO=folder]
	@$(PYTHON) -m stack.state.backup backup

restore:  ## put a backup back, into an empty stack  FROM=file
	@$(PYTHON) -m stack.state.backup restore

move:  ## (containers) from the default stack to production: everything in SQLite goes to PostgreSQL
	@$(PYTHON) -m stack.state.move

e2e: setup  ## the Compose stack from nothing, driven as a user would, and removed again  [PROFILE=production]
	@$(DRIVE) stack.e2e$(if $(filter production,$(PROFILE)),_production)

loop: setup  ## the closed loop in one go: drift, retraining, a refusal, a swap under traffic, rollback  [STACK=containers]
	@$(DRIVE) stack.loop $(STACK)

faults: setup-tests  ## break the running programs on purpose, hundreds of times, and count what did not hold  [SEED= ONLY= PART=]
	@$(DRIVE) stack.faults.bench

train:  ## train a model and follow it  [PIPELINE= TRIALS= DATA=data/your.csv]
	@$(OPERATE) train

status:  ## what the overview shows: what serves, drift, documents, DAGs, alerts; or one pipeline's model  [PIPELINE= FORMAT=json]
	@$(OPERATE) status

history:  ## every decision on the model, or what served at a time  [PIPELINE= AT=2026-11-24T10:00]
	@$(OPERATE) history $(if $(AT),--at "$(AT)")

rollback:  ## move the alias back  [PIPELINE= VERSION=]
	@$(OPERATE) rollback $(if $(VERSION),--to "$(VERSION)")

sign:  ## sign a version that you vouch for, trained before there were signatures  [PIPELINE= VERSION=]
	@$(OPERATE) sign $(if $(VERSION),--version "$(VERSION)")

rotate-key:  ## sign models with a new key from now on; [RETIRE=KEY] makes an old key invalid
	@$(OPERATE) keys $(if $(RETIRE),retire "$(RETIRE)",rotate)

ask:  ## ask the documents  QUESTION="What does a corked wine smell of?" [COLLECTION=]
	@$(OPERATE) ask

ingest:  ## a file or a folder of files into the documents  FROM= [COLLECTION=]
	@$(OPERATE) ingest

embed:  ## (processes) a large folder or s3://bucket/prefix into the documents, on Spark  FROM= [COLLECTION= MASTER=]
	@$(PYTHON) -m stack.setup bulk
	@$(DRIVE) stack.operate embed

password:  ## Airflow's password; the user is admin
	@$(OPERATE) password

logs:  ## (containers) follow the logs
	$(COMPOSE) logs --follow --tail 100

data:  ## fetch the real UCI wine set into data/WineQuality.csv, checked by SHA-256
	@$(PYTHON) data/fetch.py

bench: setup-tests  ## the measurements of benchmarks/, each printing one table
	@for program in benchmarks/*.py; do .venvs/training/bin/python "$$program" || exit 1; done

# PySpark has no wheel anywhere; psutil none for tests/clients on Linux arm64, nor gevent there on macOS: they are built.
platforms: setup  ## resolve every lock file for every platform, from wheels; needs the package index
	@for lock in $$(git ls-files '*.lock'); do for platform in $(PLATFORMS); do \
	  echo "$$lock $$platform"; \
	  printf 'pyspark\npsutil\ngevent\n' | MACOSX_DEPLOYMENT_TARGET=14.0 $(UV) pip install --quiet --dry-run \
	    --python .venvs/uv/bin/python --target var/platforms --python-platform $$platform \
	    --only-binary :all: --excludes - --no-deps --require-hashes -r $$lock || exit 1; \
	done; done

lock: setup  ## write the lock files again  [UPGRADE=1]
	$(LOCK) airflow/requirements.in -o airflow/requirements.lock
	$(LOCK) -c airflow/requirements.lock airflow/requirements.in tests/requirements.in -o airflow/requirements-test.lock
	$(LOCK) scripts/requirements.in -o scripts/requirements.lock
	$(LOCK) -c scripts/requirements.lock scripts/requirements.in tests/requirements.in tests/training/requirements.in -o scripts/requirements-test.lock
	$(LOCK) api/requirements.in -o api/requirements.lock
	$(LOCK) -c api/requirements.lock api/requirements.in tests/requirements.in tests/api/requirements.in -o api/requirements-test.lock
	$(LOCK) rag/requirements.in -o rag/requirements.lock
	$(LOCK) -c rag/requirements.lock rag/requirements-bulk.in -o rag/requirements-bulk.lock
	$(LOCK) --override rag/requirements.override -c rag/requirements-bulk.lock rag/requirements-bulk.in tests/requirements.in rag/tests/requirements.in -o rag/requirements-test.lock
	$(LOCK) --override rag/requirements.override -c rag/requirements.lock rag/requirements-torch.in -o rag/requirements-torch.lock
	$(LOCK) --no-deps rag/requirements-embedder.in -o rag/requirements-embedder.lock
	$(LOCK) mlflow/requirements.in -o mlflow/requirements.lock
	$(LOCK) proxy/requirements.in -o proxy/requirements.lock
	$(LOCK) stack/requirements-java.in -o stack/requirements-java.lock
	$(LOCK) tests/clients/requirements.in -o tests/clients/requirements.lock
	$(LOCK) stack/requirements.in -o stack/requirements.lock
	$(LOCK) -c stack/requirements.lock requirements-dev.in -o requirements-dev.lock
