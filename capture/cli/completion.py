"""``capture completion``: what a shell offers when TAB is pressed.

The script that is printed knows nothing of the commands: at each TAB it asks ``capture completion --words``. That gets
the words of the line in the environment variable `VARIABLE`, one on each line up to that where the cursor stands, and a
dot on a line behind them. It answers with candidates, one on each line, with a tab and a description behind them where
there is one. The line `FILES` or `FOLDERS` asks the shell to offer these itself.
"""

from __future__ import annotations

import os
import sys

from capture.cli import COMMANDS
from capture.errors import CommandLineError
from capture.query.addresses import SEPARATOR, split_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.query.client import Store

USAGE = """\
Print a script that completes commands, options, runs and files in bash, zsh or fish.

Usage:
  capture completion (bash | zsh | fish)
  capture completion --words

To have it in every shell:
  bash  echo 'source <(capture completion bash)' >> ~/.bashrc
  zsh   echo 'source <(capture completion zsh)' >> ~/.zshrc       # behind compinit
  fish  capture completion fish > ~/.config/fish/completions/capture.fish

Options:
  --words  What the scripts ask; not for people.
"""

VARIABLE = "_CAPTURE_WORDS"
FILES, FOLDERS = ":files", ":folders"
MOST_RUNS = 50  #: runs that are offered, the newest
#: paths of a run that need no look at one
PATHS = ("status", "result", "start_time", "duration", "name", "project", "tags", "notes", "user", "git.commit")
_COLONS = (":", "::")  #: words of their own where bash breaks words at colons
_IN_A_PATH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./"
WAIT_S = 1.0  #: how long a store has to answer

BASH = """\
# completion of capture for bash: source <(capture completion bash)
_capture_complete() {
    local current="${COMP_WORDS[COMP_CWORD]}" words line plain= quoted= found=()
    # what follows an open quote is completed within it
    case "$current" in [\\"\\']*) quoted=1 current="${current:1}" ;; esac
    words=$(printf '%s\\n' "${COMP_WORDS[@]:0:COMP_CWORD}" "$current" .)  # the shell would drop line ends at the end
    # bash breaks words at = and :, which are words of their own then
    case "$current" in "=" | ":" | "::") current="" ;; esac
    while IFS= read -r line; do
        case "$line" in
            :files | :folders)
                compopt -o filenames 2>/dev/null && plain=1  # then readline quotes what it inserts
                case "$line" in :files) line=-f ;; *) line=-d ;; esac
                while IFS= read -r line; do found+=("$line"); done < <(compgen $line -- "$current") ;;
            *)
                line="${line%%$'\\t'*}"
                case "$line" in --*=) compopt -o nospace 2>/dev/null ;; esac
                found+=("$line") ;;
        esac
    done < <(_CAPTURE_WORDS="$words" "${COMP_WORDS[0]}" completion --words 2>/dev/null)
    COMPREPLY=()
    for line in "${found[@]}"; do
        if [[ -n "$quoted" && -z "$plain" ]]; then  # nothing is offered there that the shell would run
            case "$line" in *[\\$\\`\\"\\'\\\\!]*) continue ;; esac
        else
            [[ -n "$plain" ]] || line=$(printf '%q' "$line")
        fi
        COMPREPLY+=("$line")
    done
}
complete -F _capture_complete capture
"""

ZSH = """\
#compdef capture
# completion of capture for zsh: source <(capture completion zsh), behind compinit
_capture() {
    local line name asked="${(pj:\\n:)words[1,CURRENT-1]}"$'\\n'"$PREFIX"$'\\n'.
    local -a names shown attached attached_shown
    local ask_files= ask_folders=
    while IFS= read -r line; do
        case "$line" in
            :files) ask_files=1 ;;
            :folders) ask_folders=1 ;;
            *)
                name="${line%%$'\\t'*}"
                local text="$name"
                [[ "$line" == *$'\\t'* ]] && text="$name  -- ${line#*$'\\t'}"
                if [[ "$name" == *= ]]; then
                    attached+=("$name") attached_shown+=("$text")
                else
                    names+=("$name") shown+=("$text")
                fi ;;
        esac
    done < <(_CAPTURE_WORDS="$asked" "${words[1]}" completion --words 2>/dev/null)
    [[ "$PREFIX" == --*=* ]] && compset -P '*='
    (( $#names )) && compadd -l -d shown -- "${names[@]}"
    (( $#attached )) && compadd -l -S '' -d attached_shown -- "${attached[@]}"
    [[ -n "$ask_files" ]] && _files
    [[ -n "$ask_folders" ]] && _files -/
    return 0
}
compdef _capture capture
"""

