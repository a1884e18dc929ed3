"""Runs as an RO-Crate: the folder of an export, with a description in JSON-LD that archives and papers understand.

The crate is one of RO-Crate 1.1 and of the profile Process Run Crate 0.5. Each run is a CreateAction: who did it
(agent), with what (instrument), from what (object), what came of it (result).
"""

from __future__ import annotations

from capture.exporting._target import Target, Written
from capture.exporting.folder import (
    PARTS,
    ExportedFile,
    ExportedRun,
    begin_run,
    index_of,
    placed,
    readable_name,
    readme_of,
    readme_of_many,
    write_files,
    write_parts,
)
from capture.exporting.licenses import license_of
from capture.filters import state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Any

    from capture.records import RunRecord

    Entity = dict[str, Any]

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
#: the second defines sha256 and environment
CONTEXT = [f"{CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
STATUSES = {
    "COMPLETED": "http://schema.org/CompletedActionStatus",
    "RUNNING": "http://schema.org/ActiveActionStatus",
    "QUEUED": "http://schema.org/PotentialActionStatus",
}
FAILED = "http://schema.org/FailedActionStatus"  #: any other
_DIED = "DIED: the process ended before it could say how"
_LONGEST = 2_000  #: characters of a value or an error that are told here; all of it is in a file

_TYPES = {
    ".py": "text/x-python", ".json": "application/json", ".csv": "text/csv", ".txt": "text/plain",
    ".md": "text/markdown", ".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml",
    ".patch": "text/x-diff", ".log": "text/plain", ".ipynb": "application/x-ipynb+json",
    ".parquet": "application/vnd.apache.parquet", ".npy": "application/octet-stream",
}  # fmt: skip


def export_ro_crate(
    runs: Sequence[RunRecord],
    path: str,
    license: str | None = None,
    source: str = "",
    progress: Callable[[str], Any] = lambda what: None,
) -> list[ExportedRun]:
    """Write runs as an RO-Crate: a folder, or a zip file if the name ends in ``.zip``.

    A file that several of the runs read or wrote is in the crate once, so that what one run made and another used is
    told by their being the same.

    Parameters
    ----------
    runs : sequence of RunRecord
    path : str
        Nothing may be there yet.
    license : str, optional
        URL of a license, or its identifier at SPDX, such as ``CC-BY-4.0``: under which the crate may be used; see
        `capture.exporting.licenses`.
    source : str
        URL of the store that they come from, to be mentioned.
    progress : callable, optional
        Called with the path of each file that is written.

    Returns
    -------
    list of ExportedRun
        Each says what could not be exported.

    Raises
    ------
    ExportError
        If something is there, or it cannot be written.
    UnknownLicenseError
        If the license is neither.
    """
    if license is not None:
        license_of(license)  # before anything is written
    ordered = sorted(runs, key=lambda run: run.start_time.timestamp() if run.start_time else 0.0)
    with Target(path) as target:
        target.place("", METADATA)
        exported = [begin_run(target, run, folder) for run, folder in placed(target, ordered)]
        known: dict[str, Written] = {}
        for kinds, shared in ((["artifacts"], known), (["resources"], known), (["sources", "kept"], None)):
            for each in exported:  # what runs made comes first: who used it refers to that
                write_files(target, each, kinds, progress, shared)
        for each in exported:
            write_parts(target, each, source, progress)
        crate = Crate(exported, license)
        for each in exported:
            name = f"{each.folder}/README.txt" if each.folder else "README.txt"
            crate.add_file(target.write(name, readme_of(each, source)), "README.txt", "What lies in this folder.")
        if len(runs) > 1:
            text = "A row for each run: its configuration, the last values of its metrics, its result."
            crate.add_file(target.write("index.csv", index_of(exported)), "index.csv", text)
            crate.add_file(target.write("README.txt", readme_of_many(exported, source)), "README.txt", "The runs here.")
        target.write(METADATA, _dumped(crate.document()))
    return exported


class Crate:
    """The description of a crate, as it grows.

    Parameters
    ----------
    exported : sequence of ExportedRun
        Whose files are written.
    license : str or None
    """

    def __init__(self, exported: Sequence[ExportedRun], license: str | None = None) -> None:
        self._entities: dict[str, Entity] = {}
        self._parts: list[Entity] = []
        self._actions: list[Entity] = []
        self._exported = exported
        self._license = self._add_license(license)
        for each in exported:
            self._actions.append(self._add_run(each))

    def document(self) -> dict[str, Any]:
        """Return the description as plain data, in JSON-LD."""
        about = {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": CRATE},
            "about": {"@id": "./"},
        }
        profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
        entities = [about, self._root(), profile, *self._entities.values()]
        return {"@context": CONTEXT, "@graph": [_compacted(entity) for entity in entities]}

    def _root(self) -> Entity:
        from capture.moments import datetime, timezone

        runs = [each.run for each in self._exported]
        named = ", ".join(dict.fromkeys(run.name or "?" for run in runs))
        title = f"Run {runs[0].label} of {named}" if len(runs) == 1 else f"{len(runs)} runs of {named}"
        told = f"{title}: configuration, sources, files read and written, metrics and output, as capture recorded them."
        notes = runs[0].notes if len(runs) == 1 else ""  # those of one of several say nothing of all
        actions = [self._entities[each["@id"]] for each in self._actions]
        agents = list({each["agent"]["@id"]: each["agent"] for each in actions if "agent" in each}.values())
        return {
            "@id": "./",
            "@type": "Dataset",
            "name": title,
            "description": f"{notes}\n{told}" if notes else told,
            "datePublished": datetime.now(timezone.utc).date().isoformat(),
            "license": self._license,
            "conformsTo": {"@id": PROFILE},
            "author": agents,
            "mentions": self._actions,
            "hasPart": self._parts,
        }

    # --------------------------------------------------------------------------------------------------- its entities

    def add(self, entity: Entity) -> Entity:
        """Add what is told of something, or to what was told; return what refers to it."""
        known = self._entities.setdefault(entity["@id"], entity)
        for name, value in entity.items():
            known.setdefault(name, value)
        return {"@id": entity["@id"]}

    def add_file(self, written: Written, name: str, description: str = "", **more: Any) -> Entity:
        """Add a file that is in the crate."""
        entity: Entity = {
            "@id": _uri(written.path),
            "@type": "File",
            "name": name,
            "contentSize": str(written.size),
            "sha256": written.digest,
            "encodingFormat": _type_of(written.path),
        }
        if description:
            entity["description"] = description
        if entity["@id"] not in self._entities:
            self._parts.append({"@id": entity["@id"]})
        return self.add({**entity, **{key: value for key, value in more.items() if value is not None}})

    def _add_license(self, license: str | None) -> Entity:
        if license is None:
            text = "No license was stated for this crate: ask its authors before you use it."
            return self.add(
                {"@id": "#no-license", "@type": "CreativeWork", "name": "No license stated", "description": text}
            )
        url, name = license_of(license)
        text = f"The license {name}."
        return self.add({"@id": url, "@type": "CreativeWork", "name": name, "description": text, "url": url})

    def _add_run(self, exported: ExportedRun) -> Entity:
        run = exported.run
        files = {id(each): self._add_stored(each, run) for each in exported.files}
        parts = {
            name: self.add_file(written, name, f"{PARTS[name][:1].upper()}{PARTS[name][1:]}.")
            for name, written in exported.parts.items()
        }
        action: Entity = {
            "@id": f"#{_uri(run.uid)}" if run.uid else f"#run-{_uri(str(run.label))}",
            "@type": "CreateAction",
            "name": f"Run {run.label} of {run.name}" if run.name else f"Run {run.label}",
            "description": "\n".join(filter(None, (_description(run), run.notes))),
            "instrument": self._instrument(exported, files),
            "object": [parts["config.json"], *self._parameters(run), *self._inputs(exported, files)],
            "result": [*self._outputs(exported, files), parts["metrics.csv"], parts["output.txt"], *self._values(run)],
            "subjectOf": [parts["run.json"], parts["environment.json"]],
        }
        for name, moment in (("startTime", run.start_time), ("endTime", run.stop_time)):
            if moment is not None:
                action[name] = _time(moment)
        state = state_of(run)
        action["actionStatus"] = STATUSES.get(state, FAILED)
        if state not in STATUSES:
            action["error"] = _error(run, state)
        agent, place = self._agent(run), self._host(run)
        action.update({name: value for name, value in (("agent", agent), ("location", place)) if value})
        action["environment"] = self._variables(run)
        return self.add(action)

    def _add_stored(self, each: ExportedFile, run: RunRecord) -> Entity | None:
        if each.written is None:
            return None
        stored = each.stored
        what = {
            "sources": "Source file that the run used.",
            "resources": "File that the run read, as it was then.",
            "artifacts": "File that the run wrote.",
            "kept": "Kept so that the run can be rebuilt.",
        }[each.kind]
        given = readable_name(each.kind, stored, run)
        name = given.rpartition("/")[2]
        more = {"alternateName": given if given != name else None}
        if stored.content_type:
            more["encodingFormat"] = stored.content_type
        return self.add_file(each.written, name, what, **more)

    # ---------------------------------------------------------------------------------------------- parts of an action

    def _instrument(self, exported: ExportedRun, files: dict[int, Entity | None]) -> Entity:
        run = exported.run
        main = _main_file(exported)
        entity = files[id(main)] if main is not None else None
        version = run.git.get("commit") or (f"sha256:{main.written.digest}" if main and main.written else None)
        told: Entity = {"name": run.name or "?"}
        if version:
            told["version"] = f"{version}{' with changes' if run.git.get('dirty') else ''}"
        if url := _web_address(run.git.get("url")):
            told["url"] = told["codeRepository"] = url
        told["programmingLanguage"] = self._python(run)
        told["softwareRequirements"] = [self._package(name, version) for name, version in run.packages.items()]
        told["hasPart"] = [
            files[id(each)]
            for each in exported.files
            if each.kind == "sources" and each is not main and files[id(each)]
        ]
        if entity is None:
            id_ = f"#program-{_uri(run.name or str(run.label))}"
            return self.add({"@id": id_, "@type": "SoftwareApplication", **told})
        known = self._entities[entity["@id"]]
        known["@type"] = ["File", "SoftwareSourceCode"]
        known.update({**told, "alternateName": known["name"]})
        return entity

    def _python(self, run: RunRecord) -> Entity:
        version = str(run.host.get("python_version") or "")
        language: Entity = {"@id": f"#python-{_uri(version)}", "@type": "ComputerLanguage"}
        language.update(name=f"Python {version}".strip(), url="https://www.python.org/")
        if version:
            language["version"] = version
        return self.add(language)

    def _package(self, name: str, version: str) -> Entity:
        id_ = f"#package-{_uri(name)}-{_uri(version)}"  # no address: where it was installed from is not known
        return self.add({"@id": id_, "@type": "SoftwareApplication", "name": name, "softwareVersion": version})

    def _parameters(self, run: RunRecord) -> list[Entity]:
        from capture.query.columns import flat

        entries = flat(run.config, "config") if run.config else {}
        return [self._property(run, name, name.removeprefix("config."), value) for name, value in entries.items()]

    def _values(self, run: RunRecord) -> list[Entity]:
        values = {} if run.result is None else {"result": run.result}
        values.update({f"metrics.{name}.last": summary["last"] for name, summary in run.summary.items()})
        return [self._property(run, name, name, value) for name, value in values.items()]

    def _variables(self, run: RunRecord) -> list[Entity]:
        process = run.facts.get("process")
        recorded = process.get("environment") if isinstance(process, dict) else None
        variables: dict[str, Any] = {}
        for table in (recorded, run.host.get("ENV")):
            variables.update(table if isinstance(table, dict) else {})
        return [self._property(run, f"environment.{name}", name, value) for name, value in variables.items()]

    def _property(self, run: RunRecord, path: str, name: str, value: Any) -> Entity:
        id_ = f"#{_uri(run.uid or str(run.label))}-{_uri(path)}"
        return self.add({"@id": id_, "@type": "PropertyValue", "name": name, "value": _value(value)})

    def _inputs(self, exported: ExportedRun, files: dict[int, Entity | None]) -> list[Entity]:
        from capture.file_uses import READ

        return self._used(exported, files, "resources", READ, "read")

    def _outputs(self, exported: ExportedRun, files: dict[int, Entity | None]) -> list[Entity]:
        from capture.file_uses import WROTE

        return self._used(exported, files, "artifacts", WROTE, "wrote")

    def _used(
        self, exported: ExportedRun, files: dict[int, Entity | None], kind: str, role: str, verb: str
    ) -> list[Entity]:
        """Return the files of a kind, and what the run read or wrote besides and is not in the crate."""
        from capture.file_uses import uses_of

        found = [files[id(each)] for each in exported.files if each.kind == kind]
        there = {each.written.digest for each in exported.files if each.kind == kind and each.written is not None}
        for use in uses_of(exported.run):
            if use.role == role and use.digest not in there:
                found.append(self._absent(exported, files, use, verb))
        unique = {each["@id"]: each for each in found if each is not None}
        return list(unique.values())

    def _absent(self, exported: ExportedRun, files: dict[int, Entity | None], use: Any, verb: str) -> Entity:
        """Tell of what is known by its name and digest only."""
        what = "folder" if use.files is not None else "answer of a server" if use.is_url else "file"
        entity: Entity = {
            "@id": f"#{_uri(use.key)}",
            "@type": "CreativeWork",
            "name": use.name,
            "description": f"A {what} that the run {verb}; it is not in this crate.",
        }
        if use.path != use.name and not use.is_url:
            entity["alternateName"] = use.path
        if use.digest:
            entity.update({"identifier": f"sha256:{use.digest}", "sha256": use.digest})
        if use.size is not None:
            entity["contentSize"] = str(use.size)
        if use.is_url:
            entity["url"] = use.path
        if use.manifest is not None:
            lists = [each for each in exported.files if each.stored.name == use.manifest.name and each.kind == "kept"]
            told = files[id(lists[0])] if lists else None
            entity["description"] = f"A folder of {use.files:,} files that the run {verb}; they are not in this crate."
            if told is not None:
                entity["subjectOf"] = told
        return self.add(entity)

    def _agent(self, run: RunRecord) -> Entity | None:
        if not run.user:
            return None
        return self.add({"@id": f"#user-{_uri(run.user)}", "@type": "Person", "name": run.user})

    def _host(self, run: RunRecord) -> Entity | None:
        name = run.host.get("hostname")
        if not name:
            return None
        system = run.host.get("os")
        told = [run.host.get("cpu"), system[-1] if isinstance(system, (list, tuple)) and system else system]
        host = {"@id": f"#host-{_uri(str(name))}", "@type": "Place", "name": str(name)}
        return self.add({**host, "description": f"Computer: {', '.join(str(each) for each in told if each) or '?'}"})


def _main_file(exported: ExportedRun) -> ExportedFile | None:
    sources = [each for each in exported.files if each.kind == "sources" and each.written is not None]
    main = exported.run.experiment.get("mainfile")
    return next((each for each in sources if each.stored.name == main), None)


def _description(run: RunRecord) -> str:
    process = run.facts.get("process")
    words = process.get("argv") if isinstance(process, dict) else None
    if isinstance(words, list) and words:
        import shlex

        return "python " + shlex.join(map(str, words))
    return f"The command {run.command!r} of the experiment {run.name!r}."


def _error(run: RunRecord, state: str) -> str:
    trace = [line.strip() for line in run.fail_trace or () if line.strip()]
    return (trace[-1] if trace else _DIED if state == "DIED" else state)[:_LONGEST]


def _value(value: Any) -> Any:
    """Return a value as a property's: text, a number or a truth value."""
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value - value == 0):
        return value
    from capture.codec import StoredEnum, encode

    if isinstance(value, (str, StoredEnum)) or hasattr(value, "__fspath__"):
        text = str(value)
    else:
        from capture import plainjson

        text = plainjson.dumps(encode(value), ensure_ascii=False, allow_nan=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _web_address(url: Any) -> str | None:
    """Return the address of a repository as a page, where git would ask another port.

    Examples
    --------
    >>> _web_address("git@github.com:ada/digits.git"), _web_address("/srv/git/digits")
    ('https://github.com/ada/digits', None)
    """
    if not isinstance(url, str):
        return None
    if url.startswith("git@") and ":" in url:
        host, _, path = url[4:].partition(":")
        url = f"https://{host}/{path}"
    return url.removesuffix(".git") if url.startswith(("http://", "https://")) else None


def _uri(text: str) -> str:
    """Return a path or a name as part of a URI."""
    from urllib.parse import quote

    return quote(text.encode("utf-8", "surrogatepass"), safe="/~-._")


def _type_of(path: str) -> str:
    import mimetypes
    import os

    ending = os.path.splitext(path)[1].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _compacted(entity: Entity) -> Entity:
    """Return an entity in which a list of one is that one, and an empty list is not there: JSON-LD's compact form."""
    plain = {}
    for name, value in entity.items():
        if not isinstance(value, list):
            plain[name] = value
        elif value:
            plain[name] = value[0] if len(value) == 1 else value
    return plain


def _dumped(document: dict[str, Any]) -> str:
    from capture import plainjson

    return plainjson.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
