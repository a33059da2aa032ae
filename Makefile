# Type `make` for what there is. The rules hold for GNU Make 3.81, which a Mac has.
SHELL := /bin/sh
.DEFAULT_GOAL := help
ARGS =

# One build for `make run` and `make test`: Cargo chooses the features of dependencies by the packages and targets
# that are named, and tests ask for more. Without a test target here, most dependencies would be compiled twice.
BUILD = cargo build --workspace --bins --test architecture
TARGET_DIR = $$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# `exec`, so that a signal reaches it once and directly.
DEV = exec "$(TARGET_DIR)/debug/groundwork-dev"

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run the service with a private PostgreSQL, a mail inbox and a fake Stripe, until Ctrl-C
	@$(BUILD) && $(DEV) run

.PHONY: test
test: ## Run every test on a PostgreSQL and a Redis of their own (ARGS="name" for some)
	@$(BUILD) && $(DEV) test $(ARGS)

.PHONY: coverage
coverage: ## Measure the lines that the tests cover, 80% at least (ARGS="--faults" to run those of faults too)
	@dev/coverage $(ARGS)

.PHONY: test-faults
test-faults: ## Break what is around the real binary, and the binary's clients (ARGS="name" for some)
	@$(BUILD) && NEXTEST_TEST_THREADS=2 RUST_TEST_THREADS=2 \
		$(DEV) test --test faults $(ARGS)

# How often each test of failover breaks its cluster.
ROUNDS = 1

.PHONY: test-cluster
test-cluster: ## Fail over PostgreSQL under Patroni, and nodes of Redis Cluster (ROUNDS=5 for figures, ARGS="name" for some)
	@$(BUILD) && NEXTEST_TEST_THREADS=1 RUST_TEST_THREADS=1 NEXTEST_SUCCESS_OUTPUT=immediate RUST_TEST_NOCAPTURE=1 \
		TEST_ROUNDS="$(ROUNDS)" $(DEV) test --test cluster $(ARGS)

# Seconds for which the statements of the replicas are counted.
LENGTH = 60

.PHONY: scale-test
scale-test: ## Count the statements of 1 and of 50 idle replicas on a million users (LENGTH=60 seconds each)
	@$(BUILD) && NEXTEST_TEST_THREADS=1 RUST_TEST_THREADS=1 NEXTEST_SUCCESS_OUTPUT=immediate RUST_TEST_NOCAPTURE=1 \
		TEST_LENGTH="$(LENGTH)" $(DEV) test --test scale $(ARGS)

.PHONY: test-api
test-api: ## Hold the running service to its OpenAPI document with generated requests (needs Python)
	@$(BUILD) && $(DEV) db -- tests/openapi/run "$(TARGET_DIR)" $(ARGS)

.PHONY: test-sdk
test-sdk: ## Call the running service with the TypeScript client (needs Node.js and npm)
	@$(BUILD) && $(DEV) db -- tests/sdk/run "$(TARGET_DIR)"

.PHONY: test-deploy
test-deploy: ## Check the files of docs/deploy, and release to an API server (needs Python and kubectl)
	@$(BUILD) && $(DEV) db --empty -- tests/deploy/run "$(TARGET_DIR)"

.PHONY: test-row-security
test-row-security: ## Run the API tests on a copy whose statements forget the account (needs Python)
	@dev/test-row-security $(ARGS)

.PHONY: test-restore
test-restore: ## Back up, destroy and restore a database with the scripts of production (ARGS="--whole" for all of it)
	@$(BUILD) && $(DEV) restore $(ARGS)

.PHONY: test-slice
test-slice: ## Write slices in a copy and run their tests (ARGS="--quick" for the structure alone)
	@tests/slice/run $(ARGS)

.PHONY: test-container
test-container: ## Build the image and hold it and the compose files to their contract (needs Docker)
	@tests/container/run

.PHONY: test-release
test-release: ## Release good and bad images under load, kill releases, and roll back (needs Docker)
	@$(BUILD) && tests/container/release

.PHONY: test-certificate
test-certificate: ## Obtain and renew a certificate from a test server of ACME (needs Docker)
	@tests/container/certificate

.PHONY: image
image: ## Build the image as groundwork:local, with its version and commit in it (needs Docker)
	@docker build --tag "$${IMAGE:-groundwork:local}" \
		--build-arg APP_VERSION="$${APP_VERSION:-$$(git describe --tags --always --dirty)}" \
		--build-arg BUILD_COMMIT="$$(git rev-parse HEAD)" .

.PHONY: sbom
sbom: ## Write down what the binary is made of, as CycloneDX, to target/sbom.json
	@deploy/make-sbom "$(TARGET_DIR)"

