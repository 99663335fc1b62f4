"""Bound probes → BPF programs. A plain tree walk over the intermediate form; no register allocator.

R6 holds the context (struct pt_regs), R7 the open operation's row, R8 and R9 are scratch that survives calls. Values
that outgrow the 512-byte stack live in the row: it belongs to one operation only, while a per-CPU buffer could be
overwritten when another task preempts this one on the same CPU (uprobe programs run preemptible).
"""
