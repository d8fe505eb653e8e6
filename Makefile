# One line per target; the work is done by scripts/.
# PG=15 (the default), 16 or 18 chooses the PostgreSQL major of the private clusters.

export PG ?= 15
export PG_CONFIG ?= pg_config

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Everything from a bare machine to workers at work, live
	@scripts/demo.sh

test: ## All tests: lint, unit, printed contract, black-box on private clusters
	@scripts/test.sh

up: ## Build, and start the private cluster with the extension
	@scripts/up.sh

down: ## Stop the private cluster
	@scripts/cluster.sh stop main

psql: ## Open psql in the private cluster
	@scripts/cluster.sh psql main

fmt: ## Format the source
	@cargo fmt --all

lint: ## Check format, clippy and shell scripts
	@scripts/install-tools.sh test
	@scripts/lint.sh

unit: ## Unit tests, without a server
	@scripts/install-tools.sh
	@cargo test --lib

regress: ## Printed contract and races; T=name of a test in pg_test/ runs it
	@scripts/regress.sh $(T)

it: ## Black-box tests; T=part of a name runs some of them
	@scripts/it.sh $(T)

bench: ## Measure against the peers: one table and target/bench/latest.json
	@scripts/bench.sh

bench-quick: ## The short form of the measurements, under three minutes
	@scripts/bench.sh quick

torture: ## Ten minutes of random work, crashes and restarts
	@FF_TORTURE_SECONDS=600 scripts/it.sh torture:: history::

install: ## Build and install for your own server; PG_CONFIG=/path/to/pg_config
	@scripts/install.sh

installcheck: ## Check an installed ff_engine; PGHOST, PGPORT, PGUSER lead to the server
	@scripts/installcheck.sh

package: ## Make a Debian package in target/
	@scripts/package.sh

clean: ## Remove the private clusters and the build
	@scripts/clean.sh

.PHONY: help demo test up down psql fmt lint unit regress it bench bench-quick torture \
	install installcheck package clean
