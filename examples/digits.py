"""Train a classifier on scikit-learn's bundled handwritten digits, and record the run.

Try::

    python examples/digits.py
    python examples/digits.py with lr=0.01
    python examples/digits.py with wide epochs=5
    python examples/digits.py with data=digits.csv
    python examples/digits.py print_config with lr=0.01
"""

from capture import Experiment

ex = Experiment("digits")


@ex.config
def defaults():
    lr = 0.1  # learning rate of the optimiser
    layers = [64, 32]  # units of each hidden layer
    epochs = 15  # passes over the training images
    batch_size = 32
    test_share = 0.25  # of the images, kept for testing
    data = ""  # CSV file, a line for each image: 64 pixels from 0 to 16 and the digit; empty: scikit-learn's own


@ex.named_config
def wide():
    """A single broad layer."""
    layers = [256]


@ex.capture
def load(data, test_share, seed):
    """Return training and test images with their labels."""
    import numpy
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if data:
        table = numpy.loadtxt(data, delimiter=",")
        images, labels = table[:, :-1], table[:, -1].astype(int)
    else:
        images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16.0, labels, test_size=test_share, random_state=seed % 2**32)


@ex.capture
def make_model(lr, layers, batch_size, seed):
    """Return a network that has not been trained."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        hidden_layer_sizes=tuple(layers),
        solver="sgd",
        learning_rate_init=lr,
        batch_size=batch_size,
        random_state=seed % 2**32,
    )


@ex.automain
def train(epochs, _run, _log):
    """Train for some epochs; the result is the share of test images that were read right."""
    train_images, test_images, train_labels, test_labels = load()
    model = make_model()
    for epoch in range(epochs):
        model.partial_fit(train_images, train_labels, classes=range(10))
        accuracy = model.score(test_images, test_labels)
        _run.log_metrics({"loss": model.loss_, "accuracy": accuracy}, step=epoch)
        print(f"epoch {epoch}: loss {model.loss_:.4f}, accuracy {accuracy:.3f}")

    import numpy

    predicted = model.predict(test_images)
    confusion = numpy.zeros((10, 10), dtype=int)
    numpy.add.at(confusion, (test_labels, predicted), 1)
    _run.add_artifact(confusion, name="confusion.csv")
    _log.info("%d of %d test images were read right", int((predicted == test_labels).sum()), len(test_labels))
    return accuracy
