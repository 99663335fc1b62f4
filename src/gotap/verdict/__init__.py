"""From facts, process and host to a verdict: which mechanisms work on a target, which do not, why, what to change."""
