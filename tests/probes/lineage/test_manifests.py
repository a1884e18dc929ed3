"""Manifests: one entry, and one digest, for a folder of many files."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capture.digests import digests_of
from capture.errors import RecordError
from capture.probes.lineage.manifests import collapse, compare_manifests, folder_digest, manifest_of, read_manifest

A, B = "a" * 64, "b" * 64

PARTS = st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(lambda part: part not in (".", ".."))
ODD = st.sampled_from(
    ["\\", "\\n", "\n", "\r", " ", "  ", "\udcff", "\ud800", "\u2028", "\x85", "\\x41", "é", "e\u0301", "~", "-"]
)
NAMES = st.lists(PARTS | ODD, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(
    NAMES,
    st.tuples(st.none() | st.integers(0, 2**63), st.none() | st.sampled_from([A, B]), st.booleans()),
    max_size=8,
)


class Kept:
    """Stands in for the record: remembers what it is given to keep."""

    def __init__(self):
        self.files = {}

    def __call__(self, name, data):
        self.files[name] = data
        return {"source": name, "digest": digests_of(data)[0], "size": len(data)}


def entries_of(*paths, base=None, **facts):
    """Make entries as lineage does; a pattern ``{1000}`` in a path stands for so many files."""
    entries = []
    for path in paths:
        before, _, after = path.partition("{")
        count, _, after = after.partition("}")
        for number in range(int(count or 1)):
            full = f"{before}{number:05d}{after}" if count else path
            name = full[len(base) + 1 :] if base and full.startswith(base + "/") else full
            entries.append(
                {"path": full, "name": name, "size": 10, "mtime": 1.5, "digest": A, "by": ["audit"], **facts}
            )
    return entries


def folders_of(entries):
    return {entry["path"]: entry["files"] for entry in entries if "files" in entry}


# ------------------------------------------------------------------------------------------------------------- format


def as_entries(files):
    return [
        {"name": name, "size": size, "digest": digest, **({"sampled": True} if sampled and digest else {})}
        for name, (size, digest, sampled) in files.items()
    ]


@pytest.mark.slow
@given(FILES)
@example({"a\\": (1, A, False), "a\\\\n": (1, A, False), " x  y ": (None, None, True)})
def test_whatever_files_are_called_a_manifest_gives_them_back(files):
    """A name that reads back as another is a file that nobody finds, or the wrong one that somebody does."""
    entries = as_entries(files)
    data = manifest_of(entries)
    assert read_manifest(data) == sorted(entries, key=lambda entry: entry["name"])
    assert data.count(b"\n") == len(files)
    assert manifest_of(reversed(entries)) == data


@pytest.mark.slow
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"{A}  1  {text}\n".encode("utf-8", "replace")))
@settings(max_examples=300)
def test_what_is_no_manifest_is_refused_with_one_kind_of_error(data):
    """A manifest comes out of a record, which may be damaged; a reader of records catches one kind of error."""
    try:
        files = read_manifest(data)
    except RecordError:
        return
    for file in files:
        assert not {"", ".", ".."} & set(file["name"].split("/"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{A}  1  a", "cut off"),
        (f"{A}  1  a\n{A} 1 b\n", "line 2 is not"),
        (f"{A[1:]}  1  a\n", "no SHA-256"),
        (f"{A.upper()}  1  a\n", "no SHA-256"),
        (f"{A}  -1  a\n", "no size"),
        (f"{A}  ²  a\n", "no size"),
        (f"{A}  1  ../a\n", "not a file below"),
        (f"{A}  1  /etc/passwd\n", "not a file below"),
        (f"{A}  1  a//b\n", "not a file below"),
        (f"{A}  1  a\\x2\n", "broken escape"),
        (f"{A}  1  a\\q\n", "unknown escape"),
        (f"{A}  1  a\\\n", "within an escape"),
    ],
)
def test_an_error_in_a_manifest_says_what_is_wrong_and_where(text, problem):
    """Somebody who edits or damages one wants to find the line."""
    with pytest.raises(RecordError, match=problem):
        read_manifest(text.encode())


def test_a_manifest_looks_as_it_is_documented():
    """Its digest is compared over years and versions: the bytes must stay these."""
    files = [
        {"name": "b/two\nlines.txt", "size": 3, "digest": B},
        {"name": "a.txt", "size": 12, "digest": A},
        {"name": "big.bin", "size": 10**11, "digest": A, "sampled": True},
        {"name": "gone", "size": None, "digest": None},
        {"name": "caf\u00e9 \udce9.txt", "size": 0, "digest": B},
    ]
    expected = f"{A}  12  a.txt\n{B}  3  b/two\\nlines.txt\n~{A}  100000000000  big.bin\n{B}  0  café \\udce9.txt\n-  -  gone\n"
    assert manifest_of(files) == expected.encode()
    assert manifest_of([]) == b""


def test_manifests_can_be_compared():
    """\"Which of the 100,000 images is another one?\" is the question that a differing digest raises."""
    old = manifest_of(
        as_entries(
            {
                "same": (1, A, False),
                "other": (1, A, False),
                "gone": (1, A, False),
                "size": (1, None, False),
                "who": (1, None, False),
                "kind": (1, A, False),
            }
        )
    )
    new = manifest_of(
        as_entries(
            {
                "same": (1, A, False),
                "other": (1, B, False),
                "new": (1, A, False),
                "size": (2, None, False),
                "who": (1, A, False),
                "kind": (1, A, True),
            }
        )
    )
    assert compare_manifests(old, new) == {
        "added": ["new"],
        "removed": ["gone"],
        "changed": ["other", "size"],
        "unsure": ["kind", "who"],
    }
    assert not any(
        compare_manifests(old, old.replace(b"-  1  who\n", f"{A}  1  who\n".encode()))[kind]
        for kind in ("added", "removed", "changed")
    )


