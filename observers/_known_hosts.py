"""Which SSH servers are trusted: those that the user's own ssh knows."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def policy() -> Any:
    """Return a policy of paramiko's that looks into ``~/.ssh/known_hosts`` and refuses other servers.

    fsspec trusts any server by default, which lets anyone on the way read the runs.
    """
    import paramiko

    class KnownHosts(paramiko.MissingHostKeyPolicy):
        """Accepts the keys that the user's ssh has accepted."""

        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            known = paramiko.HostKeys()
            for path in ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"):
                try:
                    known.load(os.path.expanduser(path))
                except OSError:
                    continue
            if known.check(hostname, key):
                return
            from capture.errors import ObserverError

            host = hostname.strip("[]").replace("]:", " -p ")
            what = "has another key than" if known.lookup(hostname) else "is not in"
            raise ObserverError(
                f"the SSH server {hostname} {what} ~/.ssh/known_hosts, so that it could be anybody's."
                f"\n  to trust it:  connect once with:  ssh {host}",
                print_traceback=False,
            )

    return KnownHosts()
