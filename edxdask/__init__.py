"""edxdask: STEM-EDX spectrum images larger than memory, at the cost of their photons."""
