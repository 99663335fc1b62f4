"""What reading an executable's bytes may raise: one root for the room, whatever the bytes."""

from __future__ import annotations

from gotap.errors import GotapError


class ImageError(GotapError):
    """The file does not give what was asked for. Every error that the bytes of a file can cause derives from it."""


class UnreadableFile(ImageError):
    """The file could not be opened or mapped, or is no regular file."""


class NotExecutable(ImageError):
    """The file is no executable of a format that is read. `kind` says what it is instead, in a word or two.

    `interpreter` is the program that runs it, for a script; else empty.
    """

    def __init__(self, message: str, remedy: str = "", kind: str = "", interpreter: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind
        self.interpreter = interpreter


class TruncatedFile(ImageError):
    """The file is shorter than its own headers say."""


class ChangedFile(ImageError):
    """The file was cut or written to while it was read, or its disk failed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} changed while it was read, or can no longer be read", "try again when it is complete")


class MalformedFile(ImageError):
    """The headers contradict themselves, or use a form that is not supported."""


class NoCode(ImageError):
    """A function without a single instruction: the table of functions is damaged, or it names a mark, no function."""

    def __init__(self, address: int) -> None:
        super().__init__(f"the function at {address:#x} has no code", "build the program again")


class BadAddress(ImageError):
    """The address lies in no loadable segment."""
