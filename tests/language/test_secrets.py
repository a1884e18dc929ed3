"""What is secret is found, and what only looks like it is left alone."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import functools
import json
import pathlib
import pickle
import random
import string
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture import events
from capture.codec import encode
from capture.errors import MaskedConfigError
from capture.masking import HOLD_S, Masker, forms_of
from capture.secrets import (
    MARK,
    RULES,
    is_mask,
    looks_random,
    looks_secret_name,
    looks_secret_value,
    mask_of,
    masked_entries,
    redact_url,
    redact_urls_in,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def drawn(count, alphabet=string.ascii_letters + string.digits):
    """Return a token that looks like a real one, and is none that anybody gave out."""
    source = random.Random(count)
    text = "".join(source.choice(alphabet) for _ in range(count - 6))
    return text + "a1B2c3"


PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join([drawn(64)] * 3) + "\n-----END RSA PRIVATE KEY-----"
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890"}', b"signature-of-32-bytes-or-so-....")
)

SECRET_NAMES = [
    *("password", "db.password", "db_password", "dbPassword", "DB_PASSWORD", "PGPASSWORD", "--password", "passwords"),
    *("passwd", "passphrase", "ssh-passphrase", "pwd", "MYSQL_PWD", "db_pass", "SMTP_PASS", "SSHPASS", "password2"),
    *("secret", "client_secret", "clientSecret", "CLIENT-SECRET", "secrets", "app.secret", "SECRET_1"),
    *("api_key", "apikey", "apiKey", "API-Key", "X-API-Key", "OPENAI_API_KEY", "OpenAIAPIKey", "api_keys", "APIKEY"),
    *("access_key", "AWS_SECRET_ACCESS_KEY", "accessKey", "private_key", "sshPrivateKey", "secret_key", "SECRET_KEY"),
    *("credentials", "credential", "db.credentials", "creds", "auth_token", "access_token", "accessToken"),
    *("refresh_token", "bearer-token", "API_TOKEN", "oauth_token", "secret_value"),
]
PERHAPS_SECRET_NAMES = ["token", "hf_token", "TOKEN", "GITHUB_TOKEN", "signing_key", "session_key", "cookie", "tokens"]
OTHER_NAMES = [
    *("max_tokens_to_sample", "token_dim", "token_type", "tokenizer", "n_tokens_total", "token_ids", "tokenization"),
    *("author", "authors", "authority", "key", "keys", "primary_key", "sort_key", "foreign_key", "monkey", "keyboard"),
    *("password_length", "password_file", "passwords_path", "secret_santa", "secretary", "compass", "bypass", "pass"),
    *("n_passes", "forward_pass", "passenger", "use_password", "is_secret", "ask_password", "no_password", "has_token_x"),
    *("hash_key_fn", "api_key_name", "access_key_id", "keychain", "credit", "pwd_length", "key_value", "kv_key", "lr", ""),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_last_words_of_a_name_say_that_its_value_is_secret(name):
    """Names are how most secrets are recognised, in every style that people write them in."""
    assert looks_secret_name(name) not in (None, "token")
    assert Masker(environ={}).mask({name: "correct-horse"}) == {name: mask_of(looks_secret_name(name))}


@pytest.mark.parametrize("name", PERHAPS_SECRET_NAMES)
def test_the_value_of_a_token_is_secret_only_if_it_looks_random(name):
    """Half of machine learning is about tokens that are words."""
    assert looks_secret_name(name) == "token"
    masker = Masker(environ={})
    for harmless in ("[PAD]", "<|endoftext|>", "whitespace", "a_long_name_for_a_token", "bert-base-uncased", "</s>"):
        assert masker.mask({name: harmless}) == {name: harmless}
    assert masker.mask({name: drawn(32)}) == {name: mask_of("token")}
    assert masker.mask({name: "9f86d081884c7d659a2feaa0c55ad015"}) == {name: mask_of("token")}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_with_such_words_in_them_are_left_alone(name):
    """A mask in place of a hyper-parameter makes a record worthless."""
    assert looks_secret_name(name) is None
    config = {name: "some-value", "nested": [{name: "some-value"}]}
    assert Masker(environ={}).mask(config) is config


SECRET_VALUES = [
    ("hf_" + drawn(34), "huggingface-token"),
    ("ghp_" + drawn(36), "github-token"),
    ("gho_" + drawn(36), "github-token"),
    ("ghs_" + drawn(36), "github-token"),
    ("github_pat_" + drawn(22) + "_" + drawn(59), "github-token"),
    ("glpat-" + drawn(20), "gitlab-token"),
    ("sk-" + drawn(48), "api-key"),
    ("sk-ant-api03-" + drawn(80), "api-key"),
    ("sk-proj-" + drawn(60), "api-key"),
    ("sk_live_" + drawn(24), "stripe-key"),
    ("AKIA" + "Z7XQ2PLM5RT3WV4K", "aws-key"),
    ("ASIA" + "Z7XQ2PLM5RT3WV4K", "aws-key"),
    ("xoxb-" + "123456789012-" + drawn(24), "slack-token"),
    ("xoxp-" + "123456789012-" + drawn(24), "slack-token"),
    ("AIza" + drawn(35), "google-key"),
    ("ya29." + drawn(60), "google-token"),
    (JWT, "jwt"),
    ("npm_" + drawn(36), "npm-token"),
    ("pypi-AgEIcHlwaS5vcmc" + drawn(100), "pypi-token"),
    ("SG." + drawn(22) + "." + drawn(43), "sendgrid-key"),
    (PEM, "private-key"),
    (PEM.replace("\n", "\\n"), "private-key"),
    (PEM.replace("RSA ", "OPENSSH "), "private-key"),
    ("Bearer " + drawn(32), "bearer"),
    ("Authorization: Bearer " + JWT, "jwt"),
    ("Basic " + base64.b64encode(b"bob:hunter2").decode(), "basic-auth"),
    ("https://hooks.slack.com/services/T0/B0/" + drawn(24), "slack-webhook"),
    ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + drawn(86) + "==;", "azure-key"),
    ("host=db.example dbname=runs user=bob password=hunter2", "password"),
    ("Driver={X};Server=db;Uid=bob;Pwd=hunter2;", "password"),
    ("postgres://bob:hunter2@db/runs", "url-password"),
    ("see https://bob:hunter2@db.example/runs for it", "url-password"),
    ("https://x.org/get?user=1&access_token=abcdef", "auth-token"),
    ("https://x.org/get?api_key=abcdef&user=1", "api-key"),
    ("https://" + drawn(40) + "@github.com/team/project", "url-token"),
]
OTHER_VALUES = [
    *("adam", "relu activation", "[PAD]", "a@b.org", "max_tokens=512", "key=value", "x:y", "", "None"),
    *("/data/tokens.txt", "/srv/bob/.ssh/id_rsa", "C:\\data\\secret\\file.csv", "data/password_strength.csv"),
    *("d670460b4b4aece5915caf5c68d12f560a9fe3e4", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    *("123e4567-e89b-12d3-a456-426614174000", "01a1fcba-e0cb-7356-9dac-fcda967686c7"),
    base64.b64encode(bytes(range(256))).decode(),
    base64.b64encode(b'{"a": {"b": [1, 2, 3]}, "cc": "dddddddddddddddddddddddddddd"}').decode(),
    *("risk-averse-portfolio-optimisation-2024", "task-1234567890abcdefghijklmn", "disk-0123456789abcdef0123"),
    *("sk-learn", "sk-learn-contrib-some-package-name", "hf_model_name_that_goes_on_and_on_and_on", "hf_hub"),
    *("high_resolution_images", "ghp_short", "AKIA", "MAKIAVELLI", "AKIASEQWENCEPEPTIDEL", "eyJustaword.andmore.here"),
    *("Basic training for everyone", "basic research", "Bearer of bad news", "bearer instruments and securities"),
    *("npm_config_registry", "pypi-server", "xoxo-hugs-and-kisses", "SG.GD.FR", "ya29", "AIzawa"),
    *("https://github.com/team/project.git", "git@github.com:team/project.git", "ssh://git@github.com/team/project"),
    *("https://example.org/a?b=c&page_token=abc&max_tokens=512&key=value", "http://localhost:8080/@user/file"),
    *("sqlite:///runs.db", "file:///data/x@y/z", "s3://bucket/key=1/part=2", "http://[::1]:8080/a@b?c=d"),
    *("mongodb://h1:27017,h2:27017/db?replicaSet=a@b", "docker://python:3.11@sha256:abcdef", "http://user@host/"),
    *("postgres://u:${DB_PASSWORD}@h/db", "https://x.org/#section=2", "see https://x.org/?q=a@b (or mail a@b.org)."),
    *("connect(host=host, user=user, password=password)", "  cursor = connect(host=h, password=pw)\n", "cwd=/tmp host=x"),
    *("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----\nMIIB\n"),
    *("print('PRIVATE KEY not found')", "requires a PRIVATE KEY", "The password is wrong", "secret: yes"),
    *("1.2.3", "torch==2.1.0", "secrets==1.0", "tokenizers==0.15.0", "v1.2.3-45-gabcdef0", "2026-01-01T00:00:00+00:00"),
]


@pytest.mark.parametrize(("text", "rule"), SECRET_VALUES, ids=[f"{i}-{rule}" for i, (_, rule) in enumerate(SECRET_VALUES)])
def test_tokens_that_say_what_they_are_are_masked_whatever_they_are_called(text, rule):
    """People paste them anywhere: into notes, commands, lists of arguments."""
    assert looks_secret_value(text) == rule
    masker = Masker(environ={})
    masked = masker.mask({"note": text, "again": ["so", f"it is {text} you see"]})
    assert MARK in masked["note"] and MARK in masked["again"][1]
    assert all(known not in json.dumps(masked) for known in masker.known)
    assert {entry["path"] for entry in masker.found} == {"note", "again.1"}


@pytest.mark.parametrize("text", OTHER_VALUES)
def test_what_only_looks_like_a_secret_is_left_as_it_is(text):
    """Commits, digests, paths, peptides and ordinary words are what records are for."""
    assert looks_secret_value(text) is None
    value = {"note": text, "list": [text, {"deep": (text,)}], "also": {text, "x"}, text: 1}
    masker = Masker(environ={})
    assert masker.mask(value) is value
    assert masker.found == [] and masker.known == frozenset()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("password", value) for value in ("", "None", "null", "true", "no", "********", mask_of("password"), "${PW}")],
        *[("password", value) for value in (1234, 12.5, True, None, 3 + 4j, "{{ vault.password }}")],
        *[("private_key", value) for value in ("~/.ssh/id_rsa", "/etc/ssl/key.pem", "keys/prod.pem", "./key")],
        *[("credentials", value) for value in ("/srv/bob/credentials.json", "service.json")],
        *[("pwd", value) for value in ("/", "/tmp")],
        *[("secret", value) for value in ("/", False)],
    ],
)
def test_what_a_name_says_is_secret_may_be_none(name, value):
    """Switches, numbers, places where a secret is to be found, and masks are no secrets."""
    config = {name: value}
    assert Masker(environ={}).mask(config) is config


URLS = [
    ("postgresql+psycopg://bob:pw@db:5432/runs", "postgresql+psycopg://bob:{url-password}@db:5432/runs"),
    ("mongodb://bob:pw@h1:1,h2:2/?replicaSet=x", "mongodb://bob:{url-password}@h1:1,h2:2/?replicaSet=x"),
    ("redis://:pw@h:6379/0", "redis://:{url-password}@h:6379/0"),
    ("https://bob:p@ss@[::1]:80/a?b=c#d", "https://bob:{url-password}@[::1]:80/a?b=c#d"),
    ("postgres://bob:p/w@h/db", "postgres://bob:{url-password}@h/db"),
    ("postgresql://bob:12/w@h/db", "postgresql://bob:{url-password}@h/db"),
    ("mysql+pymysql://bob:p@s/s@w@h/db?a=b", "mysql+pymysql://bob:{url-password}@h/db?a=b"),
    ("mongodb://bob:p?w#x@h/db", "mongodb://bob:{url-password}@h/db"),
    ("https://h:8080/@scope/package", "https://h:8080/@scope/package"),
    ("postgres://bob:p|w'\"<@h/db", "postgres://bob:{url-password}@h/db"),
    ("s3://KEY:se/cr+et@bucket/a", "s3://KEY:{url-password}@bucket/a"),
    ("https://oauth2:tok@gitlab.com/a.git", "https://oauth2:{url-password}@gitlab.com/a.git"),
    ("bob:tok@host:path/x.git", "bob:{url-password}@host:path/x.git"),
    ("https://x/?a=1&sig=abcdefgh%3D&se=2", "https://x/?a=1&sig={url-token}&se=2"),
    ("https://x/?token=abc&n_tokens=5&token=7", "https://x/?token={url-token}&n_tokens=5&token=7"),
    ("https://x/#access_token=abc&state=1", "https://x/#access_token={auth-token}&state=1"),
    ("https://x/?X-Amz-Date=1&X-Amz-Signature=0123456789", "https://x/?X-Amz-Date=1&X-Amz-Signature={url-token}"),
    ("jdbc:postgresql://h/db?user=bob&password=pw", "jdbc:postgresql://h/db?user=bob&password={password}"),
    ("https://ghp_" + drawn(36) + "@github.com/x", "https://{github-token}@github.com/x"),
    ("https://a/?next=http://b:c@d/e", "https://a/?next=http://b:{url-password}@d/e"),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_of_a_url_only_what_is_secret_is_masked(url, expected):
    """Host, user, database and harmless parameters are what one looks for in a record."""
    for rule in RULES:
        expected = expected.replace("{" + rule + "}", mask_of(rule))
    assert redact_url(url) == expected
    assert redact_url(expected) == expected


def test_urls_are_found_within_a_text():
    """Tracebacks and log lines name them between quotes, brackets and full stops."""
    text = "no route to 'https://a:pw@b/c', (http://d:pw@e). <ftp://f:pw@g/> and \"h://i:pw@j\""
    mask = mask_of("url-password")
    assert redact_urls_in(text) == text.replace("pw", mask)
    assert redact_urls_in(redact_urls_in(text)) == redact_urls_in(text)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_redacting_any_text_twice_is_redacting_it_once(text):
    """Records pass through several hands, each of which may mask."""
    for make in (text, "http://" + text, "a=b://" + text + "@x?token=" + text):
        once = redact_urls_in(make)
        assert redact_urls_in(once) == once
        assert redact_url(redact_url(make)) == redact_url(make)


def test_a_mask_is_a_string_of_its_own():
    """One must see at a glance that it is none of the run's values, and a program must be able to tell."""
    for rule in RULES:
        mask = mask_of(rule)
        assert is_mask(mask) and mask.isascii() and not set(mask) & set(" <>\"'\\/@&=#?[]{}")
        assert not looks_secret_value(mask)
        assert Masker(environ={}).mask({"password": mask}) == {"password": mask}
    assert not is_mask("***") and not is_mask(5) and not is_mask("a" + mask_of("password"))