# ---------------------------------------------------------------------------------------------------------- collapsing


def test_few_files_keep_their_entries():
    """An entry of its own is what people look for; a manifest is for what nobody would read."""
    entries = entries_of("/w/p/data/{100}.csv")
    assert collapse(entries, 100, Kept()) == entries


def test_a_folder_of_many_files_becomes_one_entry():
    """A data set of 100,000 images would make records of megabytes, which every listing of runs would read."""
    keep = Kept()
    entries = entries_of("/w/p/a.csv", "/w/p/data/{200}.png", "/w/p/z.csv", base="/w/p")
    first, folder, last = collapse(entries, 100, keep, roots=["/w/p"])
    assert (first, last) == (entries[0], entries[-1])
    [(name, data)] = keep.files.items()
    digest = digests_of(data)[0]
    assert folder == {
        "path": "/w/p/data",
        "name": "data",
        "files": 200,
        "size": 2000,
        "digest": digest,
        "manifest": {"source": f".capture/manifests/{digest[:12]}.txt", "digest": digest, "size": len(data)},
        "by": ["audit"],
    }
    assert [file["name"] for file in read_manifest(data)] == [f"{number:05d}.png" for number in range(200)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # classes of one data set, whether each of them is many or few
        (["/w/p/data/train/cat/{200}.jpg", "/w/p/data/train/dog/{200}.jpg"], {"/w/p/data/train": 400}),
        (["/w/p/data/train/cat/{60}.jpg", "/w/p/data/train/dog/{60}.jpg"], {"/w/p/data/train": 120}),
        (["/w/p/data/train/cat/{200}.jpg", "/w/p/data/train/dog/{60}.jpg"], {"/w/p/data/train": 260}),
        # a few strays beside it do not lift it
        (["/w/p/data/train/{200}.jpg", "/w/p/data/{5}.csv", "/w/p/x.csv"], {"/w/p/data/train": 200}),
        # sets that are folders of folders are used one by one
        (
            ["/w/p/data/train/cat/{200}.jpg", "/w/p/data/train/dog/{200}.jpg", "/w/p/data/val/{200}.jpg"],
            {"/w/p/data/train": 400, "/w/p/data/val": 200},
        ),
        # never the project, the home, "/" or what lies in it, while folders below do
        (["/w/p/a/{200}.jpg", "/w/p/b/{200}.jpg"], {"/w/p/a": 200, "/w/p/b": 200}),
        (["/home/me/a/{200}.jpg", "/home/me/b/{200}.jpg"], {"/home/me/a": 200, "/home/me/b": 200}),
        (["/data/a/{200}.jpg", "/data/b/{200}.jpg"], {"/data/a": 200, "/data/b": 200}),
        (["/a/x/{200}.jpg", "/b/x/{200}.jpg"], {"/a/x": 200, "/b/x": 200}),
        # ... but it does where nothing else would
        (["/w/p/{200}.jpg"], {"/w/p": 200}),
        (["/w/p/{200}.jpg", "/w/p/a/{200}.jpg"], {"/w/p": 200, "/w/p/a": 200}),
        (["/{200}.jpg"], {"/": 200}),
        # many small folders
        ([f"/w/p/cache/{i:02x}/{{3}}.bin" for i in range(256)], {"/w/p/cache": 768}),
        ([f"/w/p/cache/{i:02x}/x/{{200}}.bin" for i in range(20)], {"/w/p/cache": 4000}),
    ],
)
def test_files_are_gathered_in_the_folder_that_means_them(paths, expected, monkeypatch):
    """The folder is what people call their data by; the digest of `data/val` tells that it is the same as ever."""
    monkeypatch.setenv("HOME", "/home/me")
    keep = Kept()
    collapsed = collapse(entries_of(*paths), 100, keep, roots=["/w/p"])
    assert folders_of(collapsed) == expected
    for entry in collapsed:
        if "files" in entry:
            files = read_manifest(keep.files[entry["manifest"]["source"]])
            assert len(files) == entry["files"]


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=0, max_size=4).map("/".join), max_size=60), st.integers(0, 20)
)
def test_no_file_is_lost_and_none_counted_twice(folders, threshold):
    """Whatever the tree is like, each file is in its own entry or in one manifest, and few entries are left."""
    keep = Kept()
    entries = entries_of(*(f"/{folder}/f{number}".replace("//", "/") for number, folder in enumerate(folders)))
    collapsed = collapse(entries, threshold, keep, roots=["/a/b"])
    found = []
    for entry in collapsed:
        if "files" in entry:
            files = read_manifest(keep.files[entry["manifest"]["source"]])
            assert entry["files"] == len(files)
            assert entry["files"] > threshold
            found += [os.path.join(entry["path"], file["name"]) for file in files]
        else:
            found.append(entry["path"])
    assert sorted(found) == sorted(entry["path"] for entry in entries)


