"""What must not be written: passwords, keys and tokens, found by name, by form and by value, and masked.

Three kinds of rule, all for strings only; a number is never a secret (``max_tokens=512``):

by name
    The last words of a name say that its value is secret: ``db.password``, ``OPENAI_API_KEY``, ``clientSecret``. A
    plain ``token`` (or ``signing_key``, ``cookie``) does so only where the value looks random, too: 16 or more
    characters of high entropy. ``pad_token="[PAD]"`` stays.
by form
    Tokens that say themselves what they are (``hf_...``, ``ghp_...``, ``AKIA...``), private keys in PEM, JSON web
    tokens, ``Bearer ...`` headers, and in URLs the password and the parameters that give access.
by value
    What was found once, in the environment, the configuration or anywhere else, and has `SHORTEST_KNOWN` characters,
    is masked wherever it turns up afterwards: in text, in a traceback, in what is printed, whatever its name is there.

A mask is ``***masked:RULE***``: legal within a URL, nothing that anybody has as a password, and it tells nothing of the
value but the rule that found it; not its length, nor whether two of them are the same.

Nothing here changes what it is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Span = tuple[int, int, str]  #: first character, the one behind the last, rule

SHORTEST_KNOWN = 8  #: characters from which a value that was found is masked everywhere else
SHORTEST_TOKEN = 16  #: characters of the shortest token that says by its form what it is
LONGEST_URL = 8_192  #: characters within which the end of a URL is looked for
MARK = "***masked:"  #: how each mask begins


def mask_of(rule: str) -> str:
    """Return the mask that stands for what a rule found.

    Examples
    --------
    >>> mask_of("api-key")
    '***masked:api-key***'
    """
    return f"{MARK}{rule}***"


def is_mask(text: object) -> bool:
    """Say whether a value is a mask, and nothing but a mask."""
    return type(text) is str and text.startswith(MARK) and text.endswith("***") and text.count(MARK) == 1


def masked_entries(config: Mapping[Any, Any]) -> list[str]:
    """Return the dotted paths of entries that hold a mask, which cannot stand for the value.

    Examples
    --------
    >>> masked_entries({"db": {"user": "bob", "password": "***masked:password***"}})
    ['db.password']
    """
    found: list[str] = []

    def look(value: Any, path: str, depth: int) -> None:
        kind = type(value)  # values are asked nothing: there may be any object in a configuration
        if issubclass(kind, str):
            if MARK in str.__str__(value):
                found.append(path)
        elif depth < 100 and issubclass(kind, dict):
            for key, item in dict.items(value):
                name = key if type(key) is str else f"<{type(key).__name__}>"
                look(item, f"{path}.{name}" if path else name, depth + 1)
        elif depth < 100 and (issubclass(kind, list) or issubclass(kind, tuple)):
            for index, item in enumerate(list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)):
                look(item, f"{path}.{index}", depth + 1)

    look(config, "", 0)
    return found


# ------------------------------------------------------------------------------------------------------------- names

#: last words that say it all
_WORDS = {
    **dict.fromkeys(("password", "passwd", "passphrase", "passcode"), "password"),
    "pwd": "pwd",
    "secret": "secret",
    **dict.fromkeys(("credential", "creds"), "credentials"),
    **dict.fromkeys(("apikey", "authtoken", "accesstoken", "refreshtoken"), "api-key"),
    **dict.fromkeys(("secretkey", "accesskey", "privatekey"), "secret-key"),
}
#: ends of a last word: PGPASSWORD, dbpasswd
_ENDS = ("password", "passwd", "passphrase", "apikey", "secretkey", "accesskey", "privatekey")
#: words before ``key`` that make it a secret
_KEYS = {"api": "api-key", "secret": "secret-key", "access": "access-key", "private": "private-key"}
#: words before ``key`` that make it a secret if the value looks random
_PERHAPS_KEYS = frozenset(
    {"account", "app", "application", "auth", "aes", "client", "consumer", "crypto", "deploy", "encryption", "hmac"}
    | {"jwt", "license", "master", "rsa", "server", "service", "session", "shared", "signing", "ssh", "storage"}
    | {"subscription", "webhook"}
)
#: words before ``token`` that leave no doubt
_TOKENS = frozenset({"access", "api", "auth", "bearer", "oauth", "oauth2", "personal", "refresh", "secret", "security"})
#: words before ``pass`` that leave no doubt
_PASSES = frozenset(
    {"admin", "db", "email", "ftp", "http", "imap", "ldap", "login", "mail", "mongo", "mysql", "pg", "postgres"}
    | {"proxy", "redis", "root", "smtp", "ssh", "user"}
)
#: first words of a question about a secret, whose answer is none
_QUESTIONS = frozenset({"ask", "has", "is", "needs", "no", "prompt", "requires", "show", "use", "uses", "with"})
_PERHAPS = "token"  #: the rule that also asks what the value looks like

_HINTS = ("pass", "secret", "key", "token", "cred", "pwd", "cookie", "authorization")
_rules: dict[str, str | None] = {}  # of names that were looked at
_MOST_NAMES = 20_000


def looks_secret_name(name: str) -> str | None:
    """Return the rule by which the value of something called `name` is secret, or None.

    Parameters
    ----------
    name : str
        In whatever style: ``db.api_key``, ``API-Key``, ``apiKey``, ``--password``.

    Returns
    -------
    str or None
        The rule "token" means: if the value looks random, too (see `looks_random`).

    Examples
    --------
    >>> looks_secret_name("OPENAI_API_KEY"), looks_secret_name("pad_token"), looks_secret_name("monkey")
    ('api-key', 'token', None)
    """
    try:
        return _rules[name]
    except KeyError:
        pass
    low = name.lower()
    rule = None
    for hint in _HINTS:
        if hint in low and MARK not in name:
            rule = _rule_of_words(words_of(name))
            break
    if len(_rules) < _MOST_NAMES:
        _rules[name] = rule
    return rule


def words_of(name: str) -> list[str]:
    """Split a name into lower-case words; numbers at its end, and a plural's s, are left out."""
    words: list[str] = []
    word = ""
    before = ""
    for at, char in enumerate(name):
        if not char.isalnum():
            words.append(word)
            word = ""
        else:
            if char.isupper() and word and (before.islower() or before.isdigit() or name[at + 1 : at + 2].islower()):
                words.append(word)
                word = ""
            word += char
        before = char
    words.append(word)
    words = [word.lower() for word in words if word]
    while words and not (last := words[-1].rstrip("0123456789")):
        words.pop()
    if words:
        words[-1] = last[:-1] if last.endswith("s") and not last.endswith(("ss", "creds")) else last
    return words


