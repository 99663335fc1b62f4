"""Trees of calls as text, after go-ftrace: each call indented within its caller, its duration where it ends.

    15:04:05.123456 g7    main.checkSite(url="http://…") {
    15:04:05.123470 g7      main.fetch(n=3) = nil  310µs
    15:04:05.123790 g7    } = "ok"  340µs

A line's time is that of what it shows: of a beginning, or of an end.
"""

from __future__ import annotations

from gotap.signals.call_trees import CallNode, preorder
from gotap.sinks.trace_lines import TraceLines

#: Characters of an argument in a tree.
SHORTER = 80


class TraceGraph(TraceLines):
    """Renders trees as well as what TraceLines does."""

    def tree(self, tree: CallNode) -> str:
        """All lines of one tree."""
        lines: list[str] = []
        for node, depth, closes in preorder(tree):
            text, outcome = self.call(node.events, node.row)
            inner = "  " * depth
            if closes:
                lines.append(f"{self.head(node.events, node.row, node.end)}{inner}}}{outcome}\n")
            elif node.calls:
                lines.append(f"{self.head(node.events, node.row, node.begin)}{inner}{text} {{\n")
            else:
                lines.append(f"{self.head(node.events, node.row, node.begin)}{inner}{text}{outcome}\n")
        if tree.left_out:
            lines.append(f"… {tree.left_out:,} calls left out\n")
        return "".join(lines)
