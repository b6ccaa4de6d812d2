# The only entry point: people and CI call these targets and nothing else.
PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv
BIN := $(VENV)/bin
LOCK := .ci/requirements-dev.txt
READY := $(VENV)/.ready

.PHONY: images push-images help demo smoke demo-evidence test test-cluster compile check-compiled lint bench lock schemas clean
help: ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(READY): $(LOCK) pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[0-9.]+' $(LOCK))"
	$(UV) pip sync --quiet --python $(BIN)/python $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## run the quickstart collection against the demo model on this machine
	@tests/demo.sh

smoke: $(READY) ## run every framework once, against the demo model
	@tests/demo.sh smoke-v1

demo-evidence: $(READY) ## push, sign, find, pull, verify and tamper with the evidence of such a run
	@tests/evidence.sh

test: $(READY) ## run the test suite
	EVALHUB_LM_EVAL_PYTHON="$$($(BIN)/evalhub-kfp providers install lm_evaluation_harness | cut -d' ' -f2)" \
	  $(BIN)/python -m pytest -n 2 --dist loadfile

test-cluster: $(READY) ## run the suite on the cluster that KF_PIPELINES_ENDPOINT names
	$(BIN)/python -m pytest tests/cluster

compile: $(READY) ## write compiled/: a pipeline a collection, a component a provider
	$(BIN)/evalhub-kfp compile

check-compiled: $(READY) ## fail when compiled/ is not what the sources compile to
	$(BIN)/evalhub-kfp compile --check

lint: $(READY) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## print the benchmark figures
	$(BIN)/python tests/bench.py

schemas: $(READY) ## renew the JSON Schemas that editors use
	$(BIN)/python -m evalhub_pipelines.json_schemas

ENGINE ?= docker
images: $(READY) ## build the images (ENGINE, REGISTRY, BASE_IMAGE, BUILD_OPTIONS)
	$(BIN)/evalhub-kfp images build --engine $(ENGINE) $(if $(REGISTRY),--registry $(REGISTRY)) \
	  $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(foreach option,$(BUILD_OPTIONS),--option=$(option))

push-images: $(READY) ## push the images, write the lock of digests (REGISTRY, IMAGE_LOCK)
	$(BIN)/evalhub-kfp images push --engine $(ENGINE) $(if $(REGISTRY),--registry $(REGISTRY)) \
	  $(if $(IMAGE_LOCK),--lock $(IMAGE_LOCK))

lock: $(READY) ## renew the lock of the development environment
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --all-extras --group dev --custom-compile-command "make lock" -o $(LOCK) pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --extra oci --extra data --extra report -c $(LOCK) --custom-compile-command "make lock" \
	  -o components/requirements.txt pyproject.toml components/requirements.in

clean: ## remove what was made here (caches of providers stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
