"""Probes of a script, kind by kind → routines at the sites of one program."""
