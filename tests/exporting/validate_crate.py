"""Judges an RO-Crate by roc-validator, in an environment that has it, without a network.

``validate_crate.py PATH SEVERITY`` prints what was found as JSON; ``validate_crate.py --words WORD...`` prints the words
that no context defines. Of the two JSON-LD contexts the validator gets that of RO-Crate 1.3 which ro-crate-py brings
along, instead of 1.1, and of the other the terms that are used here.
"""

from __future__ import annotations

import json
import os
import sys


def contexts() -> dict:
    """Return a context by the beginning of its address."""
    import rocrate

    with open(os.path.join(os.path.dirname(rocrate.__file__), "data", "ro-crate.jsonld"), encoding="utf-8") as stream:
        crate = json.load(stream)
    words = ("sha256", "environment", "containerImage")
    run = {"@context": {word: f"https://w3id.org/ro/terms/workflow-run#{word}" for word in words}}
    return {"https://w3id.org/ro/crate/": crate, "https://w3id.org/ro/terms/workflow-run/context": run}


class Answer:
    """As much of a response as the validator asks for."""

    status_code, ok, from_cache = 200, True, True
    headers = {"Content-Type": "application/ld+json"}

    def __init__(self, data) -> None:
        self.text = json.dumps(data)
        self.content = self.text.encode()

    def json(self):
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        """It was well."""


def validate(path: str, severity: str) -> dict:
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    known = contexts()

    def get(self, url, *args, **named):
        for beginning, data in known.items():
            if url.startswith(beginning):
                return Answer(data)
        raise RuntimeError(f"there is no network here: {url}")

    HttpRequester.get = HttpRequester.head = get
    settings = services.ValidationSettings(
        rocrate_uri=path,
        profile_identifier="process-run-crate-0.5",
        requirement_severity=getattr(models.Severity, severity),
        abort_on_first=False,
        offline=True,
    )
    result = services.validate(settings)
    issues = [{"check": each.check.identifier, "message": str(each.message)} for each in result.get_issues()]
    return {"passed": result.passed(), "issues": issues}


def undefined(words: list[str]) -> list[str]:
    known = {word for each in contexts().values() for word in each["@context"]}
    return [word for word in words if word not in known]


if __name__ == "__main__":
    if sys.argv[1] == "--words":
        print(json.dumps(undefined(sys.argv[2:])))
    else:
        print(json.dumps(validate(*sys.argv[1:3])))
