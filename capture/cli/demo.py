"""Fit a polynomial to noisy points by gradient descent: an experiment that needs nothing but the library."""

import random
import sys

from capture.experiment import Experiment

ex = Experiment("demo")


@ex.config
def defaults():
    points = 40  # measured points
    noise = 0.1  # standard deviation of their error
    degree = 3  # of the polynomial
    lr = 0.3  # step of the gradient descent
    epochs = 300


@ex.named_config
def rough():
    """Few points and much noise."""
    points = 12
    noise = 0.5


@ex.capture
def measure(points, noise, seed):
    """Return points of a cubic, with errors."""
    generator = random.Random(seed)
    places = [2 * i / (points - 1) - 1 for i in range(points)]
    return [(x, x**3 - x + generator.gauss(0, noise)) for x in places]


def predict(weights, x):
    return sum(weight * x**power for power, weight in enumerate(weights))


@ex.capture
def descend(weights, data, lr):
    """Take one step downhill; return the mean squared error before it."""
    errors = [(predict(weights, x) - y, x) for x, y in data]
    for power in range(len(weights)):
        weights[power] -= lr * sum(error * x**power for error, x in errors) / len(data)
    return sum(error**2 for error, _ in errors) / len(data)


@ex.main
def fit(degree, epochs, _run):
    """Fit the polynomial; the result is the mean squared error."""
    data = measure()
    weights = [0.0] * (degree + 1)
    loss = None
    for epoch in range(epochs):
        loss = descend(weights, data)
        _run.log_scalar("loss", loss, epoch)
        if epoch % 100 == 0:
            print(f"epoch {epoch}: loss {loss:.4f}")
    print("fitted: " + " ".join(f"{weight:+.3f}*x^{power}" for power, weight in enumerate(weights)))
    _run.add_artifact({"weights": weights}, name="weights.json")
    return loss


def run(arguments):
    """Run the demo with the arguments of an experiment's command line, and say where to look."""
    ex.run_commandline(["capture demo", *arguments])
    finished = ex.current_run
    if finished is not None and finished.status == "COMPLETED" and finished.labels:
        store, label = next(iter(finished.labels.items()))
        sys.stdout.write(f"\nThe record is run {label} of {store}. In that folder:\n")
        sys.stdout.write("  config.json   the configuration        cout.txt      what was printed\n")
        sys.stdout.write("  metrics.json  the loss at each epoch   run.json      status, result, sources, host\n")
        sys.stdout.write("Try: capture demo with degree=7 lr=0.1     capture demo print_config with rough\n")
    return 0