def test_looks_random_tells_tokens_from_words():
    """Entropy alone does not: long words have as much."""
    assert all(looks_random(drawn(length)) for length in range(20, 60))
    for text in ("internationalization-of-words", "a" * 40, "1" * 40, "getUserByIdFromCacheOrDatabase", "x y " * 10, "short1A"):
        assert not looks_random(text)


# ------------------------------------------------------------------------------------------------------------- events


def started(**fields):
    """Return the first event of a run."""
    values = {"ex_info": {"name": "x"}, "host_info": {}, "config": {}, "meta_info": {}, "command": "main", **fields}
    return events.Started(start_time=NOW, **values)


SECRET = "Tr0ub4dor&3 'x\"y"
EVENTS = [
    started(config={"db": {"password": SECRET, "url": f"postgres://u:{SECRET}@h"}}),
    started(host_info={"ENV": {"DB_PASSWORD": SECRET}}),
    started(meta_info={"options": {"--url": f"http://u:{SECRET}@h/"}, "config_updates": {"db.password": SECRET}}),
    started(meta_info={"argv": ["x.py", "with", f"db.password={SECRET}", "--password", SECRET, f"--pw={SECRET}"]}),
    started(ex_info={"repositories": [{"url": f"https://u:{SECRET}@github.com/x"}]}),
    events.Facts(topic="params", facts={"note": f"it is {SECRET}", "password": SECRET}),
    events.Facts(topic="secrets_of_others", facts=[SECRET]),
    events.Heartbeat(beat_time=NOW, info=[{"a": [{SECRET}, (SECRET,), {SECRET: 1}, {(1, SECRET): 2}]}], result=[SECRET]),
    events.Completed(stop_time=NOW, result={"deep": [[[SECRET.encode()]]], "path": pathlib.PurePosixPath("/a") / SECRET}),
    events.Failed(fail_time=NOW, fail_trace=["Traceback\n", f"ValueError: {SECRET!r}\n", json.dumps(SECRET)]),
    events.Artifact(artifact_name=f"a{SECRET}.txt", filename="/x", digest="d", size=1, metadata={"m": SECRET}),
    events.Resource(filename=f"/data/{SECRET}", digest="d", size=1),
    events.Annotated(tags=["a", SECRET], notes=f"used {SECRET}"),
]


