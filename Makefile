# Aliases of the README's two commands.
.PHONY: run test
run:
	python3 -m examples.taobao.run_daily_batch
test:
	python3 tests/run.py