def _rule_of_words(words: list[str]) -> str | None:
    if not words or words[0] in _QUESTIONS:
        return None
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last in _WORDS:
        return _WORDS[last]
    if last.endswith(_ENDS):
        return "password" if "pass" in last else "secret-key" if not last.endswith("apikey") else "api-key"
    if last == "key":
        if before.endswith("api"):
            return "api-key"
        return _KEYS.get(before) or (_PERHAPS if before in _PERHAPS_KEYS else None)
    if last == "token":
        return "auth-token" if before in _TOKENS else _PERHAPS
    if last == "pass" or last == "sshpass":
        return "password" if before in _PASSES or last == "sshpass" else None
    if last == "value" and before == "secret":
        return "secret"
    return _PERHAPS if last in ("cookie", "authorization") else None


def looks_random(text: str) -> bool:
    """Say whether a text of `SHORTEST_TOKEN` or more characters looks as if drawn by chance, and not written.

    It has no spaces, digits and letters in it change often, and its characters are spread evenly (3 or more bits each).
    """
    if len(text) < SHORTEST_TOKEN or len(text) > 10_000 or not text.isascii():
        return False
    kinds = []
    for char in text:
        if char.isdigit():
            kinds.append("0")
        elif char.isalpha():
            kinds.append("A" if char.isupper() else "a")
        elif char not in "_-+/=.~:|%":
            return False
    steps = [kinds[at - 1] + kinds[at] for at in range(1, len(kinds)) if kinds[at - 1] != kinds[at]]
    with_digits = sum("0" in pair for pair in steps)
    return with_digits >= 2 and len(steps) >= max(4, len(kinds) / 6) and _entropy(text) >= 3.0


def _entropy(text: str) -> float:
    """Return the entropy of a text's characters, in bits per character."""
    from math import log2

    counts = (text.count(char) for char in set(text))
    return -sum(count / len(text) * log2(count / len(text)) for count in counts)


_NO_SECRETS = frozenset(
    {"", "none", "null", "true", "false", "yes", "no", "on", "off", "default", "required", "optional"}
)


