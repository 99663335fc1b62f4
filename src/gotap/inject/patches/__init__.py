"""Jumps in the text of a process: written, noted in a journal, taken back; also those that an earlier gotap left."""
