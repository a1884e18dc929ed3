"""The lock of an environment: made-up installations, and real ones made by pip."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from capture.probes import environment, packages
from capture.probes.environment import LOCK_FILES, NAME, lock, read, requirements_text

from .test_packages import Site, editable

ROOT = os.path.dirname(packages.OWN_FOLDER[:-1])
LONG_AGO_NS = 10**18


class Kept(dict):
    """Keeps bytes by name, as a run does."""

    def __call__(self, name, data):
        self[name] = data
        return {"source": name, "digest": "d", "size": len(data)}

    @property
    def lock(self):
        return read(self[NAME])


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Give the only folder on the search path with distributions in it; no conda around."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    standard = os.path.dirname(os.__file__)
    monkeypatch.setattr(sys, "path", [str(folder), standard])
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    return Site(folder)


def settle(folder):
    """Let a folder look as if it had not changed for long."""
    os.utime(folder, ns=(LONG_AGO_NS, LONG_AGO_NS))


def entry(found, name):
    (each,) = [each for each in found["distributions"] if each["name"] == name]
    return each


# ---------------------------------------------------------------------------------------------------------- what it says


def test_every_distribution_of_this_environment_is_there_as_python_itself_lists_them(kept):
    """The standard library's own answer takes a tenth of a second; ours must say the same."""
    code = (
        "import importlib.metadata as metadata, json\n"
        "from capture.probes.environment import lock\nkept = {}\n"
        "facts = lock(lambda name, data: kept.update({name: data.decode()}), None)\n"
        "theirs = {}\n"
        "for each in metadata.distributions():\n"
        "    theirs.setdefault(each.metadata['Name'].lower().replace('_', '-').replace('.', '-'), each.version)\n"
        "print(json.dumps([kept, theirs, facts]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    documents, theirs, facts = json.loads(out)
    found = read(documents[NAME].encode())
    assert {each["name"]: each["version"] for each in found["distributions"]} == theirs
    assert facts["distributions"] == len(theirs) > 10
    assert found["python"]["version"] == ".".join(map(str, sys.version_info[:3])) or "rc" in sys.version


def test_what_is_told_of_a_distribution(site, kept):
    """Enough to install it again, or to know why that is not enough."""
    site.install("Plain.Thing", "1.0", ["a.py"], info="plain_thing-1.0.dist-info")
    place = site.install("torch", "2.13.0+cpu", ["torch/__init__.py"])
    (place / "INSTALLER").write_text("pip\n")
    (place / "REQUESTED").touch()
    site.install("odd", "1.0-beta", [], info="odd-1.0_beta.dist-info")
    (site.folder / "one_file-0.9-py3.11.egg-info").write_text("Name: one-file\nVersion: 0.9\n")
    (site.folder / "nothing.dist-info").mkdir()
    facts = lock(kept, None)
    found = kept.lock
    assert [each["name"] for each in found["distributions"]] == ["nothing", "odd", "one-file", "plain-thing", "torch"]
    assert entry(found, "plain-thing") == {"name": "plain-thing", "version": "1.0"}
    assert entry(found, "torch") == {"name": "torch", "version": "2.13.0+cpu", "installer": "pip", "requested": True}
    assert entry(found, "odd")["version"] == "1.0-beta" and entry(found, "one-file")["version"] == "0.9"
    assert entry(found, "nothing")["version"] is None
    assert facts["distributions"] == 5 and facts["lock"]["source"] == NAME
    assert [note.partition(":")[0] for note in facts["notes"]] == [
        "nothing cannot be installed again by version alone",
        "torch 2.13.0+cpu cannot be installed again by version alone",
    ]


def test_direct_urls_are_told_without_passwords(site, kept, tmp_path):
    """A lock is for others to read."""
    vcs = {"vcs": "git", "commit_id": "c" * 40}
    site.install("from-git", "1", direct_url={"url": "https://u:geheim-123@h.org/r.git", "vcs_info": vcs, "subdirectory": "s"})
    hashes = {"hashes": {"sha256": "ab"}}
    site.install("from-file", "2", direct_url={"url": "file:///w/x-2-py3-none-any.whl", "archive_info": hashes})
    site.install("mine", "3", direct_url=editable(tmp_path / "checkout"))
    facts = lock(kept, None)
    found = kept.lock
    assert b"geheim" not in kept[NAME] and "geheim" not in json.dumps(facts)
    assert entry(found, "from-git")["direct_url"]["vcs_info"]["commit_id"] == "c" * 40
    assert entry(found, "from-file")["direct_url"]["archive_info"] == hashes
    assert entry(found, "mine")["editable"] == str(tmp_path / "checkout")
    assert len(facts["notes"]) == 3


def test_the_interpreter_and_the_platform_are_told(site, kept):
    """A compiled wheel fits one interpreter on one platform."""
    facts = lock(kept, None)
    python, platform = kept.lock["python"], kept.lock["platform"]
    assert facts["python"] == python and python["implementation"] == sys.implementation.name
    assert python["executable"] == sys.executable and python["abi"] and python["build"] and python["compiler"]
    assert python["free_threaded"] is (not getattr(sys, "_is_gil_enabled", lambda: True)())
    assert platform["pointer_bits"] == sys.maxsize.bit_length() + 1 and platform["machine"]


def test_flags_that_change_what_code_does_are_told():
    """``-O`` takes the assertions out."""
    code = "from capture.probes.environment import python_facts; print(python_facts()['flags'])"
    env = {**os.environ, "PYTHONPATH": ROOT}
    out = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert "'optimize': 1" in out


def test_equal_environments_have_equal_documents(site, tmp_path):
    """Runs of one environment share one copy; nothing in it may depend on time or order."""
    for name in ("b", "a", "c"):
        site.install(name, "1")
    first, second = Kept(), Kept()
    lock(first, None)
    packages._scans.clear()
    os.utime(site.folder)
    lock(second, None)
    assert first[NAME] == second[NAME]


def test_a_distribution_that_is_installed_twice_counts_once_and_is_noted(site, kept, tmp_path, monkeypatch):
    """The second one may be imported after all, by a process with another search path."""
    Site(tmp_path / "user").install("thing", "2.0")
    site.install("thing", "1.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "user"), *sys.path])
    facts = lock(kept, None)
    assert entry(kept.lock, "thing")["version"] == "2.0"
    assert any("2.0" in note and "hides 1.0" in note for note in facts["notes"])


def test_an_archive_on_the_search_path_is_noted(site, kept, tmp_path, monkeypatch):
    """What is in it is not listed, and a record must say what it leaves out."""
    (tmp_path / "app.zip").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "app.zip"), str(tmp_path / "gone"), 3])
    assert any("app.zip" in note for note in lock(kept, None)["notes"])


