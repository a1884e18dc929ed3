"""Whatever way a secret takes out of a run, it arrives nowhere: neither in the store nor in what waits to be stored."""

from __future__ import annotations

import json
import re

import pytest

IN_CONFIG = "Tr0ub4dor-and-3"
IN_ARGUMENTS = "correct-horse/battery"
IN_ENVIRONMENT = "hf_" + "AbCdEf0123" * 3 + "wxyz"
IN_URL = "sw0rdfish-url"
FETCHED = "fetched-while-running"
SECRETS = [IN_CONFIG, IN_ARGUMENTS, IN_ENVIRONMENT, IN_URL, FETCHED]

SCRIPT = """
import json, logging, os, subprocess, sys, time, warnings
IN_CONFIG = os.environ["TEST_" + "A"]  # in the source it would be stored, and rightly so
@ex.config
def config():
    db = {"user": "bob", "password": os.environ["TEST_" + "A"], "url": "postgres://bob:" + os.environ["TEST_" + "A"] + "@h/db"}
    api_key = "none"
    max_tokens = 512
    pad_token = "[PAD]"
    author = "somebody"
    store = os.environ["DATABASE_URL"]

@ex.capture
def connect(db, api_key, _run):
    _run.info["seen"] = {"client": {"api_key": api_key}, "log": ["with " + db["password"]], db["password"]: 1}
    _run.log_params({"session": {"auth_token": "fetched-" + "while-running"}})
    _run.add_notes("used " + os.environ["HF_TOKEN"])
    _run.add_tags(api_key)

@ex.automain
def main(db, api_key, store, _run):
    connect()
    fetched = "fetched-" + "while-running"
    token = os.environ["HF_TOKEN"]
    print("password", db["password"], "as", repr(db["password"]), json.dumps(db), store)
    logging.getLogger("x").warning("token %s", token)
    warnings.warn("url " + store)
    time.sleep(0.3)  # standard error comes by a pipe of its own, and must not come between the halves of what follows
    for secret in (db["password"], api_key, token, fetched):
        for cut in (1, 7, len(secret) - 1):
            sys.stdout.write("<" + secret[:cut]); sys.stdout.flush()
            time.sleep(0.02)
            sys.stdout.write(secret[cut:] + ">\\n"); sys.stdout.flush()
    child = "import os, sys, time; t = os.environ['HF_TOKEN']; sys.stdout.write(t[:9]); sys.stdout.flush(); time.sleep(.05); print(t[9:])"
    subprocess.run([sys.executable, "-c", child], check=True)
    subprocess.run(["sh", "-c", 'echo "by the shell: $HF_TOKEN"; echo "$TEST_A" >&2'], check=True)
    table = _run.add_artifact({"note": "nothing secret"}, name="table.json")
    _run.result = {"url": store, "key": api_key}
    time.sleep(0.3)
    if os.environ.get("FAIL"):
        raise ValueError("no access to " + store + " with " + db["password"])
    return {"url": store, "token": token, "key": api_key, "n": 3}
"""


def files_with(secret, *folders):
    """Return the files below folders that hold a secret, as it is or as JSON and Base64 write it."""
    import base64

    forms = {secret.encode(), json.dumps(secret)[1:-1].encode()}
    forms |= {base64.b64encode(b" " * shift + secret.encode())[4:-4] for shift in range(3)}
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() or form.decode() in path.name for form in forms)
    ]


@pytest.fixture
def secretive(folder):
    """A folder with the script, in an environment full of secrets."""
    folder.environment.update(
        TEST_A=IN_CONFIG,
        HF_TOKEN=IN_ENVIRONMENT,
        DATABASE_URL=f"postgres://bob:{IN_URL}@db.example:5432/runs?sslmode=require",
        CAPTURE_STATE_DIR=str(folder.path / "state"),
        CAPTURE_HOST_INFO__CAPTURED_ENV="HF_TOKEN,DATABASE_URL,HOME",
    )
    folder.write(SCRIPT)
    return folder


def places(folder):
    return folder.path / "runs", folder.path / "state"


