"""Facts of one process with their evidence, one line per key; for what could not be read, the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gotap.process.errors import ProcessError, ProcessGone, not_permitted

T = TypeVar("T")


class Evidence(dict[str, str]):
    """Key → line."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def attempt(self, key: str, look: Callable[[], T]) -> T | None:
        """What `look` gives; None, with the reason as evidence, when the kernel refuses. Raises ProcessGone."""
        try:
            return look()
        except ProcessGone:
            raise
        except ProcessError as error:
            self[key] = str(error)
        except PermissionError as error:
            self[key] = str(not_permitted(self._pid, self._short(error, key)))
        except OSError as error:
            self[key] = f"{self._short(error, key)}: {error.strerror}"
        return None

    def told(self, key: str, answer: tuple[T, str] | None) -> T | None:
        """Takes the evidence off an answer."""
        if answer is None:
            return None
        value, self[key] = answer
        return value

    def _short(self, error: OSError, key: str) -> str:
        return str(error.filename or key).removeprefix(f"/proc/{self._pid}/")
