# Two commands do everything: `make example` and `make test`. See README.md.

PYTHON ?= python3
ARCHIVE ?=
WORK_DIR ?= results/example$(if $(ARCHIVE),_archive)
BIN := .venv/bin

.PHONY: help setup example archive-experiment test coverage benchmark browser clean

help:
	@echo "make setup                           make .venv with the exact versions of requirements-lock.txt"
	@echo "make example                         run every stage on a small simulated archive"
	@echo "make example ARCHIVE=DIR             run the stages on DIR/active_regions, DIR/SRS and DIR/Events"
	@echo "make archive-experiment ARCHIVE=DIR  activity features and forecasts on the archive of 2010-2018, no images"
	@echo "make test                            run the linter and the tests"
	@echo "make coverage                        run the tests and show which lines they reach (12 minutes)"
	@echo "make benchmark                       time the stages (on an otherwise idle machine)"
	@echo "make browser                         install Chromium and its driver (Debian, as root)"
	@echo "make clean                           remove .venv and the caches; data/ and results/ stay"

setup: .venv/installed

.venv/installed: requirements.txt requirements-dev.txt requirements-lock.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
	"Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d; name another: make setup PYTHON=python3.12" % v)'
	@echo "Setting up .venv (a few minutes, about 2 GB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --requirement requirements.txt --requirement requirements-dev.txt \
	--constraint requirements-lock.txt
	@touch $@

example: setup
	@$(BIN)/python general_code/run_example.py --work-dir "$(WORK_DIR)" $(if $(ARCHIVE),--archive "$(ARCHIVE:~/%=$(HOME)/%)")

archive-experiment: setup
	@test -n "$(ARCHIVE)" || { echo "Name the folder with SRS and Events (or the .tar.xz of both) and the published lists:"; \
	echo "make archive-experiment ARCHIVE=DIR"; exit 1; }
	@$(BIN)/python general_code/archive_experiment.py --archive "$(ARCHIVE:~/%=$(HOME)/%)"

test: setup
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# compiled kernels cannot be followed: their tests run once more as plain Python; the stages stand in other folders
coverage: export COVERAGE_FILE = $(CURDIR)/.coverage
coverage: setup
	@$(BIN)/python -m coverage erase --rcfile tests/coverage.cfg
	@$(BIN)/python -m coverage run --rcfile tests/coverage.cfg -m pytest -q
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run --rcfile tests/coverage.cfg -m pytest -q tests/classifier_SVM/test_FunctionsP3.py \
	-k "not golden and not compiler" -W ignore::RuntimeWarning
	@$(BIN)/python -m coverage combine --quiet --rcfile tests/coverage.cfg
	@$(BIN)/python -m coverage report --rcfile tests/coverage.cfg

benchmark: setup
	@for script in $(filter-out %_gpu.py,$(wildcard tests/benchmarks/benchmark_*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

browser:
	@command -v apt-get > /dev/null || { echo "make browser needs Debian's apt-get; install Chromium and its driver by hand"; exit 1; }
	@test "$$(id -u)" = 0 || { echo "make browser installs system packages: run it as root (sudo make browser)"; exit 1; }
	@command -v chromium > /dev/null && command -v chromedriver > /dev/null || \
	{ apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends chromium chromium-driver; }
	@chromium --version && chromedriver --version

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find general_code classifier_SVM classifier_VGG tests -name __pycache__ -prune -exec rm -rf {} +
