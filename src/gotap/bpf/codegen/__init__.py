"""Bound probes → BPF programs. A plain tree walk over the intermediate form; no register allocator.

R6 holds the context (struct pt_regs), R7 the open operation's row or a script's frame, R8 and R9 are scratch that
survives calls. Values that outgrow the 512-byte stack live behind R7: a row belongs to one operation only, a frame to
one run of a program, while a per-CPU buffer could be overwritten when another task preempts this one on the same CPU
(uprobe programs run preemptible).

The catalogue's actions: `program`, `rows`, `captures`, `tracing`, `spill`, `frame`. Scripts: `script`, `statements`,
`events`, `call_chains`, `calls`, `unwinding`, `script_program`, `routine_program`, `script_frame`, `setting`. Both:
`words`, `planner`, `gomaps`, `memory`, `wake`.
"""
