"""Bytes of an executable → facts. Pure: no process, no kernel."""
