"""What the system says of changes in a folder, so that nobody has to wait for the next look."""

import threading
from pathlib import Path

from cmad.serve.extras import need


class Events:
    """Sets an event where something changes in a folder or below.

    It only makes looking at the folder come sooner. Network drives tell nothing of what other
    machines do, so the folder is looked at without it, too.
    """

    def __init__(self, folder: Path, wake: threading.Event) -> None:
        """Begin with the folder that is there.

        Args:
            folder: to be told of.
            wake: is set.

        Raises:
            RuntimeError: watchdog, of the extra ``line``, is not installed; or the system has no
                room for more watches.

        """
        observers = need("watchdog.observers", "watchdog", "line", "being told of new files")
        handlers = need("watchdog.events", "watchdog", "line", "being told of new files")

        class Wakes(handlers.FileSystemEventHandler):  # type: ignore[misc, name-defined]
            def on_any_event(self, event: object) -> None:
                # That a file was read is no news, and reading is what follows.
                if getattr(event, "event_type", "") not in ("opened", "closed_no_write"):
                    wake.set()

        self._observer = observers.Observer()
        try:
            self._observer.schedule(Wakes(), str(folder), recursive=True)
            self._observer.start()
        except OSError as error:
            raise RuntimeError(f"the system does not tell of new files ({error})") from error

    def stop(self) -> None:
        """Be told no more."""
        self._observer.stop()
        self._observer.join(5)