# ----------------------------------------------------------------------------------------------------------------- conda


def test_packages_of_conda_are_told_with_build_and_url(site, kept, tmp_path):
    """What conda installed is not Python's alone: compilers, CUDA, BLAS."""
    folder = tmp_path / "conda-meta"
    folder.mkdir()
    package = {
        "build": "h1_0",
        "channel": "https://conda.example.org/t/tk-geheim/main/linux-64",
        "files": ["name", '  "name": "no"'],
        "link": {"name": "no", "url": "no"},
        "md5": "abc",
        "name": "libblas",
        "url": "https://conda.example.org/t/tk-geheim/main/linux-64/libblas-3.9.0-h1_0.conda",
        "version": "3.9.0",
    }
    (folder / "libblas-3.9.0-h1_0.json").write_text(json.dumps(package, indent=2, sort_keys=True))
    (folder / "other-1-0.json").write_text(json.dumps({**package, "name": "other", "channel": "conda-forge"}))
    (folder / "broken-1-0.json").write_text("{")
    (folder / "history").touch()
    facts = lock(kept, None)
    first, second = kept.lock["conda"]
    assert (first["name"], first["version"], first["build"], first["md5"]) == ("libblas", "3.9.0", "h1_0", "abc")
    assert first["url"].endswith("/main/linux-64/libblas-3.9.0-h1_0.conda") and second["channel"] == "conda-forge"
    assert facts["conda"] == ["libblas=3.9.0=h1_0", "other=3.9.0=h1_0"]
    assert b"geheim" not in kept[NAME]