.PHONY: bench
bench: ## Measure the service beside a bare one, both built for release (ARGS="--seconds 10" for longer)
	@cargo build --release --package groundwork --package groundwork-bench --bins
	@exec "$(TARGET_DIR)/release/groundwork-bench" $(ARGS)

# The load test of a deployed copy needs its address, a file of accounts, and NOT_PRODUCTION=yes.
USERS = 100

.PHONY: load-test
load-test: ## Load the service as USERS=100 do and judge its latency (REPLICAS=4 behind HAProxy, COMPARE=1 with one; URL= ACCOUNTS= for a copy)
	@cargo build --release --package groundwork --package groundwork-bench --bins
	@exec "$(TARGET_DIR)/release/groundwork-bench" load-test --users "$(USERS)" $(if $(URL),--url "$(URL)") \
		$(if $(REPLICAS),--replicas "$(REPLICAS)") $(if $(filter 1 yes,$(COMPARE)),--compare) $(if $(ACCOUNTS),--accounts "$(ACCOUNTS)") $(if $(filter yes,$(NOT_PRODUCTION)),--not-production) $(ARGS)

# template-only: begin
.PHONY: new
new: ## Make a product of your own from the last commit (NAME=acme-billing DEST=../acme-billing)
	@exec cargo run --quiet --package groundwork-generate -- new

.PHONY: update-product
update-product: # `make update` of a product calls it in a clone of this repository
	@exec cargo run --quiet --package groundwork-generate -- update --product "$(PRODUCT)"

.PHONY: test-template
test-template: ## Make products, search them for this one's name, build and test them (ARGS="--whole" for all of it)
	@tests/template/run $(ARGS)
# template-only: end

.PHONY: without
without: ## Remove an optional slice from these sources (SLICE=NAME; without it they are listed)
	@cargo build --quiet --package groundwork-dev
	@"$(TARGET_DIR)/debug/groundwork-dev" without $(if $(DROP_TABLES),--drop-tables="$(DROP_TABLES)") -- $(SLICE)
	@if [ -n "$(SLICE)" ]; then cargo fmt --all && $(MAKE) --no-print-directory sqlx openapi settings privacy; fi

.PHONY: fmt
fmt: ## Format the code
	@cargo fmt --all

.PHONY: lint
lint: ## Check format and lints, warnings included
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: sqlx
sqlx: ## Refresh .sqlx/, what the checked queries know about the database
	@cargo build --package groundwork-dev && $(DEV) sqlx

.PHONY: check-sqlx
check-sqlx: ## Fail when .sqlx/ is not what `make sqlx` would write
	@$(BUILD) && $(DEV) sqlx --check

.PHONY: openapi
openapi: ## Refresh the reviewed OpenAPI document
	@$(BUILD)
	@"$(TARGET_DIR)/debug/groundwork" openapi > "$(TARGET_DIR)/openapi.json"
	@mkdir -p docs && cp "$(TARGET_DIR)/openapi.json" docs/openapi.json

.PHONY: sdk
sdk: ## Write the TypeScript client of docs/openapi.json to sdk/typescript/dist (needs Node.js and npm)
	@cd sdk/typescript && npm ci --silent --no-audit --no-fund && npm run --silent build

.PHONY: settings
settings: ## Refresh docs/configuration.md and .env.production.example
	@$(BUILD)
	@"$(TARGET_DIR)/debug/groundwork" config --markdown > "$(TARGET_DIR)/settings"
	@cp "$(TARGET_DIR)/settings" docs/configuration.md
	@"$(TARGET_DIR)/debug/groundwork" config --env > "$(TARGET_DIR)/settings"
	@cp "$(TARGET_DIR)/settings" .env.production.example

.PHONY: privacy
privacy: ## Refresh docs/privacy/data.md, the record of what is kept about people
	@$(BUILD)
	@"$(TARGET_DIR)/debug/groundwork" privacy record > "$(TARGET_DIR)/privacy"
	@mkdir -p docs/privacy && cp "$(TARGET_DIR)/privacy" docs/privacy/data.md

.PHONY: slice
slice: ## Write a slice with table, routes and tests (NAME=support_tickets, SINGULAR=person where it is irregular)
	@cargo build --quiet --package groundwork-dev
	@"$(TARGET_DIR)/debug/groundwork-dev" slice $(if $(SINGULAR),--singular "$(SINGULAR)") -- "$(NAME)"
	@$(MAKE) --no-print-directory sqlx openapi privacy || { echo 'The slice is written. Mend what is printed above, then: make sqlx openapi privacy'; exit 1; }

.PHONY: clean-dev
clean-dev: ## Forget the data, secrets and ports of `make run`
	@$(BUILD) && $(DEV) clean
