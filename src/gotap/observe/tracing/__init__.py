"""Scripts at work: what a bound script needs of the kernel, from its maps and programs to the events that come out."""
