"""The machine inside the target: shared memory, and helpers in machine code that BPF programs call when they run there.

`layout` says what lies where; `region` is gotap's mapping of it and hands out memory; `maps` and `ring` are Python's
views, with the interfaces of gotap.bpf.machine; `helpers` assembles the routines that programs call (`hashes`,
`arrays`, `records`, `reading`, `timing` have them by subject); `host` runs the same routines in gotap's own
process.
"""
