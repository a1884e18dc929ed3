"""A process that is started early and asked later: does it print anything, what, and how does it end?"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A process that ends is seen by its output's end, at once; by these, where something else holds its output open.
_LONGEST_WAIT_S, _ENDING_S = 0.02, 0.0002
_KILL_WAIT_S = 0.5  #: how long the end of a process is waited for that was killed: on a dead mount it comes never
_LONGEST_COMPLAINT = 65_536  #: bytes; the rest is read and thrown away

if sys.platform != "win32":

    class Child:
        """A process of which is wanted whether it prints anything, or what, and how it ends.

        `subprocess` would do, but takes longer to import than git to answer.

        Parameters
        ----------
        command : list of str
            The program, looked up on the PATH of this process, and its arguments.
        environment : dict
        keep : int
            How many bytes of what it prints are kept; 0 for none.

        Attributes
        ----------
        answered : bool
            Whether it has printed anything.
        output : bytes
            What it has printed, if that is to be kept; complete when there is an exit code and it is not `too_long`.
        too_long : bool
            Whether it has printed more than is kept.
        complaint : str
            What it has said on its error stream.
        """

        def __init__(self, command: list[str], environment: dict[str, str], keep: int = 0) -> None:
            self.answered, self.complaint = False, ""
            self._keep, self._kept_bytes, self.too_long = keep, 0, False
            self._kept: list[bytes] = []
            self._complaint = b""
            self._pipes: list[int] = []
            self._poller: Any = None
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
            # Also while it runs: a long answer, or many complaints, would fill the pipe and stop it.
            while data := _read_available(self._output):
                self.answered = True
                if self._keep and not self.too_long:
                    self._kept.append(data)
                    self._kept_bytes += len(data)
                    self.too_long = self._kept_bytes > self._keep
            while data := _read_available(self._errors):
                self._complaint = (self._complaint + data)[:_LONGEST_COMPLAINT]
            if code is not None:
                self.complaint = self._complaint.decode("utf-8", "replace").strip()
                if code == -1 and not self.complaint:
                    self.complaint = "another part of this process took its exit code"
                self._close()
            return code

        @property
        def output(self) -> bytes:
            return b"".join(self._kept)

        def wait(self, seconds: float) -> None:
            """Wait until it prints something or ends, or `seconds` have passed, or less; then ask `poll`."""
            if self._poller is None:
                import select

                self._poller = select.poll()
                self._poller.register(self._output, select.POLLIN)
            ready = self._poller.poll(min(seconds, _LONGEST_WAIT_S) * 1000)
            if ready and not ready[0][1] & 1:  # it has closed its output, and is about to end
                time.sleep(min(seconds, _ENDING_S))

        def kill(self) -> None:
            """End it; nothing else may be called afterwards."""
            self._close()
            self.signal()
            until = time.monotonic() + _KILL_WAIT_S
            try:
                while not os.waitpid(self._pid, os.WNOHANG)[0] and time.monotonic() < until:
                    time.sleep(_ENDING_S)
            except ChildProcessError:  # someone else was told that it has ended
                pass

        def signal(self) -> None:
            """Tell it to end, from any thread; `poll` in its own will see that it has."""
            try:
                os.killpg(self._pid, 9)  # with what it started for submodules
            except ProcessLookupError:
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

        def __init__(self, command: list[str], environment: dict[str, str], keep: int = 0) -> None:
            self.answered, self.complaint = False, ""
            self._keep, self.output, self.too_long = keep, b"", False
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
            self.too_long = bool(self._keep) and len(output) > self._keep
            self.output = output if self._keep and not self.too_long else b""

        def wait(self, seconds: float) -> None:
            self._reader.join(seconds)

        def poll(self) -> int | None:
            return None if self._reader.is_alive() else self._process.returncode

        def kill(self) -> None:
            self._process.kill()

        signal = kill
