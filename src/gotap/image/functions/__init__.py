"""The runtime's function table: names, lines, stack depths, inlined calls, and the moduledata that leads to it."""