# ------------------------------------------------------------------------------------------------------------ lock files


@pytest.fixture
def repository(tmp_path):
    """Give a folder inside a repository."""
    folder = tmp_path / "repo" / "pkg" / "scripts"
    folder.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    return folder


def test_lock_files_of_the_project_are_kept_as_they_are(site, kept, repository, tmp_path):
    """The nearest of each kind, up to the top of the repository and no further."""
    (tmp_path / "repo" / "uv.lock").write_bytes(b"version = 1\r\n\xff")
    (tmp_path / "repo" / "requirements.txt").write_text("far")
    (repository.parent / "requirements.txt").write_text("git+ssh://git@host.org/x.git\n")
    (tmp_path / "poetry.lock").write_text("of another project")
    facts = lock(kept, str(repository))
    assert kept[".capture/uv.lock"] == b"version = 1\r\n\xff"
    assert kept[".capture/requirements.txt"] == b"git+ssh://git@host.org/x.git\n"
    assert [each["source"] for each in facts["lock_files"]] == [".capture/uv.lock", ".capture/requirements.txt"]
    assert facts["lock_files"][0]["path"] == str(tmp_path / "repo" / "uv.lock") and facts["notes"] == []


def test_outside_of_a_repository_only_the_folder_itself_is_looked_at(site, kept, tmp_path):
    """What lies further up may be anybody's."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "uv.lock").touch()
    (tmp_path / "a" / "b" / "Pipfile.lock").write_text("{}")
    assert [each["source"] for each in lock(kept, str(tmp_path / "a" / "b"))["lock_files"]] == [".capture/Pipfile.lock"]


def test_a_lock_file_that_is_too_large_or_cannot_be_read_is_noted(site, kept, repository, monkeypatch):
    """It is left out with the reason, and nothing fails."""
    (repository / "uv.lock").write_text("x" * 100)
    monkeypatch.setattr(environment, "LARGEST_LOCK_FILE", 99)
    facts = lock(kept, str(repository))
    assert facts["lock_files"] == [] and "100 bytes" in facts["notes"][0]
    monkeypatch.setattr(environment, "LARGEST_LOCK_FILE", 100)

    def refuse(path, *rest):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    facts = lock(kept, str(repository))
    assert facts["lock_files"] == [] and "Permission denied" in facts["notes"][0]


def test_passwords_in_a_lock_file_are_masked_and_that_is_noted(site, kept, repository):
    """Private indexes are often named with one."""
    (repository / "requirements.txt").write_text("--index-url https://bob:geheim-123@index.org/simple\nnumpy==2.0\n")
    facts = lock(kept, str(repository))
    text = kept[".capture/requirements.txt"].decode()
    assert "geheim" not in text and "@index.org/simple\nnumpy==2.0\n" in text
    assert "masks" in facts["notes"][0]


@pytest.mark.parametrize(
    ("name", "secret", "text"),
    [
        ("uv.lock", "a1b2c3d4e5f6g7h8", 'registry = "https://index.org/simple/?token={}"\n'),
        ("pixi.lock", "xy-12345678-abcd", "- conda: https://conda.anaconda.org/t/{}/team/linux-64/a-1.conda\n"),
        ("environment.yml", "ghp_" + "a1B2" * 9, "variables: [{}]\n"),
    ],
)
def test_no_other_form_of_a_secret_stays_in_a_lock_file(site, kept, repository, name, secret, text):
    """Parameters, the path of a private conda channel, and tokens give the same access as a password."""
    (repository / name).write_text(text.format(secret))
    (repository / "poetry.lock").write_text("url = 'https://files.example.org/packages/t/ab/x.tar.gz#sha256=00'\n")
    lock(kept, str(repository))
    assert secret not in kept[f".capture/{name}"].decode() and "***masked:" in kept[f".capture/{name}"].decode()
    assert kept[".capture/poetry.lock"] == (repository / "poetry.lock").read_bytes()


def test_every_kind_of_lock_file_is_a_plain_name():
    """Its name becomes that of a source."""
    assert all(name == os.path.basename(name) for name in LOCK_FILES) and len(set(LOCK_FILES)) == len(LOCK_FILES)


# ------------------------------------------------------------------------------------------------------------- the cache


def cache_files(folder):
    return sorted(os.listdir(folder))


def test_the_document_of_the_last_run_is_taken_as_long_as_nothing_has_changed(site, tmp_path, monkeypatch):
    """This is what a short run pays; it must be found without looking into any distribution."""
    cache = tmp_path / "cache"
    cache.mkdir()
    site.install("one", "1.0+local")
    settle(site.folder)
    first, second = Kept(), Kept()
    facts = lock(first, None, str(cache))
    assert len(cache_files(cache)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(environment, "_described", None)
        patch.setattr(packages, "installed", None)
        assert lock(second, None, str(cache)) == facts
    assert second[NAME] == first[NAME]


@pytest.mark.parametrize("change", ["installed", "elsewhere", "executable", "path", "order"])
def test_a_change_makes_the_document_anew(site, tmp_path, monkeypatch, change):
    """A stale lock would be worse than none."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    cache.mkdir(), other.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(other)])
    site.install("one", "1.0")
    if change == "order":
        Site(other).install("one", "0.9")
    settle(site.folder), settle(other)
    lock(Kept(), None, str(cache))
    if change == "installed":
        site.install("two", "2.0")
    elif change == "elsewhere":
        Site(other).install("two", "2.0")
    elif change == "executable":
        monkeypatch.setattr(sys, "executable", "/another/python")
    elif change == "order":
        monkeypatch.setattr(sys, "path", sys.path[::-1])
    else:
        Site(tmp_path / "third").install("three", "3.0")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "third")])
    cached, fresh = Kept(), Kept()
    lock(cached, None, str(cache))
    lock(fresh, None)
    assert cached[NAME] == fresh[NAME]
    names = {each["name"]: each["version"] for each in cached.lock["distributions"]}
    expected = {"executable": {"one": "1.0"}, "path": {"one": "1.0", "three": "3.0"}, "order": {"one": "0.9"}}
    assert names == expected.get(change, {"one": "1.0", "two": "2.0"})