def leaves(value):
    """Yield every string in a JSON value, decoded where it is Base64."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
            if key == "py/b64":
                yield base64.b64decode(item).decode("utf-8", "replace")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)


def is_in(secret, event):
    return any(form in text for text in leaves(event.to_json()) for form in forms_of(secret))


@pytest.mark.parametrize("event", EVENTS, ids=[f"{i}-{event.name}" for i, event in enumerate(EVENTS)])
def test_a_known_secret_survives_in_no_field_of_any_event(event):
    """Each kind of event is a way out of the process, into journal and stores."""
    before = repr(event)
    assert is_in(SECRET, event)
    masker = Masker(environ={"SOME_PASSWORD": SECRET})
    masked = masker.event(event)
    assert type(masked) is type(event) and not is_in(SECRET, masked)
    assert repr(event) == before, "what the run goes on with is as it was"
    assert masker.found and all(entry["rule"] in RULES for entry in masker.found)
    assert masker.event(masked) is masked
    assert events.from_json(masked.to_json()).to_json() == masked.to_json()


def test_what_is_found_late_in_an_event_is_masked_early_in_it_too():
    """The traceback of a nested config, say: order within one event is an accident."""
    event = started(command="run-hunter22", config={"note": "hunter22", "z": {"password": "hunter22"}})
    masked = Masker(environ={}).event(event)
    assert not is_in("hunter22", masked)
    assert masked.config["note"] == mask_of("password")


def test_an_event_without_secrets_is_the_very_same_object():
    """That is the usual case, and it should cost a look and nothing else."""
    masker = Masker(environ={"X_PASSWORD": "something-else"})
    config = {"lr": 0.1, "layers": [64, 32], "name": "adam", "t": (1, "a long string of words"), "s": {1, 2}, "b": b"abc"}
    for event in (
        started(config=config, host_info={"ENV": {"PATH": "/usr/bin:/bin"}}),
        events.Heartbeat(beat_time=NOW, info=[{"x": float("nan"), "t": NOW, "p": pathlib.Path("/data/file.csv")}], result=[1]),
        events.Output(text="anything at all", offset=0),
        events.Facts(topic="secrets", facts={"masked": [{"path": "config.password", "rule": "password"}]}),
    ):
        assert masker.event(event) is event
    assert masker.found == []


def test_paths_name_what_was_masked():
    """Whoever misses a value in a record must be able to see why, and how to lift it."""
    masker = Masker(environ={})
    masker.event(started(config={"db": {"password": "a", "user": "b"}, "keys": ["x", "y"], "api_keys": ["k1", "k2"]}))
    masker.event(events.Heartbeat(beat_time=NOW, info=[{"url": "http://a:b@c"}]))
    masker.event(events.Facts(topic="process", facts={"argv": ["--token", drawn(30)]}))
    assert [(entry["path"], entry["rule"]) for entry in masker.found] == [
        ("config.db.password", "password"),
        ("config.api_keys.0", "api-key"),
        ("config.api_keys.1", "api-key"),
        ("info.url", "url-password"),
        ("facts.process.argv.1", "token"),
    ]
    assert masker.facts() == {"masked": masker.found}


def test_groups_with_a_secret_name_are_masked_but_for_whose_they_are():
    """``credentials: {user: bob, ...}`` says who; that is no secret."""
    config = {"credentials": {"user": "bob", "value": "abc", "nested": {"x": "y"}, "n": 3}, "secrets": ["a", "b", 1]}
    secret = mask_of("secret")
    mask = mask_of("credentials")
    assert Masker(environ={}).mask(config) == {
        "credentials": {"user": "bob", "value": mask, "nested": {"x": mask}, "n": 3},
        "secrets": [secret, secret, 1],
    }


@pytest.mark.parametrize("allowed", ["password", "db.password", "db", "PASSWORD", "config.db.password"])
def test_a_name_or_path_that_is_allowed_is_not_masked(allowed):
    """There are public passwords, and people who want them in their records."""
    event = started(config={"db": {"password": "public-password"}, "note": "public-password"})
    masker = Masker(allowed=[allowed], environ={})
    assert masker.event(event) is event
    other = masker.mask({"secret": "not-public", "note": "not-public"})
    assert other == {"secret": mask_of("secret"), "note": mask_of("secret")}


def test_what_is_allowed_is_a_whole_word_of_a_path():
    """``password`` must not lift the mask of ``password_of_the_boss.secret`` or of ``my_password``."""
    config = {"my_password": "abc", "passwords": "abc"}
    assert MARK in repr(Masker(allowed=["password"], environ={}).mask(config)["my_password"])
    assert MARK in repr(Masker(allowed=["password"], environ={}).mask(config)["passwords"])


def test_further_names_can_be_made_secret():
    """No list of rules knows a laboratory's own words."""
    masker = Masker(names=["wifi_code", "patient"], environ={"HOME_WIFI_CODE": "from-the-environment"})
    config = {"wifi_code": "1a", "home": {"wifiCode": "2b"}, "patient": "Bob", "patients_file": "x.csv", "n": "a from-the-environment"}
    mask = mask_of("name")
    assert masker.mask(config) == {
        "wifi_code": mask, "home": {"wifiCode": mask}, "patient": mask, "patients_file": "x.csv", "n": f"a {mask}",
    }  # fmt: skip


