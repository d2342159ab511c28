# crypto_rti. `make help` lists what can be asked for; a line with `##` is an entry in that list.

SOURCE   ?= auto
PRODUCTS ?= BTC-USD ETH-USD
MODELS   ?=
PORT     ?=
VERSION  ?=

# What a person gives is text: make does not expand it, and the shell gets it in quotes.
override SOURCE   := $(value SOURCE)
override PRODUCTS := $(value PRODUCTS)
override MODELS   := $(value MODELS)
override PORT     := $(value PORT)
override VERSION  := $(value VERSION)
quoted = '$(subst ','\'',$(1))'
options = $(foreach word,$(2),$(1) $(call quoted,$(word)))

# The first of these that runs and is not empty-handed; .ci/environment.py says so when its version does not fit.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do $$name -c pass 2>/dev/null && echo $$name && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
NODE    = $(LOCAL) .ci/node.py -C frontend
LOCAL   = $(or $(PYTHON),$(error no Python 3.11 to 3.13 found; install one or name it: make PYTHON=/path/to/python3.11))

# What the page is made of: its sources, and the notebooks whose figures it shows.
PAGE_SOURCES = $(shell find frontend/pages frontend/components frontend/lib frontend/scripts -type f) frontend/next.config.ts $(wildcard nbs/experiments/*.ipynb)

# Debian packages that the tests need, and why. What a person installs by hand is not listed.
#   libgomp1: LightGBM's wheel leaves OpenMP to the system
#   gcc, libc6-dev: Go's race detector
#   chromium: the page is tested in it, where there is no browser of that kind yet
#   postgresql: the ledger is tested on it; prometheus: promtool tests the alert rules; wrk: load for make bench-service
SYSTEM_PACKAGES := libgomp1 $(if $(shell command -v chromium || command -v google-chrome),,chromium) postgresql prometheus wrk gcc libc6-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use it
.PHONY: run frontend lab docs
run: $(VENV)/.train ## Fetch, train, promote and serve with the page; SOURCE=auto|coinbase|sim|URL|folder PRODUCTS="BTC-USD ETH-USD" MODELS="lasso lightgbm ensemble" PORT=8000
	@$(MAKE) --no-print-directory frontend || echo "make run: the page could not be built (above); the service starts without it"
	$(BIN)/crypto-rti run --source $(call quoted,$(or $(SOURCE),auto)) $(call options,--product,$(PRODUCTS)) $(call options,--model,$(MODELS)) $(call options,--port,$(PORT))

# Two builds at once would write the same folders: the second waits, and the inner make then finds the page up to date.
frontend: ## Build the page with Node 20 or newer, or the Node wheel; the service then shows it at /
	@$(LOCAL) .ci/environment.py alone frontend $(MAKE) --no-print-directory frontend/out/index.html

frontend/node_modules/.package-lock.json: frontend/package-lock.json
	$(NODE) npm ci

frontend/out/index.html: frontend/node_modules/.package-lock.json $(PAGE_SOURCES)
	$(NODE) npm run build

lab: $(VENV)/.train ## Open the notebooks in JupyterLab, at the list of them all
	$(BIN)/jupyter lab --notebook-dir nbs --LabApp.default_url=/lab/tree/index.ipynb

docs: $(VENV)/.dev ## Render every notebook to a linked static site in _docs/
	$(BIN)/python .ci/docs.py _docs

##@ Test it
.PHONY: test check-notebooks test-notebooks test-python test-experiments test-attacks test-latency test-webhook test-frontend lint types wheel audit bench bench-service bench-scale bench-page
test: $(VENV)/.dev ## Run everything that tests; the last lines list what was skipped and why
	$(BIN)/python .ci/test.py

check-notebooks: $(VENV)/.dev ## Notebooks are clean and the exported package is in step
test-notebooks: $(VENV)/.dev  ## Run every notebook as a test
test-python: $(VENV)/.dev     ## Run pytest on tests/, but for experiments and attacks
test-experiments: $(VENV)/.dev ## Run the experiments on less data
test-attacks: $(VENV)/.dev    ## Attack the service and its tools, and print a table: attack, before, after
test-latency: $(VENV)/.dev    ## The attacks during which latencies are measured; `make test` runs them alone, after everything else
test-webhook: $(VENV)/.dev    ## Vet, test and fuzz the webhook server
test-frontend: $(VENV)/.dev   ## Build the page, check its types, test what computes, and try it in Chromium against the service
lint: $(VENV)/.dev            ## Run ruff
types: $(VENV)/.dev           ## Run mypy on the exported package
wheel: $(VENV)/.dev           ## Build the wheel and import it where only requirements/runtime.txt is installed
check-notebooks test-notebooks test-python test-experiments test-attacks test-latency test-webhook test-frontend lint types wheel:
	$(BIN)/python .ci/test.py $@

audit: $(VENV)/.dev ## Ask for known vulnerabilities in the Python packages, the webhook server and the page; STRICT=1 fails if one cannot be asked
	$(BIN)/python .ci/audit.py $(if $(STRICT),--strict) $(ONLY)

bench: $(VENV)/.train bench-service ## Print the benchmarks
	$(BIN)/crypto-rti bench

bench-service: $(VENV)/.dev ## Load, memory, streams, 10,000 random requests, replayed months, and forecasts inside the hour at their closes; ONLY="predict closes" for parts
	$(BIN)/python tests/bench_service.py $(if $(ONLY),--only $(shell echo $(ONLY) | tr ' ' ,))

bench-scale: $(VENV)/.dev ## Many coins on one machine: rows, disk, ledger, retraining, horizons, service; ONLY="rows disk" for parts
	$(BIN)/python tests/bench_scale.py $(ONLY)

bench-page: $(VENV)/.dev frontend ## Lighthouse on the built page, served by the service: the median of three runs; needs Chromium
	$(NODE) npm ci --prefix bench
	$(NODE) node bench/lighthouse.mjs

##@ Deliver it
.PHONY: pipeline images test-images release
pipeline: export CRYPTO_RTI_SOURCE := $(or $(filter-out auto,$(SOURCE)),coinbase)
pipeline: $(VENV)/.train ## Fetch, train and put forward, without the service: what CI and the schedule run; SOURCE=coinbase|sim|URL|folder
	$(BIN)/crypto-rti retrain $(call options,--product,$(PRODUCTS)) $(call options,--model,$(MODELS))

images: ## Build both images with Docker; the service holds the champions in var/bundles
	$(LOCAL) docker/images.py build service $(if $(wildcard var/bundles/index.json),--bundles var/bundles)
	$(LOCAL) docker/images.py build trainer

test-images: $(VENV)/.dev ## As root, without a registry: build and run images, compose, installer, a rollout; ARCH=arm64 PARTS="service"
	$(BIN)/python docker/test_images.py $(PARTS) $(ARCH:%=--arch %)

release: $(VENV)/.dev ## Pack installer, units and webhook servers into dist/; VERSION=v0.1.0
	GO="$(abspath $(BIN))/go" sh deploy/package.sh $(call quoted,$(or $(VERSION),$(error name the version: make release VERSION=v0.1.0)))

##@ Change it
.PHONY: prepare notebooks reports experiments hooks lock env
prepare: $(VENV)/.dev ## Clean the notebooks, export the package, list the notebooks: before every commit
	$(BIN)/nbdev_clean
	$(BIN)/nbdev_export
	$(BIN)/python .ci/index.py

notebooks: $(VENV)/.dev ## Execute every notebook that exports and store its outputs
	$(BIN)/python .ci/notebooks.py nbs

reports: $(VENV)/.dev ## Retrain on a fixed simulated market and store what the pipeline's notebooks show
	$(BIN)/python .ci/reports.py

experiments: $(VENV)/.dev ## Execute nbs/experiments in full, on real candles; ONLY=name for one
	$(BIN)/python .ci/notebooks.py nbs/experiments $(ONLY)

hooks: $(VENV)/.dev ## Install nbdev's git hooks: clean notebooks, readable merges
	$(BIN)/nbdev_install_hooks

lock: ## Write requirements/*.txt from settings.ini; UPGRADE=1 takes the newest versions
	$(LOCAL) .ci/environment.py lock $(if $(UPGRADE),--upgrade)

env: $(VENV)/.dev ## Make the environment that all of the above work in

##@ The machine
.PHONY: system clean help
system: ## Install the Debian packages that the tests need (as root)
	@if ! command -v apt-get >/dev/null; then echo "make system: no apt-get here; the tests need what Debian calls: $(SYSTEM_PACKAGES)"; \
	elif missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(SYSTEM_PACKAGES) 2>&1 | grep -v '^installed '); [ -z "$$missing" ]; then echo "make system: all there ($(SYSTEM_PACKAGES))"; \
	elif [ "$$(id -u)" != 0 ]; then echo "make system: not root; run: sudo apt-get install $(SYSTEM_PACKAGES)"; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(SYSTEM_PACKAGES); fi

clean: ## Remove what building and testing left; keeps .venv and var/
	rm -rf build dist _docs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find crypto_rti nbs tests .ci \( -name __pycache__ -o -name .ipynb_checkpoints -o -name .ruff_cache \) -prune -exec rm -rf {} +

help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { sub(/ *:.*/, "", $$1); printf "  make %-16s %s\n", $$1, $$2 }' Makefile

# A stamp is newer than what it was made from, so a second make does nothing. The packages of `run` are a subset of dev's.
# The installer touches the stamps: of two makes at once the second waits, and then finds them new.
$(VENV)/.train: requirements/train.txt settings.ini setup.py
	@$(LOCAL) .ci/environment.py install $(VENV) requirements/train.txt --editable $@

$(VENV)/.dev: requirements/dev.txt settings.ini setup.py
	@$(LOCAL) .ci/environment.py install $(VENV) requirements/dev.txt --editable $(VENV)/.train $@
