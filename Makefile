# `make` lists the targets. CONTRIBUTING.md describes the rest.
.DEFAULT_GOAL := help
.PHONY: help run test prove-cache prove-statistics prove-channels test-rls prove-plans prove-operations check contract fmt lint openapi bench deny deploy features

# Options for the program behind `run`, `test`, `bench` and `contract`: make run ARGS="--bind 127.0.0.1:9000"
ARGS ?=

# libpq is compiled from source and links the system's OpenSSL. Without its headers the build still works, but
# connections that require TLS are refused: good enough for trying and testing; every target prints a warning.
ifndef FEATURES
ifneq ($(shell pkg-config --exists openssl 2>/dev/null && echo yes),yes)
FEATURES := --no-default-features --features plain
WITHOUT_TLS := yes
endif
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

features:
ifdef WITHOUT_TLS
	@echo "WARNING: no OpenSSL headers (apt-get install pkg-config libssl-dev, brew install pkg-config openssl):" >&2
	@echo "         building without TLS; databases that require it cannot be reached." >&2
endif

run: features ## build and start the service; starts its own PostgreSQL unless DATABASE_URL is set
	@# exec: the service takes this shell's place, so that Ctrl-C and SIGTERM reach it.
	@if [ -z "$$DATABASE_URL" ]; then \
	  RAPPORT_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_POSTGRES_BIN; \
	fi; \
	exec cargo run --locked $(FEATURES) -- serve $(ARGS)

test: features ## all tests, against a real PostgreSQL and Redis that the harness starts
	@if [ -z "$$RAPPORT_TEST_POSTGRES_BIN" ]; then \
	  RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	fi; \
	RAPPORT_TEST_REDIS_SERVER=$$(scripts/redis.sh) || exit 1; export RAPPORT_TEST_REDIS_SERVER; \
	: without it one test says that it was skipped; \
	RAPPORT_TEST_NODE=$$(scripts/node.sh) && export RAPPORT_TEST_NODE; \
	: many tests wait more than they compute, and the server of all has a hundred connections; \
	threads=$$(( 3 * $$(getconf _NPROCESSORS_ONLN) )); \
	export RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(( threads < 8 ? threads : 8 ))}; \
	exec cargo test --locked $(FEATURES) $(ARGS)

prove-cache: features ## test the cache under fault injection, and that tests catch every deliberate bug (a quarter of an hour)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	RAPPORT_TEST_REDIS_SERVER=$$(scripts/redis.sh) || exit 1; export RAPPORT_TEST_REDIS_SERVER; \
	export RAPPORT_HISTORY_SECONDS=$${RAPPORT_HISTORY_SECONDS:-120}; \
	export RAPPORT_TEST_MODEL_READERS=3 RAPPORT_TEST_MODEL_AHEAD=1; \
	exec cargo test --locked $(FEATURES) --features mutants --test it $(ARGS) -- cache_consistency:: cache_model:: sequencer:: --nocapture --test-threads 1

prove-statistics: features ## compare statistics with recounts at every moment, and that tests catch every deliberate bug (some minutes after the build)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	export RAPPORT_STATISTICS_COMPARISONS=$${RAPPORT_STATISTICS_COMPARISONS:-100000}; \
	exec cargo test --locked $(FEATURES) --features mutants --test it $(ARGS) -- statistics_consistency:: --nocapture --test-threads 1

prove-channels: features ## deliver what WhatsApp does in many orders and at once, send and fetch, and test that every deliberate bug is caught (some minutes after the build)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	export RAPPORT_TEST_ORDERS=$${RAPPORT_TEST_ORDERS:-100} RAPPORT_TEST_RACES=$${RAPPORT_TEST_RACES:-300}; \
	exec cargo test --locked $(FEATURES) --features mutants --test it $(ARGS) -- whatsapp:: sending:: media:: --nocapture

test-rls: features ## test row-level security with a build without tenant predicates (a minute after the build)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	exec cargo test --locked $(FEATURES) --features mutants --test it $(ARGS) -- row_level_security::

prove-plans: features ## EXPLAIN every statement of the API over a million messages (a minute after the build)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	export RAPPORT_TEST_PLANS_ROWS=1000000; \
	exec cargo test --locked $(FEATURES) --test it $(ARGS) -- query_plans:: --nocapture

# One test per way in which a database, a network or a task fails:
# docs/OPERATIONS.md, docs/BACKUP.md, docs/DATABASE.md.
OPERATIONS = backup:: catalogue_check:: query_plans::joins:: pooler:: database_outage:: embedded:: locked:: supervisor:: statements:: slow_clients:: killed

prove-operations: features ## test restores, outages, poolers, locks and panics (some minutes after the build)
	@RAPPORT_TEST_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_TEST_POSTGRES_BIN; \
	RAPPORT_TEST_REDIS_SERVER=$$(scripts/redis.sh) || exit 1; export RAPPORT_TEST_REDIS_SERVER; \
	export RAPPORT_TEST_SHAPES=$${RAPPORT_TEST_SHAPES:-2000} RAPPORT_TEST_KILLS=$${RAPPORT_TEST_KILLS:-12}; \
	: the feature makes tasks of the real binary panic; \
	exec cargo test --locked $(FEATURES) --features mutants --test it $(ARGS) -- $(OPERATIONS) --nocapture

# The cheap checks before the expensive ones, and one at a time: they share two cores and one target directory.
check: ## all checks required before a commit: lint, deny, deploy, test, contract
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory deny
	@$(MAKE) --no-print-directory deploy
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory contract
	@echo "check: everything holds"

lint: features ## formatting, clippy without warnings, a build without TLS, migrations, features, words, commits
	@scripts/lint-words.sh
	@scripts/lint-code.sh
	@scripts/lint-features.sh
	@if scripts/tools.sh python; then .tools/python/bin/squawk migrations/*/up.sql; \
	elif [ -n "$$CI" ]; then exit 1; \
	else echo "WARNING: migrations are NOT checked, because squawk could not be installed." >&2; fi
	cargo fmt --all --check
	cargo clippy --locked $(FEATURES) --all-targets -- -D warnings
	@# What machines without OpenSSL's headers build.
	cargo check --locked --no-default-features --features plain --all-targets

fmt: ## format the code
	cargo fmt --all

deny: ## check licences, bans and sources of the dependencies
	@if scripts/tools.sh deny; then \
	  cargo fetch --locked --quiet && PATH="$$PWD/.tools/cargo/bin:$$PATH" cargo deny --offline --locked check bans licenses sources; \
	elif [ -n "$$CI" ]; then exit 1; \
	else echo "WARNING: dependencies are NOT checked, because cargo-deny could not be installed." >&2; fi

deploy: ## validate deploy/kubernetes, Dockerfile and docker-compose.yml, offline
	@scripts/validate-deploy.sh

contract: features ## test the running service against openapi/openapi.json: linter, clients, schemathesis
	@RAPPORT_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_POSTGRES_BIN; \
	CARGO_FEATURES="$(FEATURES)" exec scripts/contract.sh $(ARGS)

openapi: features ## write openapi/openapi.json from the code
	@mkdir -p openapi .tools
	@# By way of a second file: a failed build must not leave an empty document behind.
	cargo run --quiet --locked $(FEATURES) -- openapi > .tools/openapi.json
	@mv .tools/openapi.json openapi/openapi.json

bench: features ## measure the service against its baselines (docs/PERFORMANCE.md)
	@RAPPORT_POSTGRES_BIN=$$(scripts/postgres.sh) || exit 1; export RAPPORT_POSTGRES_BIN; \
	CARGO_FEATURES="$(FEATURES)" exec bench/run $(ARGS)