FISH = """\
# completion of capture for fish: capture completion fish > ~/.config/fish/completions/capture.fish
function __capture_complete
    set -l current (string replace -r '^["\\']' '' -- (commandline -ct))  # of an open quote
    set -l words (commandline -opc) "$current"
    set -l before ""
    if string match -qr '^--[^=]+=' -- $current
        set before (string replace -r '=.*' '=' -- $current)
        set current (string replace -r '^[^=]*=' '' -- $current)
    end
    set -lx _CAPTURE_WORDS (string join \\n -- $words . | string collect)
    for line in (command $words[1] completion --words 2>/dev/null)
        switch $line
            case ':files'
                for each in (__fish_complete_path $current)
                    printf '%s\\n' $before$each
                end
            case ':folders'
                for each in (__fish_complete_directories $current '')
                    printf '%s\\n' $before$each
                end
            case '*'
                printf '%s\\n' $before$line
        end
    end
end
complete -c capture -f -a '(__capture_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def run(arguments: dict[str, Any]) -> int:
    """Print a script, or answer one."""
    if arguments["--words"]:
        given = os.environ.get(VARIABLE)
        if given is None:
            raise CommandLineError("--words is for the scripts: capture completion bash prints one")
        sys.stdout.write("".join(f"{each}\n" for each in candidates(given.split("\n")[:-1])))
        return 0
    print(next(script for shell, script in SCRIPTS.items() if arguments[shell]), end="")
    return 0


def candidates(words: list[str]) -> list[str]:
    """Return what may stand in place of the last word.

    Parameters
    ----------
    words : list of str
        Of the command line, ``capture`` the first, up to the cursor. Those at which bash has broken a word are put
        together again.

    Returns
    -------
    list of str
        Those that begin with the last word, each with a tab and a description where there is one; what the shell is to
        offer itself is `FILES` or `FOLDERS`. Behind ``--name=`` only the value is given, and behind a colon at which
        bash has broken the word, what follows that.

    Examples
    --------
    >>> [each.partition("\\t")[0] for each in candidates(["capture", "ver"])]
    ['verify']
    """
    broken = words
    words = _joined(words)
    current = words[-1] if len(words) > 1 else ""
    if len(words) <= 2:
        found = {**COMMANDS, "--help": "What commands there are.", "--version": ""}
        return _beginning_with(current, [f"{name}\t{text}" for name, text in found.items()])
    command, before = words[1], words[2:-1]
    if command in ("trace", "demo"):
        return [FILES] if command == "trace" else []
    if command not in COMMANDS:
        return []
    line = _Line(command, before)
    name, equals, value = current.partition("=")
    if equals and name.startswith("--"):
        return _beginning_with(value, line.values(name, value))
    if before and line.takes_value(before[-1]):
        return _beginning_with(current, line.values(before[-1], current))
    if current.startswith("-"):
        return _beginning_with(current, line.options())
    arguments = _beginning_with(current, line.arguments(current))
    given = "" if broken[-1] in _COLONS else broken[-1]  # what bash puts a candidate in place of
    head = current.removesuffix(given)
    return [each.removeprefix(head) for each in arguments]


def _joined(words: list[str]) -> list[str]:
    """Put together ``--store``, ``=``, ``runs``, which is how bash gives ``--store=runs``; likewise at colons."""
    joined: list[str] = []
    attach = False
    for word in words:
        if word in ("=", *_COLONS) and joined and (word in _COLONS or joined[-1].startswith("--")):
            joined[-1] += word
            attach = True
        elif attach:
            joined[-1] += word
            attach = False
        else:
            joined.append(word)
    return joined


def _beginning_with(current: str, found: list[str]) -> list[str]:
    return [each for each in found if each in (FILES, FOLDERS) or each.startswith(current)]


class _Line:
    """A command line up to the word where the cursor stands.

    Parameters
    ----------
    command : str
    before : list of str
        The words behind the command.
    """

    def __init__(self, command: str, before: list[str]) -> None:
        from importlib import import_module

        self.command = command
        try:
            self.usage: str = getattr(import_module(f"capture.cli.{command}"), "USAGE", "")
        except ImportError:
            self.usage = ""
        self._options = options_of(self.usage)
        self.given: dict[str, str] = {}
        self.positional: list[str] = []
        waiting = ""
        for word in before:
            name, equals, value = word.partition("=")
            if waiting:
                self.given[waiting], waiting = word, ""
            elif word.startswith("-") and len(word) > 1 and not word[1:].isdecimal():
                self.given[name] = value
                waiting = name if not equals and self.takes_value(name) else ""
            else:
                self.positional.append(word)

    def takes_value(self, name: str) -> bool:
        """Say whether the word behind an option belongs to it."""
        return any(name in names and value for names, value, _ in self._options)

    def options(self) -> list[str]:
        """Return the options, those that take a value with ``=`` behind them."""
        found = [(name, value, text) for names, value, text in self._options for name in names if name[:2] == "--"]
        found.append(("--help", "", "What this command does."))
        return [f"{name}{'=' if value else ''}\t{text}" for name, value, text in found]

    def values(self, name: str, current: str) -> list[str]:
        """Return what an option may be."""
        if name == "--source":
            return _within(lambda: self._files(["sources"]))
        value = next((value for names, value, _ in self._options if name in names), "")
        return self._of_kind(value, current)

    def arguments(self, current: str = "") -> list[str]:
        """Return what may stand where no option does."""
        kinds = arguments_of(self.usage, self.command)
        if not kinds:
            return []
        place = min(len(self.positional), len(kinds) - 1)
        is_last_of_one = len(self.positional) >= len(kinds) and not kinds[-1].endswith("...")
        return [] if is_last_of_one else self._of_kind(kinds[place].removesuffix("..."), current)

    def _of_kind(self, kind: str, current: str = "") -> list[str]:
        if kind == "WHAT":  # a file or a run
            return [*_within(lambda: self._runs(current)), FILES]
        if kind in ("SOURCE", "TARGET", "URL", "FILE", "SCRIPT"):
            return [FILES]
        if kind in ("FOLDER", "DIR"):
            return [FOLDERS]
        if kind == "SHELL":
            return list(SCRIPTS)
        if kind == "UID":
            return _within(_uids)
        if kind == "RUN":
            is_path = "/" in current and ":" not in current  # of a store: two colons and a run are to follow
            return [*_within(lambda: self._runs(current)), *([FILES] if is_path else [])]
        if kind == "TAG":
            return _within(self._tags)
        if kind in ("COL", "COLS", "PATTERN"):
            return _behind_comma(current, _within(self._columns))
        if kind == "EXPR":
            return _within(lambda: self._conditions(current)) if current else []
        if kind == "NAME" and self.command == "export":  # runs, and the folder to be written
            return [*_within(lambda: self._runs(current)), FILES]
        if kind == "NAME":
            return _within(self._files)
        return []

    def _store(self, before_run: str | None = None) -> Store:
        """Open the store that stands before a run, else the one that the line names.

        Other than for a command, nothing that waits is delivered to it first.
        """
        from capture.query.client import Store
        from capture.query.known import local_place
        from capture.registry import open_reader
        from capture.settings import SETTINGS

        named = self.positional[0] if self.command == "cp" and self.positional else self.given.get("--store")
        location = os.path.expanduser(before_run) if before_run else named or SETTINGS.STORE
        place = local_place(location)
        if place is not None and not os.path.exists(place):
            raise FileNotFoundError(place)
        return Store(location, open_reader(location))

    def _runs(self, current: str) -> list[str]:
        """Return the newest runs, with name and state, behind the store that the word names.

        Where those in the bin are meant, they are of the bin.
        """
        named, _ = split_run(current)
        before = f"{named}{SEPARATOR}" if named else ""
        with self._store(named) as store:
            if self.command in ("restore", "purge"):
                return [f"{before}{label}" for label in store.curator.binned()[::-1][:MOST_RUNS]]
            found = store.find(None, MOST_RUNS)
            return [f"{before}{run.label}\t{_plain(f'{run.name} {run.status}')}" for run in found]

    def _tags(self) -> list[str]:
        from capture.query.keeping import tag_counts

        with self._store() as store:
            return list(map(_plain, tag_counts(store.find(None, 1000))))

    def _columns(self) -> list[str]:
        """Return the columns of the newest runs, as a table heads them, and then their full paths."""
        from capture.cli import _run_table as table

        with self._store() as store:
            columns = table.all_columns([table.Row(run) for run in store.find(None, MOST_RUNS)])
        short = [title for title in table.titles(columns) if title not in columns]
        return [_plain(each) for each in (*short, *columns)]

    def _conditions(self, current: str) -> list[str]:
        """Return what an expression may go on with: a path in place of its last word; a state, or an experiment."""
        from capture.filters import STATES
        from capture.query.asking import known_paths

        head = current.rstrip(_IN_A_PATH)
        with self._store() as store:
            runs = list(store.find(None, MOST_RUNS))
        words = [*(each.lower() for each in (*STATES, "DIED")), *dict.fromkeys(run.name for run in runs if run.name)]
        paths = [path for path in known_paths(runs) if not path.startswith("meta.")]
        return [_plain(f"{head}{each}") for each in dict.fromkeys((*words, *PATHS, *paths))]

    def _files(self, kinds: list[str] | None = None) -> list[str]:
        from capture.query.fetching import KINDS, files_of

        if not self.positional:
            return []
        named, run = split_run(self.positional[0])
        with self._store(named) as store:
            chosen = kinds or [kind for kind in KINDS if f"--{kind}" in self.given] or KINDS
            return [f"{_plain(each.name)}\t{each.kind}" for each in files_of(store.get(run), chosen)]


def _behind_comma(current: str, names: list[str]) -> list[str]:
    """Return names behind those that stand before the last comma."""
    head = current[: current.rfind(",") + 1]
    return [f"{head}{name}" for name in names]


def _uids() -> list[str]:
    """Return the uids of runs whose journals wait."""
    from capture.delivery import Report
    from capture.journal import list_journals, state_dirs
    from capture.stores import default_folder

    paths = [path for state in state_dirs(default_folder()) for path in list_journals(state)]
    return list(dict.fromkeys(Report(path).uid for path in paths))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _within(look: Callable[[], list[str]]) -> list[str]:
    """Return what a store says, if it says it in time: who presses TAB does not wait for a server."""
    import threading

    found: list[str] = []

    def work() -> None:
        try:
            found.extend(look())
        except Exception as error:  # noqa: BLE001 - there is nobody to tell while a line is typed
            from capture.complaints import logger

            logger().debug("nothing to complete with: %s", error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    return list(found)


def options_of(usage: str) -> list[tuple[list[str], str, str]]:
    """Return the options that a help text describes: their names, what stands for the value, and a description.

    Examples
    --------
    >>> options_of("Options:\\n  -a TAG, --add=TAG  Add a tag.\\n  --json  As JSON.\\n")
    [(['-a', '--add'], 'TAG', 'Add a tag.'), (['--json'], '', 'As JSON.')]
    """
    found = []
    for line in usage.partition("Options:")[2].splitlines():
        if not line.strip().startswith("-"):
            continue
        head, _, text = line.strip().partition("  ")
        names, value = [], ""
        for part in head.split(","):
            name, _, given = part.strip().replace("=", " ").partition(" ")
            names.append(name)
            value = given.strip("[] ") or value
        found.append((names, value, text.strip()))
    return found


def arguments_of(usage: str, command: str) -> list[str]:
    """Return the arguments that stand in the usage lines of a command, ``...`` behind the one that may be repeated.

    Examples
    --------
    >>> arguments_of("Usage:\\n  capture cp [--verify] SOURCE TARGET [RUN...]\\n\\nOptions:\\n", "cp")
    ['SOURCE', 'TARGET', 'RUN...']
    """
    longest: list[str] = []
    for line in usage.partition("Usage:")[2].partition("\n\n")[0].splitlines():
        if f"capture {command}" not in line:
            continue
        if "bash | zsh" in line:
            return ["SHELL"]
        words = line.partition(f"capture {command}")[2].replace("[", " ").replace("]", " ").replace("(", " ").split()
        kinds = [word.strip("()|") for word in words if word.strip("()|.").isupper() and not word.startswith("-")]
        longest = max(longest, [kind for kind in kinds if kind != "..."], key=len)
    return longest
