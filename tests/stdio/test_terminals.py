"""Capture while stdout is a terminal: what the user sees and can do there must be what it was."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time

import pytest

pytest.importorskip("pty", reason="pseudo-terminals are POSIX only")


class Terminal:
    """A program in a terminal of 100 columns and 30 lines: type to it, read what it shows."""

    def __init__(self, program, code, mode="fd", end=True):
        import fcntl
        import struct
        import termios

        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = program.start(
            code, mode, end, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, text, seconds=60):
        """Read what is shown up to and with `text`; return it."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"waited in vain for {text!r}, got {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        shown, rest = self.seen.split(text.encode(), 1)
        self.seen = rest
        return (shown + text.encode()).decode()

    def read_to_end(self):
        """Read the rest and wait; return what was shown and the exit code."""
        with contextlib.suppress(OSError):  # EIO: no one is left on the other side
            while chunk := os.read(self.master, 65536):
                self.seen += chunk
        return self.seen.decode(), self.process.wait(60)


def run_in_terminal(program, code, mode="fd"):
    with Terminal(program, code, mode) as terminal:
        shown, rc = terminal.read_to_end()
    assert rc == 0, shown
    return shown


@pytest.mark.parametrize("mode", ["fd", "sys", "no"])
def test_programs_still_see_their_terminal(program, mode):
    """Colours, widths and bars of tqdm, rich and every child depend on these."""
    code = """\
    print(sys.stdout.isatty(), sys.stderr.isatty(), os.isatty(1), os.isatty(2))
    print(tuple(os.get_terminal_size()))
    subprocess.run(["sh", "-c", "test -t 1 && test -t 2 && echo child too"])
    """
    assert run_in_terminal(program, code, mode) == "True True True True\r\n(100, 30)\r\nchild too\r\n"


def test_what_is_shown_is_what_was_written(program):
    """The pseudo-terminal between must not add a carriage return of its own, nor swallow one."""
    code = r"os.write(1, b'\x1b[31mred\x1b[0m\n\r10%\r20%\n\ttab\x00\xff\n')"
    with Terminal(program, code) as terminal:
        with contextlib.suppress(OSError):
            while chunk := os.read(terminal.master, 65536):
                terminal.seen += chunk
        assert terminal.process.wait(60) == 0
    assert terminal.seen == b"\x1b[31mred\x1b[0m\r\n\r10%\r20%\r\n\ttab\x00\xff\r\n"
    assert program.record() == b"\x1b[31mred\x1b[0m\n20%\n\ttab\x00\\xff\n"


def test_order_between_stdout_and_stderr_is_exact(program):
    """Both lead to one terminal, so they share one way."""
    code = "for i in range(300):\n    os.write(1 + i % 2, b'%d\\n' % i)"
    shown = run_in_terminal(program, code)
    assert shown == "".join(f"{i}\r\n" for i in range(300))
    assert program.record() == b"".join(b"%d\n" % i for i in range(300))


@pytest.mark.parametrize("readline", ["", "import readline\n"])
@pytest.mark.parametrize("mode", ["fd", "sys"])
def test_input_shows_its_prompt_before_it_reads(program, mode, readline):
    """A program that asks must be seen asking."""
    with Terminal(program, readline + "name = input('name? ')\nprint('hello', name)", mode) as terminal:
        terminal.read_until("name? ")
        terminal.type("Ada\n")
        terminal.read_until("hello Ada")
        assert terminal.read_to_end()[1] == 0
    assert program.record().endswith(b"hello Ada\n")


@pytest.mark.parametrize("mode", ["fd", "sys"])
def test_breakpoints_can_be_talked_to(program, mode):
    """Debugging a run is done with the run being recorded."""
    with Terminal(program, "x = 41\nbreakpoint()\nprint('x is', x)", mode) as terminal:
        terminal.read_until("(Pdb) ")
        terminal.type("p x + 1\n")
        terminal.read_until("42")
        terminal.read_until("(Pdb) ")
        terminal.type("x = 7\n")
        terminal.read_until("(Pdb) ")
        terminal.type("c\n")
        terminal.read_until("x is 7")
        assert terminal.read_to_end()[1] == 0
    assert b"x is 7\n" in program.record()


def test_ctrl_c_reaches_the_program_and_its_last_words_the_terminal(program):
    """The pseudo-terminal is not the controlling one."""
    code = "try:\n    print('ready')\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('last words')"
    with Terminal(program, code) as terminal:
        terminal.read_until("ready")
        terminal.process.send_signal(2)
        shown, rc = terminal.read_to_end()
    assert "last words" in shown and rc == 0
    assert program.record() == b"ready\nlast words\n"


def test_a_resized_window_is_followed(program):
    """Bars fill the width there is."""
    import fcntl
    import struct
    import termios

    code = """\
    print("ready")
    deadline = time.monotonic() + 60
    while os.get_terminal_size().columns != 60 and time.monotonic() < deadline:
        time.sleep(0.05)
    print("columns", os.get_terminal_size().columns)
    """
    with Terminal(program, code) as terminal:
        terminal.read_until("ready")
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
        terminal.read_until("columns 60")
        assert terminal.read_to_end()[1] == 0


def test_much_output_reaches_terminal_and_record(program):
    """A terminal holds a few kilobytes only."""
    shown = run_in_terminal(program, "for i in range(20_000): print('line', i)")
    assert shown == "".join(f"line {i}\r\n" for i in range(20_000))
    assert program.record() == shown.replace("\r", "").encode()


def test_a_terminal_that_is_closed_does_not_end_the_recording(program):
    """A connection that breaks in the night."""
    code = """\
    import signal
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    print("before")
    while not os.path.exists("closed"):
        time.sleep(0.01)
    for i in range(1000):
        print("after", i)
    end()
    open("done", "w").close()
    """
    terminal = Terminal(program, code, end=False)
    terminal.read_until("before")
    os.close(terminal.master)
    (program.folder / "closed").touch()
    assert terminal.process.wait(60) in (0, 120)
    assert (program.folder / "done").exists()
    assert b"\nafter 999\n" in program.record()  # the warning comes when the first block cannot be passed on


def test_a_terminal_for_stdout_and_a_file_for_stderr(program):
    """`2>errors` must not give the file colours."""
    with open(program.folder / "errors", "wb") as errors:
        import pty

        master, slave = pty.openpty()
        process = subprocess.Popen(
            program.write("print(sys.stdout.isatty(), sys.stderr.isatty())\nprint('e', file=sys.stderr)"),
            cwd=program.folder, env=program.environment, stdout=slave, stderr=errors,
        )  # fmt: skip
        os.close(slave)
        assert process.wait(60) == 0
        assert os.read(master, 100) == b"True False\r\n"
        os.close(master)
    assert (program.folder / "errors").read_bytes() == b"e\n"
    assert sorted(program.record().splitlines()) == [b"True False", b"e"]
