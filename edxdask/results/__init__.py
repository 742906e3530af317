"""Collections of maps and results of factorizations: iterate, build, check, label, reconstruct, score."""
