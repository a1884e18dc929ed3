"""What the curators share of stores in which a run is a few documents, which a `DocumentWriter` changes."""

from __future__ import annotations

from capture.hooks import Curator, check_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class DocumentCurator(Curator):
    """Changes tags and notes as a writer of the run would; a subclass says how it comes by one, with `change`."""

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones."""
        self.change(run, "annotate", check_tags(tags), notes)

    def revise(self, run: Any, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
        """Change tags and notes by what they are at that moment, see `Curator.revise`."""
        self.change(run, "revise", change)

    def change(self, run: Any, name: str, *args: Any) -> None:
        """Make one change to the documents of a run, see `DocumentWriter.change`, and store it.

        Raises
        ------
        ObserverError
            If somebody moved or deleted the run just now.
        """
        raise NotImplementedError