def test_folders_without_distributions_may_change(site, tmp_path, monkeypatch):
    """That of the script does, whenever a file is saved in it."""
    cache, scripts = tmp_path / "cache", tmp_path / "scripts"
    cache.mkdir(), scripts.mkdir()
    monkeypatch.setattr(sys, "path", [str(scripts), *sys.path])
    site.install("one", "1.0")
    settle(site.folder)
    lock(Kept(), None, str(cache))
    (scripts / "new.py").touch()
    monkeypatch.setattr(environment, "_described", None)
    kept = Kept()
    lock(kept, None, str(cache))
    assert entry(kept.lock, "one")


def test_a_folder_that_has_just_changed_is_not_trusted(site, tmp_path):
    """Its clock may be too coarse to show the next change."""
    cache = tmp_path / "cache"
    cache.mkdir()
    site.install("one", "1.0")
    lock(Kept(), None, str(cache))
    assert cache_files(cache) == []


@pytest.mark.parametrize("damage", ["empty", "cut", "no json", "other json", "changed", "list"])
def test_a_damaged_cache_is_ignored(site, tmp_path, damage):
    """A machine may go down in the middle of a write."""
    cache = tmp_path / "cache"
    cache.mkdir()
    site.install("one", "1.0")
    settle(site.folder)
    good = Kept()
    lock(good, None, str(cache))
    (path,) = cache.iterdir()
    data = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": data[:-3],
            "no json": b"\xff\n\xfe",
            "other json": b'{"head": 3}\n{}',
            "changed": data.replace(b'"1.0"', b'"1.1"'),
            "list": b"[]\n" + data.partition(b"\n")[2],
        }[damage]
    )
    kept = Kept()
    lock(kept, None, str(cache))
    assert kept[NAME] == good[NAME]
    assert path.read_bytes() == data