def test_the_environment_is_known_from_the_start_whatever_of_it_is_recorded():
    """A program prints what it was given there; only a few variables are on the record themselves."""
    environ = {
        "DB_PASSWORD": "tiger-tiger", "DATABASE_URL": "postgres://u:burning@h/x", "TOKEN": drawn(40),
        "SOMETHING": "hf_" + drawn(34), "PWD": "/home/somebody", "GPG_KEY": "A035C8C19219BA821ECEA86B64E628F8D684696D",
        "SHORT_PASSWORD": "abc", "PGPASSWORD": "postgres", "AUTHOR": "somebody-else",
    }  # fmt: skip
    assert Masker(environ=environ).known == {"tiger-tiger", drawn(40), "hf_" + drawn(34)}
    assert Masker(environ={**environ, "DATABASE_URL": "postgres://u:burning-bright@h/x"}).known > {"burning-bright"}


def test_a_secret_is_masked_in_the_spellings_of_python_json_and_urls():
    """A password with a quotation mark looks different in a traceback, a JSON body and a URL."""
    masker = Masker(environ={"X_PASSWORD": 'it\'s "50%"\tüber/all'})
    from urllib.parse import quote

    value = 'it\'s "50%"\tüber/all'
    for text in (value, repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False), quote(value), quote(value, safe="")):
        assert masker.mask(f"it is {text}.").replace('"', "").replace("'", "") == f"it is {mask_of('password')}."
    found = Masker(environ={})
    found.mask({"url": "http://bob:p%40ssword%21@h"})
    assert {"p%40ssword%21", "p@ssword!"} <= found.known


