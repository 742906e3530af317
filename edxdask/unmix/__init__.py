"""NMF-aided unmixing: masks of precipitates, sums over many maps, end members, compositions."""
