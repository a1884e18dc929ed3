"""A process that is started early and asked later: does it print anything, and how does it end?"""

from __future__ import annotations

import os
import sys

if sys.platform != "win32":

    class Child:
        """A process of which is wanted whether it prints anything, and how it ends.

        `subprocess` would do, but takes longer to import than git to answer.

        Attributes
        ----------
        answered : bool
            Whether it has printed anything.
        complaint : str
            What it has said on its error stream.
        """

        def __init__(self, command: list[str], environment: dict[str, str]) -> None:
            self.answered, self.complaint = False, ""
            self._pipes: list[int] = []
            output, output_end = self._pipe()
            errors, errors_end = self._pipe()
            try:
                self._pid = os.posix_spawnp(
                    command[0],
                    command,
                    environment,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_DUP2, output_end, 1),
                        (os.POSIX_SPAWN_DUP2, errors_end, 2),
                    ],
                    setpgroup=0,  # Ctrl-C is for the script
                )
            except BaseException:
                self._close()
                raise
            finally:
                os.close(output_end)
                os.close(errors_end)
            self._output, self._errors = output, errors

        def _pipe(self) -> tuple[int, int]:
            # Above the standard streams, whose numbers are free where a daemon has closed them.
            ends = [_above_standard_streams(end) for end in os.pipe()]
            os.set_blocking(ends[0], False)
            self._pipes.append(ends[0])
            return ends[0], ends[1]

        def poll(self) -> int | None:
            """Return the exit code, or None while it runs. Not to be called again after a code."""
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                code = os.waitstatus_to_exitcode(status) if pid else None
            except ChildProcessError:  # SIGCHLD is ignored, or someone waits for every child
                code = -1
            # Also while it runs: a long answer would fill the pipe and stop it.
            while _read_available(self._output):
                self.answered = True
            if code is not None:
                self.complaint = _read_available(self._errors).decode("utf-8", "replace").strip()
                if code == -1 and not self.complaint:
                    self.complaint = "another part of this process took its exit code"
                self._close()
            return code

        def kill(self) -> None:
            """End it; nothing else may be called afterwards."""
            self._close()
            os.killpg(self._pid, 9)  # with what it started for submodules
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:
                pass

        def _close(self) -> None:
            for end in self._pipes:
                os.close(end)
            self._pipes.clear()

    def _above_standard_streams(descriptor: int) -> int:
        if descriptor > 2:
            return descriptor
        import fcntl

        try:
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        finally:
            os.close(descriptor)

    def _read_available(descriptor: int) -> bytes:
        try:
            return os.read(descriptor, 65536)
        except BlockingIOError:  # nothing more for now
            return b""

else:
    import subprocess
    import threading

    class Child:
        """The same as elsewhere, where processes are started otherwise."""

        def __init__(self, command: list[str], environment: dict[str, str]) -> None:
            self.answered, self.complaint = False, ""
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            # Pipes cannot be asked here whether they hold anything; a thread waits for both.
            self._reader = threading.Thread(target=self._read, name="capture-probe-process", daemon=True)
            self._reader.start()

        def _read(self) -> None:
            output, errors = self._process.communicate()
            self.answered, self.complaint = bool(output), errors.decode("utf-8", "replace").strip()

        def poll(self) -> int | None:
            return None if self._reader.is_alive() else self._process.returncode

        def kill(self) -> None:
            self._process.kill()