def test_lines_of_a_private_key_are_masked_one_by_one_too():
    """Programs print files line by line, and terminals end lines in their own way."""
    masker = Masker(environ={"SSH_PRIVATE_KEY": PEM})
    assert MARK in masker.mask(f"line: {PEM.splitlines()[1]}")
    assert masker.mask("-----BEGIN RSA PRIVATE KEY") == "-----BEGIN RSA PRIVATE KEY"


@pytest.mark.parametrize("common", ["password", "postgres", "changeme", "private-key", "localhost"])
def test_a_password_that_is_everybodys_is_masked_in_its_place_only(common):
    """With it masked wherever it turns up, the record would say less and hide nothing."""
    masker = Masker(environ={})
    assert masker.mask({"db": {"password": common}, "image": f"{common}:16"}) == {
        "db": {"password": mask_of("password")}, "image": f"{common}:16",
    }  # fmt: skip


class Wrapped:
    """What pydantic's SecretStr looks like."""

    def __init__(self, value):
        self._secret_value = value

    def get_secret_value(self):
        return self._secret_value


@dataclasses.dataclass
class Account:
    user: str
    password: str


class Holder:
    def __init__(self):
        self.user, self.api_key, self.note = "bob", "key-of-bob", "uses key-of-bob"


def test_objects_are_masked_in_the_form_in_which_they_are_stored():
    """A config may hold a dataclass, an object, a path, an array."""
    import numpy

    masker = Masker(environ={})
    values = {
        "a": Account("bob", "secret-of-bob"), "b": Wrapped("wrapped-secret"), "c": Holder(),
        "d": numpy.array(["x", "secret-of-bob"]), "e": b"secret-of-bob!", "f": pathlib.Path("/x/secret-of-bob"),
        "g": "wrapped-secret", "h": numpy.arange(3), "i": datetime.date(2026, 1, 1),
    }  # fmt: skip
    masked = masker.event(started(config=values))
    for secret in ("secret-of-bob", "wrapped-secret", "key-of-bob"):
        assert not is_in(secret, masked)
    assert masked.config["h"] is values["h"] and masked.config["i"] is values["i"]
    assert masked.config["e"] == (mask_of("password") + "!").encode()
    assert values["a"].password == "secret-of-bob" and values["b"].get_secret_value() == "wrapped-secret"


