"""How fast it is and how much memory it takes: ``python -m tests.bench [NAME ...] [--quick]``.

Each `bench_*.py` has ``rows(bench)``, which yields `measuring.Row`. What is measured is an installed wheel in an
environment of its own, since an editable install adds some 10 ms to every start of Python; each figure is taken in turn
with its floor, so that a slow moment of the machine hits both.
"""
