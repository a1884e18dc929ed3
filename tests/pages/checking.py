"""Reads a page as a browser does, and refuses whatever could run or be loaded."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import cycle

from hypothesis import strategies as st

from capture.pages.looks import SCRIPT, STYLE
from capture.records import RunRecord, Series, StoredFile, bytes_opener

VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}
TAGS = set(
    ["html", "head", "meta", "title", "style", "body", "script", "header", "footer", "main", "nav", "section", "h1", "h2", "h3", "h4", "h5", "caption", "p", "a", "code", "pre", "span", "strong", "small", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "div", "details", "summary", "figure", "figcaption", "img", "svg", "g", "path", "text", "desc", "label", "input"]
)
ATTRIBUTES = set(
    ["class", "id", "title", "lang", "charset", "content", "name", "http-equiv", "href", "src", "alt", "loading", "scope", "open", "data-sort", "for", "type", "checked", "viewbox", "role", "aria-label", "aria-hidden", "d", "x", "y", "text-anchor"]
)

#: what has broken pages of others
NASTY = [
    "<script>document.title='PWNED'</script>",
    "</script><script>document.title='PWNED'</script>",
    "\"><img src=x onerror=\"document.title='PWNED'\">",
    "' onmouseover='document.title=1' x='",
    "</title></style></pre></code></svg></table><h1>",
    "<!--", "-->", "<![CDATA[", "]]>", "&lt;b&gt;", "&#60;b&#62;",
    "javascript:document.title='PWNED'", "data:text/html,<script>1</script>", "http://evil.example/x.png",
    "line\u2028separator\u2029", "\u202egnp.exe", "\x1b[31mred\x1b[0m\x1b]8;;http://evil\x07link\x1b]8;;\x07",
    "\x00\x07\x08\x7f\x9b", "\ud800", "\ufeff\ufffe", "a|b`c`\\|", "``` ````", "@everyone", "{{7*7}}${7*7}",
    "*/}body{display:none}", "\r\n\r\n", "x" * 5000, "<svg onload=alert(1)>", "\U000e0041\u200b",
]  # fmt: skip

texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=30), st.tuples(st.sampled_from(NASTY), st.text()).map("".join))


class Page(HTMLParser):
    """A page that was read: its text, how often each element occurs, and what is wrong with it."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.policy = ""
        self.levels: list[int] = []
        self.unnamed: list[str] = []
        self.words: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.feed(source)
        self.close()
        if self.open:
            self.wrong.append(f"left open: {self.open}")

    def handle_starttag(self, tag, attrs):
        name = f"svg {tag}" if "svg" in self.open and tag == "title" else tag
        self.count[name] = self.count.get(name, 0) + 1
        if tag not in TAGS:
            self.wrong.append(f"element {tag}")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.wrong.append(f"attribute {name} of {tag}")
            if name == "href":
                self.links.append(value)
            if name == "src":
                self.images.append(value)
            if name == "id":
                self.ids.append(value)
        told = dict(attrs)
        if told.get("http-equiv"):
            assert told["http-equiv"] == "Content-Security-Policy"
            self.policy = told["content"]
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.levels.append(int(tag[1]))
        if tag == "table":
            self.unnamed.append("table")
        elif tag == "caption" or (tag == "tbody" and self.unnamed[-1:] == ["table"]):  # one without a heading needs no name
            self.unnamed.pop()
        if tag == "input" and not (told.get("id") and told.get("aria-label")):
            self.wrong.append("an input without a name")
        if tag == "th" and told.get("scope") not in ("col", "row"):
            self.wrong.append("a heading of a table that does not say of what")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        tag = self.open[-1] if self.open and "svg" not in self.open else ""
        if tag in self.inside:
            self.inside[tag].append(data)
        else:
            self.words.append(data)

    def handle_comment(self, data):
        self.wrong.append(f"comment {data!r:.40}")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(source: str) -> Page:
    """Return a page after checking that it is whole, and that nothing in it runs or is loaded but what is ours."""
    source.encode("utf-8")
    page = Page(source)
    assert page.wrong == []
    assert page.inside["script"] == [SCRIPT] and page.inside["style"] == [STYLE]
    assert page.count["html"] == page.count["title"] == page.count["body"] == page.count["h1"] == 1
    assert len(page.ids) == len(set(page.ids)), "an identity is used twice"
    assert all(level <= before + 1 for before, level in zip([0, *page.levels], page.levels)), "a level of headings is left out"
    assert page.unnamed == [], "a table that is read aloud without a name"
    assert all(link[:1] == "#" and link[1:] in page.ids for link in page.links), page.links
    assert all(image.startswith(("data:image/png;", "data:image/jpeg;", "data:image/gif;", "data:image/webp;")) for image in page.images)
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    shown = "".join(page.words + page.inside["title"])
    assert not [char for char in shown if char != "\n" and char != "\t" and not char.isprintable() and char in _STEERING]
    return page


_STEERING = "".join(map(chr, [*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))


def nasty_run(words: list[str], values: list[object], odd: bool = True) -> RunRecord:
    """Return a run that holds these words and values wherever a run can hold any; `odd`: also where none can."""
    word, value = cycle(words), cycle(values)
    more = [next(value)] if odd else []

    def facts() -> dict:
        return {next(word): next(value), "unavailable" if len(words) % 2 else "x": next(word)}

    run = RunRecord(uid=next(word), label=next(word))
    run.status, run.command, run.notes = next(word), next(word), next(word)
    run.tags = [next(word), next(word)]
    run.experiment = {
        "name": next(word), "dependencies": [next(word), f"{next(word)}=={next(word)}"], "base_dir": next(word),
        "repositories": [{"commit": next(word), "url": next(word), "dirty": next(value)}],
    }  # fmt: skip
    run.host = {"hostname": next(word), "os": [next(word), next(word)], "cpu": next(value), "python_version": next(word)}
    path = next(word)
    run.config = {path: next(value), next(word): {next(word): next(value), "list": [next(word), next(value)]}}
    run.info = {next(word): next(value), "nested": {next(word): next(word)}}
    run.result = next(value)
    run.fail_trace = [next(word), next(word)]
    run.facts = {
        "config": {"origins": {path: next(word)}, "docs": {path: next(word)}},
        "git": [{"commit": next(word), "branch": next(word), "untracked": next(value)}, *more],
        "machine": {"cores": {"usable": next(value)}, "memory": {"total_bytes": next(value)}},
        "process": {"argv": [next(word), *more], "user": {"name": next(word)}},
        "usage": {"cpu_s": next(value), "peak_memory_bytes": next(value)},
        "params": facts(), "gpu": {"devices": [{"name": next(word)}, *more]},
        "lineage": {"inputs": [{"path": next(word), "digest": next(word), "size": 3}, *more],
                    "outputs": next(value) if odd else [], "coverage": {"text": next(word)}},
    }  # fmt: skip
    run.read_output = lambda: "\n".join(words)
    run.metrics = {name: Series(name, [0, 1], [0.5, 1.5], [0, 1]) for name in words}
    data = "".join(words).encode("utf-8", "replace")
    run.sources = [StoredFile(next(word), next(word), 3, open=bytes_opener(data))]
    run.artifacts = [
        StoredFile(next(word), "ab" * 32, 3, next(value), next(word), bytes_opener(data)),
        StoredFile(next(word), None, None, None, None, bytes_opener(b"GIF89a" + data)),
        StoredFile(next(word), next(word)),
    ]
    run.resources = [StoredFile(next(word), next(word), 10**20)]
    return run


values = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3), st.tuples(inner)),
    max_leaves=5,
)