def test_values_that_hold_themselves_or_are_very_deep_are_masked():
    """What the codec can write, the masker must be able to look through."""
    loop = {"password": "hunter222", "list": ["hunter222"]}
    loop["self"] = loop
    deep = "hunter222"
    for _ in range(150):
        deep = [deep]
    deeper = {"password": "x"}
    for _ in range(400):
        deeper = {"a": deeper, "hunter222": "hunter222"}
    for value in (loop, deep, deeper):
        event = Masker(environ={"A_PASSWORD": "hunter222"}).event(started(config={"v": value}))
        assert not is_in("hunter222", event)


def test_keys_that_become_the_same_mask_stay_apart():
    """Two entries must not become one because both their keys are secret."""
    masker = Masker(environ={"A_SECRET": "first-secret", "B_SECRET": "second-secret"})
    assert sorted(masker.mask({"first-secret": 1, "second-secret": 2}).values()) == [1, 2]


def plain_with(keys):
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30) | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.tuples(inner, inner),
        max_leaves=25,
    )


plain = plain_with(st.text(max_size=12))
# Hypothesis draws texts that stand in the library's code, too, and names of secrets are among them.
plain_without_names_of_secrets = plain_with(st.text(max_size=12).filter(lambda name: looks_secret_name(name) is None))
secrets_of_any_kind = st.text(
    st.characters(codec="utf-8", exclude_characters="*"), min_size=8, max_size=20
).filter(lambda text: len(text.strip("*x.-")) >= 8 and not text.startswith(("/", ".", "~", "${", "{{", "$(")))


