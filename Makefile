# Every target does its own set-up, on a machine with a Rust toolchain and nothing else.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo test prove bench lint fmt ci setup

help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Play the main job with real processes on a real Redis
	@.ci/setup without-browser
	@cargo build --release --locked --package vestibule-worker
	@"$${CARGO_TARGET_DIR:-target}/release/vestibule-worker" demo

test: setup ## Run all tests
	@.ci/test

prove: setup ## Run the big figures; ONLY=pkce picks an area, SCALE=0.1 shrinks them
	@cargo test --release --locked --test prove --

bench: setup ## Compare with the plain commands; ONLY=pkce picks an area
	@cargo bench --locked --bench ratios

lint: ## Check the format, and the lints
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo clippy --test prove --locked -- -D warnings # not a target of `cargo test`

fmt: ## Format all code
	@cargo fmt --all

ci: ## Run what must pass before a merge
	@.ci/run

setup:
	@.ci/setup
