"""Run one experiment with several configurations, as a batch job does: ``python job.py [WORKERS]``.

With more than one worker each run has a process of its own. They write to the same stores at the same time, which is
what the stores are made for.
"""

import multiprocessing
import os
import sys

from train import ex

UPDATES = [{"lr": lr, "steps": steps} for lr in (0.01, 0.1, 0.5) for steps in (50, 200)]
OPTIONS = {"--project": "sweep", "--gpu-hours": "0.1"}


def run_one(updates):
    """Run the experiment once; return what the table below shows."""
    run = ex.run(config_updates=updates, options=OPTIONS, tags=["sweep"])
    return run._id, updates, run.result


def main(workers):
    """Run all configurations, and print them, the best first."""
    if workers > 1:
        # "spawn" gives each worker a fresh interpreter, as a batch system would
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            results = pool.map(run_one, UPDATES)
    else:
        results = [run_one(updates) for updates in UPDATES]
    for label, updates, loss in sorted(results, key=lambda result: result[2]):
        print(f"run {label}: lr {updates['lr']:<5} steps {updates['steps']:<4} loss {loss:.4f}")


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
