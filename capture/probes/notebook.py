"""What was typed: the cells of a notebook, or of IPython's prompt, which no file holds."""

from __future__ import annotations

import sys

_NAME = "notebook-cells"


def cells(after: int = 0) -> tuple[str, int]:
    """Return the cells that were run until now, in their order, the one that runs now among them.

    Parameters
    ----------
    after : int
        How many cells to leave out.

    Returns
    -------
    text : str
        In the percent format, which editors open as cells again: ``# %% [7]`` and the text of cell 7, as it was typed.
        Empty outside of IPython.
    count : int
        How many cells there are, those left out and empty ones included.
    """
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    history = getattr(get_shell(), "history_manager", None) if get_shell is not None else None
    typed = list(getattr(history, "input_hist_raw", ()))[1:]  # the first is empty, and stands for no cell
    later = [(number, text.rstrip()) for number, text in enumerate(typed, 1) if number > after and text.strip()]
    return "\n".join(f"# %% [{number}]\n{text}\n" for number, text in later), len(typed)


def name_of(number: int) -> str:
    """Return what the source is called that holds cells, from the first on; no module can have such a name."""
    return f"{_NAME}.py" if number == 0 else f"{_NAME}-after-{number}.py"


def is_cells(name: str) -> bool:
    """Say whether a source of this name holds cells, which no file of a folder does."""
    return name.startswith(_NAME)
