"""Summarise a table and draw it, and see what the record says of the files, though nobody told it anything.

Try::

    python examples/lineage.py make_table
    python examples/lineage.py
    python examples/lineage.py with bins=20
    python examples/lineage.py show

No function below calls the library to say what it reads or writes: files are opened with `open`, and the module that
draws is imported where it is needed. What was read, written and imported is in the record all the same; the command
``show`` prints it for the newest run, and what could not be seen.
"""

import os

from capture import SETTINGS, Experiment, open_store

ex = Experiment("lineage")


@ex.config
def defaults():
    table = "lineage_data/heights.csv"  # read
    folder = "lineage_out"  # of what is written
    bins = 10  # bars of the picture


@ex.command(unobserved=True)
def make_table(table):
    """Write the table, the same each time; so that nothing has to be fetched."""
    import random

    draw = random.Random(3)
    os.makedirs(os.path.dirname(table), exist_ok=True)
    with open(table, "w") as stream:
        stream.write("height\n" + "".join(f"{draw.gauss(170, 9):.1f}\n" for _ in range(200)))


@ex.capture
def read(table):
    """Return the heights in the table, in cm."""
    import csv

    with open(table, newline="") as stream:
        return [float(row["height"]) for row in csv.DictReader(stream)]


@ex.command(unobserved=True)
def show():
    """Print what the newest run read, wrote and imported."""
    run = open_store(SETTINGS.STORE).get("latest")
    lineage = run.facts["lineage"]
    print(f"run {run.label}, {run.status}")
    for kind in ("inputs", "outputs"):
        for file in lineage[kind]:
            name = os.path.relpath(file["path"])
            print(f"  {kind[:-1]:<7} {name}  {file['size']} bytes  {file['digest'][:12]}")
    for source in run.sources:
        print(f"  source  {source.name}")
    print(lineage["coverage"]["text"])


@ex.automain
def main(folder, bins):
    """Write a summary and a picture; the result is the mean."""
    from statistics import mean, stdev

    from lineage_picture import histogram, svg

    heights = read()
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "heights.svg"), "w") as stream:
        stream.write(svg(histogram(heights, bins)))

    summary = os.path.join(folder, "summary.csv")
    with open(summary + ".part", "w") as stream:  # it gets its name when it is whole
        stream.write(f"n,mean,sd\n{len(heights)},{mean(heights):.2f},{stdev(heights):.2f}\n")
    os.replace(summary + ".part", summary)
    print(f"mean height {mean(heights):.1f} cm")
    return round(mean(heights), 2)
