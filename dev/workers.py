"""Worker processes of a long command: they end with it, however it ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.pool import Pool

from toolkit.ending import held_signals, leave_signals_to_the_parent


@contextmanager
def workers(processes: int, tasks_per_process: int) -> Iterator[Pool]:
    """A pool of spawned processes, each of which takes so many chunks of tasks and is then replaced."""
    with ExitStack() as stack:
        # A process that is being started must get all that its parent sends to it.
        with held_signals():
            pool = get_context("spawn").Pool(processes, leave_signals_to_the_parent, maxtasksperchild=tasks_per_process)
            stack.enter_context(pool)
        yield pool