def is_secret(rule: str, text: str) -> bool:
    """Say whether the value of a name that a rule found is secret: it is not empty, no mask, and no mere reference."""
    if text.lower() in _NO_SECRETS or MARK in text or not text.strip("*x.-"):
        return False
    if text.startswith(("${", "{{", "$(")) and text.endswith(("}", ")")) and "," not in text and ":-" not in text:
        return False  # where the secret is to be found, not the secret
    if rule == _PERHAPS:
        return looks_random(text.removeprefix("Bearer ").removeprefix("Basic ").removeprefix("Token "))
    return not _is_path(text, rule)


def _is_path(text: str, rule: str) -> bool:
    """Say whether a value is the path of a file, which is often what is called a private key or credentials."""
    often_a_path = rule in ("credentials", "private-key", "pwd")
    if not text.startswith(("/", "~/", "./", "../", "~\\", ".\\")) and text[1:3] not in (":\\", ":/"):
        return often_a_path and text.endswith((".json", ".pem", ".key", ".yaml", ".yml", ".ini"))
    if often_a_path:
        return "\n" not in text
    import os

    return os.path.exists(os.path.expanduser(text))


# ------------------------------------------------------------------------------------------------------------ values

_HEADERS = ("earer ", "asic ")
_START = r"(?<![A-Za-z0-9])"
_START_OF_NAME = r"(?<![A-Za-z0-9_-])"
_END = r"(?![A-Za-z0-9])"
_CONNECTION = r"(?i)(?:^|[;\s\"'])(?:password|pwd)=('[^']+'|[^\s;'\",&()]+)(?=$|[\s;\"'])"
#: A character, and for texts that have it: what a text must contain, the rule, and the pattern. A group is the secret
#: where the pattern has one. Those of Telegram and the like, which have nothing of their own, are found by name only.
_FORMS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "_",
        (
            ("hf_", "huggingface-token", _START + r"hf_[A-Za-z0-9]{30,}" + _END),
            *((f"gh{kind}_", "github-token", _START + rf"gh{kind}_[A-Za-z0-9]{{30,}}" + _END) for kind in "pousr"),
            ("github_pat_", "github-token", _START + r"github_pat_[A-Za-z0-9_]{22,}"),
            ("npm_", "npm-token", _START + r"npm_[A-Za-z0-9]{30,}" + _END),
            ("sk_live_", "stripe-key", _START + r"sk_live_[A-Za-z0-9]{16,}" + _END),
            ("rk_live_", "stripe-key", _START + r"rk_live_[A-Za-z0-9]{16,}" + _END),
            ("whsec_", "webhook-secret", _START + r"whsec_[A-Za-z0-9+/=]{24,}"),
            ("gsk_", "groq-key", _START + r"gsk_[A-Za-z0-9]{40,}" + _END),
            ("r8_", "replicate-token", _START + r"r8_[A-Za-z0-9]{36,}" + _END),
            ("dop_v1_", "digitalocean-token", _START + r"dop_v1_[a-f0-9]{64}" + _END),
        ),
    ),
    (
        "-",
        (
            ("sk-", "api-key", _START_OF_NAME + r"sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{20,}"),
            ("sk-", "api-key", _START_OF_NAME + r"sk-(?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,}" + _END),
            ("glpat-", "gitlab-token", _START + r"glpat-[A-Za-z0-9_-]{20,}"),
            ("xox", "slack-token", _START + r"xox[abeoprs]-(?=[A-Za-z-]*[0-9])[A-Za-z0-9-]{12,}"),
            ("xapp-", "slack-token", _START + r"xapp-[0-9]-[A-Za-z0-9-]{20,}"),
            ("pypi-", "pypi-token", _START + r"pypi-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{40,}"),
            ("xai-", "api-key", _START + r"xai-[A-Za-z0-9]{40,}" + _END),
            (
                "PRIVATE KEY",
                "private-key",
                r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
                r"(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[\sA-Za-z0-9+/=:,.\\-]*)",
            ),
        ),
    ),
    (
        ".",
        (
            (".", "jwt", _START + r"eyJ[\w-]{8,}(?:\.[\w-]{4,}\.[\w-]*(?:\.[\w-]+){0,2}|\.\.[\w-]+\.[\w-]+\.[\w-]+)"),
            ("ya29.", "google-token", _START + r"ya29\.[A-Za-z0-9_-]{20,}"),
            ("SG.", "sendgrid-key", _START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
            ("hooks.slack.com/", "slack-webhook", r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
        ),
    ),
    (
        "A",
        (
            ("AKIA", "aws-key", _START + r"AKIA(?=[A-Z]*[0-9])[A-Z0-9]{16}" + _END),
            ("ASIA", "aws-key", _START + r"ASIA(?=[A-Z]*[0-9])[A-Z0-9]{16}" + _END),
            ("AIza", "google-key", _START + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
            ("AccountKey=", "azure-key", r"AccountKey=([A-Za-z0-9+/=]{20,})"),
        ),
    ),
    (
        " ",
        (
            ("earer ", "bearer", r"(?i:\bbearer)\s+(?=[A-Za-z._~+/=-]*[0-9])([A-Za-z0-9._~+/=-]{16,})"),
            ("asic ", "basic-auth", r"(?i:\bbasic)\s+([A-Za-z0-9+/]{6,}={0,2})(?![A-Za-z0-9+/=])"),
        ),
    ),
    (
        "=",
        tuple((hint, "password", _CONNECTION) for hint in ("assword=", "ASSWORD=", "wd=", "WD=")),
    ),
)


#: every rule there is, as the masks name them
RULES = frozenset(
    {"api-key", "auth-token", "name", "password", "secret", "too-deep", "token", "url-password", "url-token"}
    | {*_WORDS.values(), *_KEYS.values()}
    | {rule for _, forms in _FORMS for _, rule, _ in forms}
)


def may_hold_token(text: str) -> bool:
    """Say at little cost whether a text can have a token in it that says by its form what it is."""
    if len(text) < SHORTEST_TOKEN:
        return False
    for char, forms in _FORMS:
        if char in text:
            for hint, _, pattern in forms:
                if hint in text and _is_worth_a_look(text, hint, pattern):
                    return True
    return False


def _is_worth_a_look(text: str, hint: str, pattern: str) -> bool:
    """Say whether a hint is more than a part of a word: patterns are dear, since `re` is loaded for the first."""
    if hint == ".":
        return "eyJ" in text
    if pattern is _CONNECTION:
        return _names_a_server(text)
    if not pattern.startswith((_START, _START_OF_NAME)):
        return hint not in _HEADERS or _has_credentials(text, hint)
    at = text.find(hint)
    while at >= 0:
        if not text[at - 1 : at].isalnum():
            return True
        at = text.find(hint, at + 1)
    return False


def _has_credentials(text: str, header: str) -> bool:
    """Say whether something longer than most words follows a header, which is a word of everyday language, too."""
    at = text.find(header)
    while at >= 0:
        word = "".join(text[at + len(header) : at + len(header) + 500].split(None, 1)[:1])
        if len(word) >= 16 or (len(word) >= 6 and not (word.isalpha() and word.islower())):
            return True
        at = text.find(header, at + 1)
    return False


def _names_a_server(text: str) -> bool:
    """Say whether a text with a password is a connection string, and not a piece of Python, say."""
    low = text.lower()
    return any(f"{other}=" in low for other in ("host", "server", "dbname", "database", "uid", "user id", "source"))


def token_spans(text: str) -> list[Span]:
    """Return where a text has tokens, keys and headers that say by their form what they are."""
    import re

    spans: list[Span] = []
    for char, forms in _FORMS:
        if char not in text:
            continue
        for hint, rule, pattern in forms:
            if hint not in text or not _is_worth_a_look(text, hint, pattern):
                continue
            for found in re.compile(pattern, re.DOTALL).finditer(text):
                group = 1 if found.re.groups else 0
                if _is_meant(rule, found.group(group)):
                    spans.append((*found.span(group), rule))
    return spans


def _is_meant(rule: str, secret: str) -> bool:
    """Say whether what has the form of a secret is one, where words can have that form, too."""
    if MARK in secret:
        return False
    if rule in ("basic-auth", "jwt"):
        from binascii import Error, a2b_base64

        first = secret.partition(".")[0].replace("-", "+").replace("_", "/")
        try:
            plain = a2b_base64(first + "=" * (-len(first) % 4))
        except Error:
            return False
        return plain.isascii() and (b'":' in plain if rule == "jwt" else b":" in plain)
    if rule == "password":
        return secret.lower() not in ("password", "pwd")
    return True


def looks_secret_value(text: str) -> str | None:
    """Return the rule by which a text holds something secret, whatever it is called; None if it does not.

    Examples
    --------
    >>> looks_secret_value("glpat-" + "x1Y2z3" * 4), looks_secret_value("https://bob:hunter2@example.org")
    ('gitlab-token', 'url-password')
    >>> looks_secret_value("risk-averse-portfolios-2024")
    """
    spans = secret_spans(text)
    return spans[0][2] if spans else None


def secret_spans(text: str) -> list[Span]:
    """Return where a text holds what is secret by its form, in URLs and elsewhere."""
    spans = token_spans(text) if may_hold_token(text) else []  # they know best what they found
    if may_hold_secret_url(text):
        spans += url_spans(text)
    return spans


# -------------------------------------------------------------------------------------------------------------- URLs

#: parameters of URLs that give access, beside those of which the name says so
_ACCESS = frozenset(
    {"sig", "signature", "x-amz-signature", "x-goog-signature", "x-amz-credential", "x-goog-credential"}
)
_PERHAPS_ACCESS = frozenset({"auth", "authkey", "code", "jwt", "key", "sas", "session", "sessionid", "sid", "state"})
#: words before ``token`` in a URL's parameter that say what else it is
_OTHER_TOKENS = frozenset({"page", "next", "continuation", "pad", "max", "min", "num", "sync", "resume", "eos", "bos"})


def redact_url(url: str) -> str:
    """Return `url` with masks in place of the password and of the parameters that give access; else as it is.

    Parameters
    ----------
    url : str
        Of any scheme, also with several hosts (``mongodb://u:p@h1,h2/``), or in the short form of ssh
        (``user:token@host:path``).

    Returns
    -------
    str
        All but what is secret is the same, byte for byte.

    Examples
    --------
    >>> redact_url("postgresql+psycopg://bob:hunter2@db:5432/runs")
    'postgresql+psycopg://bob:***masked:url-password***@db:5432/runs'
    >>> redact_url("git@github.com:team/project.git")
    'git@github.com:team/project.git'
    """
    if "://" in url:
        return replaced(url, [*(token_spans(url) if may_hold_token(url) else ()), *url_spans(url)])
    user, colon, rest = url.partition(":")
    password, at, place = rest.rpartition("@")
    is_short_form = colon and at and ":" in place and user.isidentifier() and "/" not in password
    if is_short_form and password and MARK not in password and not has_space(url):
        return f"{user}:{mask_of('url-password')}@{place}"
    return url


def redact_urls_in(text: str) -> str:
    """Return `text` with what is secret in its URLs masked.

    Examples
    --------
    >>> redact_urls_in("cannot reach 'https://x.org/?user=1&access_token=abc', see http://a:b@c")
    "cannot reach 'https://x.org/?user=1&access_token=***masked:auth-token***', see http://a:***masked:url-password***@c"
    """
    return replaced(text, url_spans(text)) if may_hold_secret_url(text) else text


def may_hold_secret_url(text: str) -> bool:
    """Say at little cost whether a text can have a URL with a password or parameters in it."""
    return "://" in text and ("@" in text or "=" in text or "notify+" in text)


def url_spans(text: str) -> list[Span]:
    """Return where in a text its URLs hold what is secret."""
    spans: list[Span] = []
    done = 0  # a URL within another's parameters shares them: they are looked at once
    at = text.find("://")
    while at >= 0:
        start = at + 3
        end = _end_of_url(text, at)
        if _is_of_a_recipient(text, at):
            if end > start and not text.startswith(MARK, start):
                spans.append((start, end, "url-token"))
            at = text.find("://", end)
            continue
        _authority_spans(text, start, end, spans)
        _parameter_spans(text, max(start, done), end, spans)
        done = max(done, end)
        at = text.find("://", start)
    return spans


def _is_of_a_recipient(text: str, at: int) -> bool:
    """Say whether a URL is ``notify+SCHEME://...``: any piece of it may be what lets one send messages."""
    kind = text.rfind("notify+", max(0, at - 60), at)
    return kind >= 0 and text[kind + 7 : at].replace("+", "").replace("-", "").replace(".", "").isalnum()


def _end_of_url(text: str, at: int) -> int:
    """Return where the URL ends of which the scheme ends at `at`."""
    if at <= 40 and text[:at].replace("+", "").replace("-", "").replace(".", "").isalnum() and not has_space(text):
        return len(text)  # the text is a URL and nothing else: a password may have any character
    end = min(len(text), at + LONGEST_URL)
    for char in " \n\t\r\"'`<>":
        found = text.find(char, at, end)
        if found >= 0:
            end = found
    while end > at and text[end - 1] in ".,;:)]}!?":
        end -= 1
    return end


def has_space(text: str) -> bool:
    return len(text.split(None, 1)) > 1 or text != text.strip()


_DATABASES = frozenset(
    {"cockroachdb", "mariadb", "mongodb", "mssql", "mysql", "oracle", "postgres", "postgresql", "redis", "rediss"}
)
_IN_SCHEMES = "abcdefghijklmnopqrstuvwxyz0123456789+"


def _authority_spans(text: str, start: int, end: int, spans: list[Span]) -> None:
    stop = min((place for mark in "/?#" if (place := text.find(mark, start, end)) >= 0), default=end)
    at = text.rfind("@", start, stop)
    if _is_of_a_database(text, start):
        query = text.find("?", start, end)
        if text.find("@", start, query if query >= 0 else end) >= 0:  # there is a password: any @ may be of it
            at = text.rfind("@", start, end)
    if at < 0:
        at = _misplaced_at(text, start, stop, end)
    if at < 0 or text.startswith("sha256:", at + 1):  # name:tag@digest of a container image
        return
    user = text.find("***", start + len(MARK), at) + 3 if text.startswith(MARK, start) else start
    colon = text.find(":", user, at)  # that of a mask is none
    user_end = colon if colon >= 0 else at
    if looks_random(text[start:user_end]) and MARK not in text[start:user_end]:
        spans.append((start, user_end, "url-token"))
    password = text[colon + 1 : at] if colon >= 0 else ""
    if password and MARK not in password and not password.startswith("${"):
        spans.append((colon + 1, at, "url-password"))


def _is_of_a_database(text: str, start: int) -> bool:
    """Say whether the URL that goes on at `start` is that of a database: a path there has no @, a password may."""
    before = text[max(0, start - 40) : start - 3].lower()
    scheme = before[len(before.rstrip(_IN_SCHEMES)) :].partition("+")[0]
    return scheme in _DATABASES


def _misplaced_at(text: str, start: int, stop: int, end: int) -> int:
    """Return where a password ends that holds a slash or the like, which ought to be escaped; -1 if there is none."""
    _, colon, port = text[start:stop].partition(":")
    if not colon or port.isdigit() or text.startswith("[", start) or "," in port or (not port and stop == end):
        return -1
    query = text.find("?", stop + 1, end)
    return text.rfind("@", stop, query if query >= 0 else end)


def _parameter_spans(text: str, start: int, end: int, spans: list[Span]) -> None:
    """Add the values of secret parameters, in the query and in the fragment."""
    at = min((place for mark in "?#" if (place := text.find(mark, start, end)) >= 0), default=-1)
    while 0 <= at < end:
        stop = min((place for mark in "&;#?" if (place := text.find(mark, at + 1, end)) >= 0), default=end)
        equals = text.find("=", at + 1, stop)
        if equals >= 0:
            rule = _rule_of_parameter(text[at + 1 : equals], text[equals + 1 : stop])
            if rule is not None:
                spans.append((equals + 1, stop, rule))
        at = stop


def _rule_of_parameter(name: str, value: str) -> str | None:
    if not value or MARK in value or value.startswith("${"):
        return None
    low = name.lower()
    if low in _ACCESS:
        return "url-token" if len(value) >= SHORTEST_KNOWN else None
    if low in _PERHAPS_ACCESS:
        return "url-token" if looks_random(value) else None
    rule = looks_secret_name(name)
    if rule != _PERHAPS:
        return rule
    if words_of(name)[-1] != "token":
        return "url-token" if looks_random(value) else None
    return None if value.isdigit() or _OTHER_TOKENS.intersection(words_of(name)) else "url-token"


def replaced(text: str, spans: Iterable[Span]) -> str:
    """Return a text with masks in place of spans; of those that overlap, one mask stands for all."""
    pieces, done = [], 0
    for start, end, rule in merged(spans):
        pieces += [text[done:start], mask_of(rule)]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, rule in sorted(spans, key=lambda span: (span[0], -span[1])):
        if merged and start < merged[-1][1]:
            first, last, name = merged[-1]
            merged[-1] = (first, max(last, end), name)
        else:
            merged.append((start, end, rule))
    return merged
