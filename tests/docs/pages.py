"""Runs the code of a documentation page the way a reader would: top to bottom, in one folder.

What a fenced block does is seen from the page itself:

- ``python``: executed, all blocks of a page in one namespace. If it begins with a comment that is only a file name
  (``# train.py``) it is saved under that name instead. With ``>>>`` prompts it runs as a doctest.
- ``toml``, ``yaml``: saved when they begin with such a comment.
- ``console``: each line after ``$ `` is run in a shell; output lines below it are compared, where given, after
  runs of white space are made one blank; a line ``...`` stands for any lines, ``...`` within a line for anything.
  A line ``$ command  # exit 2`` expects that exit status.
- anything else is only shown.

``<!-- not run: why -->`` on the line above a block leaves it out; ``<!-- file: name -->`` saves the block under that name;
``<!-- run: ... -->`` is Python that runs but is not shown (set-up, and checks of what the text claims).
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|file): (?P<note>[^\n]*?) -->\n)?"
    r"^(?P<fence>```+|~~~+)(?P<language>[\w{}-]*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ ]*$"
    r"|^<!-- run:\n?(?P<hidden>.*?)-->",
    re.MULTILINE | re.DOTALL,
)
_FILE_NAME = re.compile(r"#\s*([\w./-]+\.(?:py|toml|yaml|yml|sh))\s*\n")


@dataclass
class Block:
    """One fenced block, or a hidden piece of Python."""

    language: str
    body: str
    line: int
    mark: str = ""
    note: str = ""


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of a Markdown page in order."""
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["hidden"] is not None:
            found.append(Block("python", match["hidden"], line))
        else:
            body_line = text.count("\n", 0, match.start("body")) + 1
            found.append(Block(match["language"], match["body"], body_line, match["mark"] or "", match["note"] or ""))
    return found


class PageRunner:
    """Runs the blocks of one page in the current directory.

    Parameters
    ----------
    page : Path
        The Markdown file.
    folder : Path
        The current directory, where files of the page are saved. Shell commands find this interpreter's ``python`` and
        ``capture``.
    """

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.namespace: dict[str, object] = {"__name__": f"docs_{page.stem.replace('-', '_')}"}
        scripts = os.path.dirname(sys.executable)
        self.environment = {**os.environ, "PATH": scripts + os.pathsep + os.environ.get("PATH", ""), "COLUMNS": "100"}
        self.environment["PYTHONUNBUFFERED"] = "1"  # lines come when they are printed, as at a terminal
        self.environment.pop("PYTHONPATH", None)
        # A pytest that a page calls would else spend minutes on removing the folders that earlier sessions left behind.
        self.environment["PYTEST_DEBUG_TEMPROOT"] = str(folder)

    def run(self) -> int:
        """Run all blocks; return how many were run or saved."""
        count = 0
        for block in blocks_of(self.page.read_text(encoding="utf-8")):
            count += self._run_block(block)
        return count

    def _run_block(self, block: Block) -> int:
        if block.mark == "not run":
            return 0
        named = _FILE_NAME.match(block.body) if block.language in ("python", "toml", "yaml", "bash") else None
        if block.mark == "file" or named:
            path = self.folder / (block.note if block.mark == "file" else named[1])  # type: ignore[index]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif block.language == "python" and block.body.lstrip().startswith(">>>"):
            self._doctest(block)
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.body  # line numbers in tracebacks are those of the page
            exec(compile(code, str(self.page), "exec", dont_inherit=True), self.namespace)
        elif block.language == "console":
            self._console(block)
        else:
            return 0
        return 1

    def _doctest(self, block: Block) -> None:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
        examples = doctest.DocTestParser().get_doctest(
            block.body, self.namespace, self.page.name, str(self.page), block.line - 1
        )
        report: list[str] = []
        outcome = doctest.DocTestRunner(optionflags=options).run(examples, out=report.append, clear_globs=False)
        self.namespace.update(examples.globs)
        assert not outcome.failed, "".join(report)

    def _console(self, block: Block) -> None:
        for command, expected in _commands(block.body):
            command, _, status = command.partition("  # exit ")
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=600,
            )
            output = done.stdout.decode("utf-8", "replace")
            where = f"{self.page.name}:{block.line}: $ {command}"
            found = done.returncode if done.returncode >= 0 else 128 - done.returncode  # a signal, as shells show it
            assert found == int(status or 0), f"{where}\nexit status {found}\n{output}"
            if expected.strip():
                assert _pattern(expected).fullmatch(_squeeze(output)), (
                    f"{where}\n--- the page says\n{expected}\n--- it printed\n{output}"
                )


def _commands(body: str) -> list[tuple[str, str]]:
    """Split a console block into commands, continued by a backslash, and the output shown below each."""
    found: list[tuple[str, str]] = []
    continued = False
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif continued:
            found[-1] = (found[-1][0] + "\n" + line, "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
        else:
            raise ValueError(f"a console block begins with '$ ', not with {line!r}")
        continued = line.endswith("\\")
    return found


def _squeeze(text: str) -> str:
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "".join(line + "\n" for line in lines if line)


def _pattern(expected: str) -> re.Pattern[str]:
    lines = _squeeze(expected).splitlines()
    return re.compile(
        "".join(r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + r"\n" for line in lines)
    )
