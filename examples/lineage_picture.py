"""A histogram as an SVG file, without a library: the example `lineage.py` imports this where it needs it."""


def histogram(values, bins):
    """Return how many of the values are in each of `bins` equal parts of their range."""
    low, high = min(values), max(values)
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return counts


def svg(counts):
    """Return a picture of the counts."""
    scale = 180 / max(counts)
    bars = "".join(
        f'<rect x="{20 * number}" y="{200 - scale * count:.0f}" width="18" height="{scale * count:.0f}"/>'
        for number, count in enumerate(counts)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{20 * len(counts)}" height="200">{bars}</svg>\n'
