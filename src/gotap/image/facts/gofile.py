"""What the rules about a Go program look at: the file, its build info, and what its function table says."""

from __future__ import annotations

from msgspec import Struct

from gotap.image.containers.container import Container
from gotap.image.facts.buildinfo import BuildInfo
from gotap.image.functions.names import Names


class GoFile(Struct, frozen=True, kw_only=True):
    """A Go program of the compiler gc.

    `names` is empty when there is no function table or its names are scrambled, which `why_no_names` then says.
    `entry_name`: the Go function that begins at the entry point. `source`: (function, its source file) for
    runtime.main, or for another where there is none. `vendored_source`: a source file in a vendor directory; looked
    for only when there is no build info.
    """

    container: Container
    info: BuildInfo | None = None
    names: Names = Names()
    why_no_names: str = ""
    entry_name: str | None = None
    source: tuple[str, str] | None = None
    vendored_source: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        return self.info.settings if self.info is not None else {}