def test_what_is_known_of_the_files_is_known_of_the_folder():
    """That a digest is missing or of a sample, that a file changed, and who saw it must not get lost in a sum."""
    entries = entries_of("/w/p/data/{200}.png")
    entries[3].update(digest=None, why="it changed while it was read")
    entries[4].update(sampled=True, by=["audit", "h5py"])
    entries[5].update(changed=True, size=None)
    keep = Kept()
    [folder] = collapse(entries, 100, keep)
    assert (folder["incomplete"], folder["sampled"], folder["changed"], folder["size"]) == (1, True, True, 1990)
    assert folder["by"] == ["audit", "h5py"]
    lines = keep.files[folder["manifest"]["source"]].decode().splitlines()
    assert lines[3:6] == ["-  10  00003.png", f"~{A}  10  00004.png", f"{A}  -  00005.png"]


@pytest.mark.parametrize(
    ("base", "name"), [("/w/p", "data"), ("/w/p/data", "."), ("/w/p/data/x", None), (None, "/w/p/data")]
)
def test_a_folder_is_named_as_its_files_are(base, name):
    """Names are relative to the base folder below it, so that they are the same on another machine."""
    [folder] = collapse(entries_of("/w/p/data/x/{60}.png", "/w/p/data/y/{60}.png", base=base), 100, Kept())
    assert folder.get("name") == name


def test_folders_that_are_one_entry_already_stay_so():
    """Collapsing twice, as for files of children and one's own, must not lose what was collapsed before."""
    once = collapse(entries_of("/w/p/data/{200}.png"), 100, Kept())
    again = collapse(once + entries_of("/w/p/other/{200}.png"), 100, Kept())
    assert again[0] is once[0]
    assert folders_of(again) == {"/w/p/data": 200, "/w/p/other": 200}


def test_deep_trees_do_not_exhaust_the_stack():
    """Paths may have 4,000 characters, and Python 1,000 frames."""
    deep = "/w" + "/d" * 1900
    assert folders_of(collapse(entries_of(f"{deep}/{{20}}"), 10, Kept())) == {deep: 20}


# ---------------------------------------------------------------------------------------------------- a whole folder


def fill(folder, files):
    for name, text in files.items():
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text)


def test_equal_folders_have_equal_digests_whenever_they_were_written(tmp_path):
    """So data that was copied, or came out of version control again, is known to be the same."""
    files = {"b/x.txt": b"x", "a.txt": b"aa", b"odd\xff\n name": b"", "b/c/d": b"0" * 300_000}
    fill(tmp_path / "one", files)
    fill(tmp_path / "two", dict(reversed(files.items())))
    os.utime(tmp_path / "two" / "a.txt", (1, 1))
    one, two = folder_digest(str(tmp_path / "one")), folder_digest(str(tmp_path / "two"))
    assert (one["digest"], one["manifest"], one["files"], one["size"]) == (two["digest"], two["manifest"], 4, 300_003)
    assert [os.fsencode(file["name"]) for file in read_manifest(one["manifest"])] == [
        b"a.txt",
        b"b/c/d",
        b"b/x.txt",
        b"odd\xff\n name",
    ]
    fill(tmp_path / "two", {"a.txt": b"ab"})
    changed = folder_digest(str(tmp_path / "two"))
    assert compare_manifests(one["manifest"], changed["manifest"])["changed"] == ["a.txt"]


def test_reading_all_of_a_folder_gives_the_digest_of_the_folder(tmp_path):
    """A run's record names a digest; whoever has the folder must be able to check it."""
    fill(tmp_path / "data", {f"{number}.txt": b"%d" % number for number in range(20)})
    whole = folder_digest(str(tmp_path / "data"), keep=Kept())
    entries = [
        {"path": str(path), "size": path.stat().st_size, "digest": digests_of(path.read_bytes())[0]}
        for path in (tmp_path / "data").iterdir()
    ]
    assert collapse(entries, 10, Kept()) == [whole]


def test_a_folder_with_what_cannot_be_read_says_so(tmp_path):
    """Pipes hang, links dangle or lead in circles: none of that may stop the rest from being digested."""
    fill(tmp_path, {"a": b"a", "b": b"b"})
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere", tmp_path / "dangling")
    os.symlink(".", tmp_path / "circle")
    os.symlink("a", tmp_path / "link")

    def digest_of(path):
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return A

    folder = folder_digest(str(tmp_path), digest_of=digest_of)
    assert [(file["name"], file["digest"]) for file in read_manifest(folder["manifest"])] == [
        ("a", A),
        ("b", None),
        ("link", A),
    ]
    assert (folder["files"], folder["incomplete"]) == (3, 1)
