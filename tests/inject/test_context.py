"""Which run is the current one."""

from __future__ import annotations

import asyncio
import contextvars
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from capture import context
from capture.errors import AmbiguousRunError
from tests.inject.runs import FakeRun, live


def in_thread(function):
    """Return what a function returns, or raises, in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_without_runs_there_is_no_current_one():
    """Code outside any run must be able to ask without an error."""
    assert context.current() is None
    assert context.live_runs() == ()
    assert context.last() is None


def test_the_innermost_run_is_current_and_the_outer_one_again_after_it():
    """Nested runs must not leave the outer one without its records."""
    with live() as outer:
        with live() as inner:
            assert context.current() is inner
            assert context.live_runs() == (outer, inner)
        assert context.current() is outer
        assert context.last() is inner
    assert context.current() is None
    assert context.last() is outer


def test_a_thread_finds_the_only_live_run():
    """Threads do not inherit context variables, yet with one run there is no doubt."""
    with live() as run:
        assert in_thread(context.current) is run


def test_a_thread_that_could_belong_to_several_runs_is_told_to_bind():
    """Guessing would mix two records; the error has to name the way out and the runs."""
    with live(label="7"), live(label="8"):
        with pytest.raises(AmbiguousRunError, match=r"_run\.bind\(fn\)") as error:
            in_thread(context.current)
    assert "run 7, run 8" in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_bound_function_runs_in_its_run():
    """`bind` is the remedy that the error names."""
    with live() as first, live() as second:
        assert in_thread(context.bind(first, context.current)) is first
        assert in_thread(context.bind(second, context.current)) is second
        assert context.current() is second


def test_a_bound_function_keeps_name_arguments_and_result_and_lets_errors_pass():
    """Frameworks look at names; and after an error the context must be as before."""

    def divide(a, b=1):
        """Divide."""
        return a / b

    with live() as outer:
        bound = context.bind(FakeRun(), divide)
        assert (bound.__name__, bound.__doc__, bound(6, b=3)) == ("divide", "Divide.", 2)
        with pytest.raises(ZeroDivisionError):
            bound(1, 0)
        assert context.current() is outer


def test_a_bound_coroutine_function_is_one_and_has_its_run_after_each_await():
    """The body of a coroutine runs after the call, so setting the context around the call would not do."""

    async def task():
        seen = [context.current()]
        await asyncio.sleep(0)
        return [*seen, context.current()]

    async def both():
        return await asyncio.gather(context.bind(first, task)(), context.bind(second, task)())

    first, second = FakeRun(), FakeRun()
    assert asyncio.iscoroutinefunction(context.bind(first, task))
    assert asyncio.run(both()) == [[first, first], [second, second]]


def test_tasks_and_to_thread_inherit_the_run():
    """asyncio copies the context, so two live runs are no obstacle there."""

    async def main():
        return [await asyncio.create_task(ask()), await asyncio.to_thread(context.current)]

    async def ask():
        return context.current()

    with live(), live() as inner:
        assert asyncio.run(main()) == [inner, inner]


def test_bind_refuses_what_cannot_be_called():
    """`_run.bind(work())` is the likely slip, and would fail later in another thread."""
    with pytest.raises(TypeError, match="can be called"):
        context.bind(FakeRun(), 3)


def test_ending_a_run_twice_or_from_another_context_is_harmless():
    """In a notebook one cell starts a run and another, with a context of its own, ends it."""
    run = FakeRun()
    activation = contextvars.copy_context().run(context.activate, run)
    assert context.current() is run
    context.deactivate(activation)
    context.deactivate(activation)
    assert context.live_runs() == ()
    assert context.last() is run

    activation = context.activate(run)
    in_thread(lambda: context.deactivate(activation))
    assert context.live_runs() == ()
    context.deactivate(activation)
    assert context.CONTEXT_RUN.get() is None


def test_finished_runs_do_not_pile_up():
    """Sweeps make thousands of runs in one process, and each holds its whole configuration."""
    for _ in range(50):
        with live():
            pass
    assert len(context.finished_runs()) == 1
    for number in range(50):
        with live(owner=number):
            pass
    assert len(context.finished_runs()) == context.MAX_FINISHED


def test_many_threads_start_and_end_runs_at_once():
    """The books must balance, or a finished run would stay live for ever."""

    def work(_):
        for _ in range(20):
            with live() as run:
                assert context.current() is run

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(64)))
    assert context.live_runs() == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_owns_no_run_but_still_sees_its_parents():
    """The child needs the configuration and must not end or record what is the parent's."""

    def child():
        found = []
        worker = threading.Thread(target=lambda: found.append(context.current()))
        worker.start()
        worker.join()
        return (
            context.live_runs() == () and context.current() is run and found == [run] and context._lock.acquire(False)
        )

    with live() as run:
        context._lock.acquire()  # as if another thread were in the middle of starting a run
        try:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = 0 if child() else 1
                finally:
                    os._exit(code)
        finally:
            context._lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert context.live_runs() == (run,)
