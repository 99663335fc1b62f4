"""What a person is told at the end of watching."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class Summary(Struct, frozen=True):
    """Counts of a whole session over all its targets.

    `drops`: spans that did not arrive, by cause. `attached` and `run_time` are seconds; `run_time` is what `runs` runs
    of BPF programs took, 0 where the kernel does not measure it. The operations in flight at either end gave no span.
    `left_out`: texts that spans lack although the program had them, by cause.
    """

    spans: int
    errors: int
    attached: float
    drops: Mapping[str, int] = field(default_factory=dict)
    in_flight_at_attach: int = 0
    in_flight_at_detach: int = 0
    hits: int = 0
    run_time: float = 0.0
    runs: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For stderr, without gotap's name before them."""
        dropped = sum(self.drops.values())
        causes = _causes(self.drops)
        counts = [counted(self.spans, "span"), counted(self.errors, "error") + self._error_share()]
        counts.append(f"{dropped:,} dropped" + (f" ({causes})" if causes else ""))
        lines = [f"{', '.join(counts)}; attached for {seconds(self.attached)}"]
        if self.in_flight_at_attach or self.in_flight_at_detach:
            lines.append(
                f"without a span: {self.in_flight_at_attach:,} in flight at the attach, "
                f"{self.in_flight_at_detach:,} at the detach"
            )
        if any(self.left_out.values()):
            lines.append(f"texts left out of spans: {_causes(self.left_out)}")
        if self.hits:
            lines.append(", ".join([counted(self.hits, "probe hit"), *self._costs()]))
        return lines

    def _error_share(self) -> str:
        return f" ({100 * self.errors / self.spans:.1f} %)" if self.errors and self.spans else ""

    def _costs(self) -> list[str]:
        costs = []
        if self.spans:
            costs.append(f"{self.hits / self.spans:.1f} a span")
        if self.run_time and self.runs:
            costs.append(f"{1e6 * self.run_time / self.runs:.2f} µs each in BPF, besides the kernel's own trap")
        return costs


def _causes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in counts.items() if count)


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def seconds(count: float) -> str:
    """`4.2 s`, then minutes and hours as on a clock: `3:07`, `26:03:07`."""
    if count < 60:
        return f"{count:.1f} s"
    minutes, rest = divmod(int(count), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
