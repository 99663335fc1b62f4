"""Aspects: from YAML files in Orchestrion's vocabulary to the structures that the Go helper is asked with."""