def test_a_cache_that_cannot_be_written_is_logged_and_no_obstacle(site, tmp_path, kept, caplog):
    """The next run only takes longer."""
    site.install("one", "1.0")
    settle(site.folder)
    with caplog.at_level(logging.INFO, logger="capture"):
        lock(kept, None, str(site.folder / "one-1.0.dist-info" / "METADATA"))
    assert entry(kept.lock, "one") and "not left for the next run" in caplog.text


def test_two_at_once_do_not_disturb_each_other(site, tmp_path):
    """Hundreds of runs start at the same moment on a cluster."""
    cache = tmp_path / "cache"
    cache.mkdir()
    site.install("one", "1.0")
    settle(site.folder)
    documents, problems = [], []

    def work():
        try:
            for _ in range(20):
                kept = Kept()
                lock(kept, None, str(cache))
                documents.append(kept[NAME])
                for name in os.listdir(cache):
                    if name.endswith(".json"):
                        (cache / name).unlink(missing_ok=True)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(set(documents)) == 1


# ---------------------------------------------------------------------------------------------------- to build it again


def test_a_requirements_file_is_made_from_a_lock(site, kept, tmp_path):
    """pip understands it; what it cannot do is said in comments."""
    vcs = {"vcs": "git", "commit_id": "c" * 40}
    site.install("from-git", "1", direct_url={"url": "https://h.org/r.git", "vcs_info": vcs, "subdirectory": "s"})
    archive = {"hashes": {"sha256": "ab"}}
    site.install("from-file", "2", direct_url={"url": "file:///w/x.whl", "archive_info": archive})
    site.install("mine", "3", direct_url=editable(tmp_path / "checkout"))
    site.install("torch", "2.13.0+cpu")
    site.install("plain", "1.0")
    (site.folder / "nothing.dist-info").mkdir()
    lock(kept, None)
    text = requirements_text({**kept.lock, "conda": [{"name": "blas"}]})
    lines = text.splitlines()
    assert "plain==1.0" in lines and "torch==2.13.0+cpu" in lines and "nothing" in lines
    assert f"from-git @ git+https://h.org/r.git@{'c' * 40}#subdirectory=s" in lines
    assert "from-file @ file:///w/x.whl#sha256=ab" in lines
    assert f"-e {tmp_path / 'checkout'}" in lines
    assert "local one" in lines[lines.index("torch==2.13.0+cpu") - 1]
    assert lines[0].startswith("# Python 3.") and "1 packages of conda" in lines[1]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"distributions": 3}', b'{"format": 2, "distributions": []}'])
def test_what_is_no_lock_is_refused(data):
    """A record may hold anything; what is made of it must not."""
    with pytest.raises(ValueError):
        read(data)


@pytest.mark.slow
def test_real_installs_are_locked_and_can_be_installed_again(installed):
    """The way from a record back to an environment."""
    code = (
        "import sys\nfrom capture.probes.environment import lock\n"
        "lock(lambda name, data: sys.stdout.write(data.decode()), None)\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    out = subprocess.run([installed.python, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    found = read(out.encode())
    assert entry(found, "pointed")["editable"] == str(installed.folder / "pointed")
    assert entry(found, "fetched")["direct_url"]["vcs_info"]["commit_id"] == installed.commit
    assert entry(found, "plainly")["installer"] == "pip" and entry(found, "plainly")["requested"] is True
    found["distributions"] = [each for each in found["distributions"] if each["name"] in ("fetched", "plainly", "pointed")]
    requirements = installed.folder / "requirements.txt"
    requirements.write_text(requirements_text(found))
    installed.pip("--force-reinstall", "-r", str(requirements))
    out = subprocess.run([installed.python, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    again = read(out.encode())
    assert entry(again, "fetched")["direct_url"]["vcs_info"]["commit_id"] == installed.commit
    assert entry(again, "pointed") == entry(found, "pointed") and entry(again, "plainly") == entry(found, "plainly")