def planted(data, value, secret):
    """Return a copy of a value with a secret put in at some places."""
    if isinstance(value, dict):
        return {
            (key + secret if data.draw(st.booleans()) else key): planted(data, item, secret) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)([planted(data, item, secret) for item in value])
    if isinstance(value, str) and data.draw(st.booleans()):
        return value + secret + value
    if isinstance(value, bytes) and data.draw(st.booleans()):
        return value + secret.encode()
    return value


@given(st.data(), plain, secrets_of_any_kind)
@settings(max_examples=200, deadline=None)
def test_no_known_value_survives_wherever_it_stands(data, value, secret):
    """The one promise that matters, over all shapes of data and all secrets."""
    masker = Masker(environ={"MY_PASSWORD": secret})
    if secret not in masker.known:
        return  # everybody's, or a mask
    if any(secret in text for text in leaves(events.Heartbeat(beat_time=NOW, info=[{}], result=[()]).to_json())):
        return  # a word of the form that every event has, such as "datetime"
    event = events.Heartbeat(beat_time=NOW, info=[{"v": planted(data, value, secret)}], result=[planted(data, value, secret)])
    masked = masker.event(event)
    assert not any(secret in text for text in leaves(masked.to_json()))
    assert masker.event(masked) is masked


@pytest.mark.slow
@given(plain_without_names_of_secrets)
@settings(max_examples=200, deadline=None)
def test_what_has_no_secret_comes_back_as_the_same_object(value):
    """Random data has no tokens in it; if it is touched, the rules are too greedy."""
    masker = Masker(environ={"MY_PASSWORD": "correct horse battery staple"})
    event = events.Heartbeat(beat_time=NOW, info=[value])
    assert masker.event(event) is event


# ------------------------------------------------------------------------------------------------------------- output


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def streamed(pieces, *secrets, pause_s=0.0):
    """Return what is recorded of output that comes in pieces, with a look at the clock after each."""
    clock = Clock()
    filtered = Masker(environ={f"S{i}_PASSWORD": secret for i, secret in enumerate(secrets)}).stream(clock)
    out = []
    for piece in pieces:
        out.append(filtered(piece, False))
        clock.now += pause_s
        if pause_s:
            out.append(filtered("", False))
    out.append(filtered("", True))
    return "".join(out)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_secret_in_the_output_is_masked_however_it_is_cut(data):
    """Pipes, buffers and children cut output where they like."""
    secret = data.draw(st.sampled_from(["hunter2-swordfish", "aaaaaaaab", "abcabcabcabd", "pass word\nwith lines", "ünïcødé-pw"]))
    parts = data.draw(st.lists(st.sampled_from([secret, secret[:5], "a", "abc", "\n", "x" * 20, secret[-4:]]), max_size=8))
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)])]
    recorded = streamed(pieces, secret)
    assert secret not in recorded
    assert recorded == streamed([text], secret)
    if secret not in text:
        assert recorded == text


def test_what_is_printed_a_letter_at_a_time_and_slowly_is_masked_at_the_latest_from_its_middle():
    """Some programs type as people do; the beginning of a secret is given up then, and no more of it."""
    secret = "hunter2-hunter2"
    recorded = streamed(["a ", *secret, " b"], secret, pause_s=1.0)
    assert recorded.startswith("a hunter") and recorded.endswith(mask_of("password") + " b")
    assert len(recorded.partition("***")[0]) <= len("a ") + len(secret) // 2


def test_a_prompt_that_begins_like_a_secret_is_recorded_in_time():
    """Whoever follows a run should see that it waits for an answer."""
    clock = Clock()
    filtered = Masker(environ={"A_PASSWORD": "password-12345"}).stream(clock)
    assert filtered("pass", False) == ""
    assert filtered("", False) == ""
    clock.now = HOLD_S
    assert filtered("", False) == "pass"
    assert filtered("word-1234", False) == "" and filtered("5", False) == mask_of("password")