@pytest.mark.parametrize("mode", ["fd", "sys"])
@pytest.mark.parametrize("fails", ["", "yes"])
def test_no_secret_of_a_run_reaches_the_store(secretive, mode, fails):
    """Records are shared, copied and kept for years; a password in one is a password lost."""
    secretive.environment["FAIL"] = fails
    done = secretive.run("-C", mode, "with", f"api_key={IN_ARGUMENTS}", code=1 if fails else 0)
    assert IN_CONFIG in done.stdout, "the terminal is the user's own"
    for secret in SECRETS:
        assert files_with(secret, *places(secretive)) == []

    config = secretive.json(name="config.json")
    assert config["db"] == {
        "user": "bob", "password": "***masked:password***", "url": "postgres://bob:***masked:url-password***@h/db",
    }  # fmt: skip
    assert config["api_key"] == "***masked:api-key***"
    assert (config["max_tokens"], config["pad_token"], config["author"]) == (512, "[PAD]", "somebody")
    assert config["store"] == "postgres://bob:***masked:url-password***@db.example:5432/runs?sslmode=require"
    run = secretive.json()
    assert run["meta"]["config_updates"] == {"api_key": "***masked:api-key***"}
    assert run["host"]["ENV"]["HF_TOKEN"].startswith("***masked:")
    if fails:
        assert "***masked:password***" in "".join(run["fail_trace"])
    else:
        assert run["result"]["n"] == 3 and run["result"]["token"] == "***masked:token***"

    output = secretive.text()
    assert len(re.findall(r"<\*\*\*masked:[a-z-]+\*\*\*>", output)) == 12
    assert ("by the shell: ***masked:token***" in output) == (mode == "fd")
    masked = secretive.json(name="capture.json")["facts"]["secrets"]["masked"]
    listed = {entry["path"] for entry in masked}
    assert {"config.db.password", "config.db.url", "config.store", "meta_info.config_updates.api_key", "output"} <= listed
    assert {"host_info.ENV.HF_TOKEN", "info.seen.client.api_key", "facts.params.session.auth_token", "notes"} <= listed


def test_a_run_that_is_killed_leaves_no_secret_behind(secretive):
    """What waits in the journal lies on the disk like everything else."""
    code = SCRIPT.replace("    time.sleep(0.3)\n", "    time.sleep(0.7)\n    os.kill(os.getpid(), 9)\n")
    secretive.write(code)
    secretive.run("with", f"api_key={IN_ARGUMENTS}", code=-9)
    assert (secretive.path / "runs" / "1" / "config.json").exists()
    for secret in SECRETS:
        assert files_with(secret, *places(secretive)) == []


def test_a_queued_run_has_no_secrets_and_says_which_to_give_again(secretive):
    """Its record is a description for somebody else, perhaps on another machine."""
    done = secretive.run("--queue", "with", f"api_key={IN_ARGUMENTS}")
    assert "to be given again when it is run: db.password, db.url, api_key, store" in done.stderr + done.stdout
    assert secretive.json()["status"] == "QUEUED"
    for secret in SECRETS:
        assert files_with(secret, *places(secretive)) == []
    taken = secretive.run("with", "runs/1/config.json", f"db.password={IN_CONFIG}", "db.url=x", "store=y", code=1)
    assert "masked entries:     api_key" in taken.stderr


def test_what_is_allowed_is_recorded(secretive):
    """A mask that nobody can lift would make people switch all of it off."""
    secretive.environment["CAPTURE_SECRETS__ALLOWED"] = "db.password,api_key"
    secretive.run("with", f"api_key={IN_ARGUMENTS}")
    config = secretive.json(name="config.json")
    assert config["db"]["password"] == IN_CONFIG
    assert config["api_key"] == IN_ARGUMENTS
    assert config["store"] == "postgres://bob:***masked:url-password***@db.example:5432/runs?sslmode=require"
    assert files_with(IN_ENVIRONMENT, *places(secretive)) == []


def test_masking_can_be_switched_off(secretive):
    """Whoever keeps records in a vault may want all of it."""
    secretive.environment["CAPTURE_SECRETS__ENABLED"] = "no"
    secretive.run("with", f"api_key={IN_ARGUMENTS}")
    assert secretive.json(name="config.json")["api_key"] == IN_ARGUMENTS
    assert "secrets" not in secretive.json(name="capture.json").get("facts", {})


def test_a_masked_configuration_is_refused_and_says_which_values_to_give(secretive):
    """A run that took a mask for the password would do anything but what the record says."""
    secretive.run("with", f"api_key={IN_ARGUMENTS}")
    stored = "runs/1/config.json"
    done = secretive.run("with", stored, code=1)
    assert "MaskedConfigError" in done.stderr
    for path in ("api_key", "db.password", "db.url", "store"):
        assert f"{path}=VALUE" in done.stderr
    assert not (secretive.path / "runs" / "2").exists()
    shown = secretive.run("print_config", "with", stored)
    assert "***masked:password***" in shown.stdout
    queued = secretive.run("--queue", "with", stored, code=1)
    assert "MaskedConfigError" in queued.stderr
    given = ["api_key=x", "db.password=y", "db.url=z", "store=w"]
    secretive.run("with", stored, *given)
    assert (secretive.path / "runs" / "2").exists()
