"""The machine inside the target: shared memory, and helpers in machine code that BPF programs call when they run there.

`layout` says what lies where; `region` is gotap's mapping of it and hands out memory; `maps` (with `map_memory`) and
`ring` (with `ring_part` and `sleeper`) are Python's views, with the interfaces of gotap.bpf.machine; `slots` and
`clock` are what gotap does meanwhile. `helpers` assembles the routines that programs call, which are, by subject, in
`hashes` (with `buckets` and `pool`), `arrays`, `records`, `reading` and `timing`, all by the rules of `routines`;
`inlines` is what programs do without a call; `host` runs the same routines in gotap's own process.
"""
