"""The probe language: expressions, catalogue, types, binding. Knows no kernel."""
