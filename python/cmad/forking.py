"""One thread in forked processes, where torch would wait for ever for those it had before.

A fork copies the thread that calls it and no other. torch's OpenMP runtime does not notice: in the
child, its first parallel loop hands work to threads that are gone, and waits for them at 0 % CPU.
That is what happens to a web server that loads a model and then forks its workers, or to
`multiprocessing` where it forks, Linux' default up to Python 3.13. With one thread the runtime asks
nobody. `torch.set_num_threads` with more in a forked process brings the fault back: processes that
need several threads are to be spawned. Our own ops start threads for each call, and need nothing.

Importing this module, which `cmad` does, is what installs it; a torch that is imported after the
fork has no threads to wait for.
"""

import os
import sys


def _one_thread() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(
        torch, "set_num_threads"
    ):  # not where the fork came in the midst of its import
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # only where there is a fork
    os.register_at_fork(after_in_child=_one_thread)
