# make run and make tests are all that is needed; "make help" lists the rest.

PYTHON ?= python3
HOURS ?= 1
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# What root writes is not left in the way of the user who called make.
AS_ROOT := $(SUDO) env PYTHONDONTWRITEBYTECODE=1

CHECKED := $(wildcard src tests bench examples hatch_build.py)
ROOT_TESTS := $(wildcard tests/kernel tests/system)
MAN := $(patsubst %.rst,%,$(wildcard docs/man/*.8.rst examples/*/*.8.rst))

# As root, because the emulated machine sees all files of this one, read-only.
KERNEL ?= 6.1
VMFLAGS ?=
VM = $(AS_ROOT) $(BIN)/python -m tests.vm --out build/vm $(VMFLAGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.NOTPARALLEL:

##@ run: build, then tune this machine in the foreground (Ctrl-C stops it)
run: build
	$(AS_ROOT) $(BIN)/bpftune

##@ demo: show the effect in throw-away network namespaces, in under a minute
demo: build
	$(AS_ROOT) $(BIN)/python -m bpftune.lab.demo

##@ tests: everything: check, and with the real kernel, as root
tests: check
	$(BIN)/python -m pytest -q -m slow tests/unit
	$(if $(ROOT_TESTS),$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider $(ROOT_TESTS))

##@ vmtests: kernel and system tests under KERNEL=6.1, 6.12, 6.18 or newest, emulated
vmtests: vm
	$(VM) $(KERNEL) --tests all --timeout 7200

##@ vmtests-all: those that matter most under all four kernels
vmtests-all: vm
	$(VM) all --tests part --timeout 1800

##@ vmsmoke: does everything load under KERNEL, and do facts arrive? In four minutes
vmsmoke: vm
	$(VM) $(KERNEL) --tests smoke --timeout 900

##@ kernel-lists: renew what tests know of kernels: attach points, verifier's work
kernel-lists: vm
	$(VM) all --tests lists
	$(BIN)/python -m tests.vm.offers build/vm
	$(BIN)/python -m tests.vm.budget build/vm

# The emulated machine sees this one's files: it has nothing to compile. What could
# not be installed is told by tests.vm.
vm: build
	-@setup/install-dependencies $(PYTHON) vm
	@$(BIN)/python -m bpftune.compile tests/kernel tests/system examples
	@$(BIN)/python -m compileall -q src tests/vm
	@mkdir -p build/vm
	@$(BIN)/python -m pytest -q --collect-only $(ROOT_TESTS) >/dev/null

##@ check: linters, types and unit tests, in about two minutes, without root
check: build man $(VENV)/benched
	$(BIN)/ruff check --quiet $(CHECKED)
	$(BIN)/ruff format --check --quiet $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/python -m pytest -q -m "not slow" $(wildcard tests/unit examples)

##@ soak: the daemon for HOURS=1 in a world that gives it no peace; fractions allowed
soak: build
	$(AS_ROOT) $(BIN)/python -m tests.soak --hours $(HOURS) \
		$(if $(SEED),--seed $(SEED)) --out build/soak.json

##@ bench: measure what bpftune gains, in two hours (QUICK=1: ten minutes, FULL=1: a night)
bench: build $(VENV)/benched
	$(AS_ROOT) $(BIN)/python -m bench $(if $(FULL),--full,$(if $(QUICK),--quick)) \
		$(if $(TUNER),--tuner '$(TUNER)') $(if $(RESUME),--resume)

##@ overhead: measure what bpftune costs, in about half an hour
overhead: build
	$(AS_ROOT) $(BIN)/python -m bench.overhead
	$(AS_ROOT) $(BIN)/python -m bench.congestion_cost
	$(AS_ROOT) $(BIN)/python -m bench.growth

##@ build: the command bpftune at .venv/bin/bpftune
build: $(VENV)/installed
	@$(BIN)/python hatch_build.py

$(VENV)/installed: pyproject.toml setup/install-dependencies | dependencies
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/benched: pyproject.toml | $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@

dependencies:
	@setup/install-dependencies $(PYTHON)

##@ man: the manual pages
man: $(MAN)

%.8: %.8.rst | $(VENV)/installed
	$(BIN)/python -m docutils --writer=manpage --halt=warning $< $@

##@ completions: completion for shells, after a verb or an option changed
completions: build
	$(BIN)/python -m bpftune.cli.completion packaging/completions

##@ clean: remove all that was built
clean:
	rm -rf $(VENV) build dist $(MAN)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples bench -name '*.bpf.o' -delete -o \
		-name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

help:
	@sed -n 's/^##@ \([a-z-]*\): /  make \1\t/p' Makefile | expand -t 20

.PHONY: run demo tests vmtests vmtests-all vmsmoke kernel-lists vm check soak bench overhead build dependencies man completions clean help