def test_what_is_let_go_and_goes_on_otherwise_is_recorded_whole():
    """Nothing of the output may get lost or come twice."""
    assert streamed(["pass", " me the salt"], "password-12345", pause_s=1.0) == "pass me the salt"
    assert streamed(["password-", "1", "no"], "password-12345", pause_s=1.0) == "password-1no"
    assert streamed(["papapassword-12345", "pa"], "password-12345") == f"papa{mask_of('password')}pa"


def test_of_two_secrets_of_which_one_begins_with_the_other_both_are_masked():
    """The longer one counts, however it is cut."""
    short, long = "password-1234", "password-12345678"
    assert streamed(["password-1234", "5678 "], short, long) == mask_of("password") + " "
    assert streamed(["password-1234", " "], short, long) == mask_of("password") + " "


def test_output_costs_nothing_while_no_secret_is_known():
    """Most runs have none: what comes in goes out, as the same object."""
    text = "anything"
    assert Masker(environ={}).stream()(text, False) is text


def test_a_secret_that_is_found_during_the_run_is_masked_in_what_is_printed_from_then_on():
    """A token that is fetched first, put into info next and printed last."""
    masker = Masker(environ={})
    filtered = masker.stream()
    assert filtered("late-secret ", False) == "late-secret "
    masker.event(events.Facts(topic="params", facts={"password": "late-secret"}))
    assert filtered("late-secret ", False) == mask_of("password") + " "
    assert {"path": "output", "rule": "password"} in masker.found


# --------------------------------------------------------------------------------------------------- masks as values


def test_masks_in_a_configuration_are_found():
    """A run that took one for the value would log in with asterisks, or worse, do something else without a word."""
    mask = mask_of("password")
    config = {"db": {"password": mask, "user": "bob"}, "urls": ["a", f"http://u:{mask}@h"], "n": 1, "x": ({"y": mask},)}
    assert masked_entries(config) == ["db.password", "urls.1", "x.0.y"]
    assert masked_entries({"a": "***", "b": [1, "c"]}) == []


def test_the_error_for_a_masked_configuration_names_what_to_give():
    """It says which values are wanted and how, and crosses processes as it is."""
    error = MaskedConfigError(["db.password", "api_key"])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.paths == ("db.password", "api_key")
    assert "with db.password=VALUE api_key=VALUE" in str(error)


class Slotted:
    """Shows its fields, as classes made by attrs do."""

    __slots__ = ()

    def __repr__(self):
        return "Slotted(user='bob', password='it\\'s-Xy', pad_token='[PAD]', \"monkey\"='banana')"


def test_fields_of_objects_that_are_stored_by_their_repr_are_masked_by_name():
    """Clients and settings are made with attrs, SimpleNamespace or partial, and all of them show what they hold."""
    masker = Masker(environ={})
    for value in (types.SimpleNamespace(api_key="short"), functools.partial(print, password="hunter2")):
        stored = json.dumps(encode(masker.mask({"client": value})))
        assert MARK in stored and "short" not in stored and "hunter2" not in stored
    stored = encode(masker.mask({"client": Slotted()}))["client"]["capture/repr"]["repr"]
    assert stored == repr(Slotted()).replace("it\\'s-Xy", mask_of("password"))
    assert encode(masker.mask(types.SimpleNamespace(note="it\\'s-Xy"))) != encode(types.SimpleNamespace(note="it\\'s-Xy"))


def test_fields_of_named_tuples_are_masked_by_name():
    """Their names are not stored, so nobody would look for a password there."""
    Login = collections.namedtuple("Login", "user password")
    assert Masker(environ={}).mask({"login": Login("bob", "hunter2")}) == {"login": ("bob", mask_of("password"))}
    harmless = Login("bob", None)
    assert Masker(environ={}).mask(harmless) is harmless


def test_who_set_a_secret_entry_is_no_secret():
    """The facts of the configuration are keyed by the names of its entries: `api_key` was set by somebody, and who is told."""
    from capture.events import Facts
    from capture.masking import Masker

    said = {"origins": {"api_key": "command line"}, "docs": {"db.password": "see the wiki"}}
    event = Facts(topic="config", facts=said)
    assert Masker().event(event).facts == said
    leak = Facts(topic="config", facts={"origins": {}, "docs": {"hub": "ghp_" + "a1B2" * 9}})
    assert "a1B2" not in repr(Masker().event(leak).facts)
