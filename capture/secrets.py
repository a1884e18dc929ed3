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
    from collections.abc import Iterable

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


# ------------------------------------------------------------------------------------------------------------- names

#: last words that say it all
_WORDS = {
    **dict.fromkeys(("password", "passwd", "passphrase", "passcode", "pwd"), "password"),
    "secret": "secret",
    **dict.fromkeys(("credential", "credentials", "creds"), "credentials"),
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
        if hint in low:
            rule = _rule_of_words(_words(name))
            break
    if len(_rules) < _MOST_NAMES:
        _rules[name] = rule
    return rule


def _words(name: str) -> list[str]:
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
        words[-1] = last[:-1] if last.endswith("s") and last not in ("pass", "creds", "credentials") else last
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
    steps = [pair for pair in zip(kinds, kinds[1:], strict=False) if pair[0] != pair[1]]
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
    often_a_path = rule in ("private-key", "credentials")
    if not text.startswith(("/", "~/", "./", "../", "~\\", ".\\")) and text[1:3] not in (":\\", ":/"):
        return often_a_path and text.endswith((".json", ".pem", ".key", ".yaml", ".yml", ".ini"))
    if often_a_path:
        return "\n" not in text
    import os

    return os.path.exists(os.path.expanduser(text))


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
        return redact_urls_in(url)
    user, colon, rest = url.partition(":")
    password, at, place = rest.rpartition("@")
    is_short_form = colon and at and ":" in place and user.isidentifier() and "/" not in password
    if is_short_form and password and MARK not in password and not _has_space(url):
        return f"{user}:{mask_of('url-password')}@{place}"
    return url


def redact_urls_in(text: str) -> str:
    """Return `text` with what is secret in its URLs masked.

    Examples
    --------
    >>> redact_urls_in("cannot reach 'https://x.org/?user=1&access_token=abc', see http://a:b@c")
    "cannot reach 'https://x.org/?user=1&access_token=***masked:auth-token***', see http://a:***masked:url-password***@c"
    """
    return _replaced(text, url_spans(text)) if may_hold_secret_url(text) else text


def may_hold_secret_url(text: str) -> bool:
    """Say at little cost whether a text can have a URL with a password or parameters in it."""
    return "://" in text and ("@" in text or "=" in text)


def url_spans(text: str) -> list[Span]:
    """Return where in a text its URLs hold what is secret."""
    spans: list[Span] = []
    at = text.find("://")
    while at >= 0:
        start = at + 3
        end = _end_of_url(text, at)
        _authority_spans(text, start, end, spans)
        _parameter_spans(text, start, end, spans)
        at = text.find("://", start)
    return spans


def _end_of_url(text: str, at: int) -> int:
    """Return where the URL ends of which the scheme ends at `at`."""
    import re

    if text[:at].replace("+", "").replace("-", "").replace(".", "").isalnum() and not _has_space(text):
        return len(text)  # the text is a URL and nothing else: a password may have any character
    found = re.compile(r"[\s\"'`<>]").search(text, at, at + LONGEST_URL)
    end = found.start() if found else min(len(text), at + LONGEST_URL)
    while end > at and text[end - 1] in ".,;:)]}!?":
        end -= 1
    return end


def _has_space(text: str) -> bool:
    return len(text.split(None, 1)) > 1 or text != text.strip()


def _authority_spans(text: str, start: int, end: int, spans: list[Span]) -> None:
    stop = min((place for mark in "/?#" if (place := text.find(mark, start, end)) >= 0), default=end)
    at = text.rfind("@", start, stop)
    if at < 0:
        at = _misplaced_at(text, start, stop, end)
    if at < 0 or text.startswith("sha256:", at + 1):  # name:tag@digest of a container image
        return
    colon = text.find(":", start, at)
    user_end = colon if colon >= 0 else at
    if looks_random(text[start:user_end]) and MARK not in text[start:user_end]:
        spans.append((start, user_end, "url-token"))
    password = text[colon + 1 : at] if colon >= 0 else ""
    if password and MARK not in password and not password.startswith("${"):
        spans.append((colon + 1, at, "url-password"))


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
    if _words(name)[-1] != "token":
        return "url-token" if looks_random(value) else None
    return None if value.isdigit() or _OTHER_TOKENS.intersection(_words(name)) else "url-token"


def _replaced(text: str, spans: Iterable[Span]) -> str:
    """Return a text with masks in place of spans; of those that overlap, one mask stands for all."""
    pieces, done = [], 0
    for start, end, rule in _merged(spans):
        pieces += [text[done:start], mask_of(rule)]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, rule in sorted(spans, key=lambda span: (span[0], -span[1])):
        if merged and start < merged[-1][1]:
            first, last, name = merged[-1]
            merged[-1] = (first, max(last, end), name)
        else:
            merged.append((start, end, rule))
    return merged
