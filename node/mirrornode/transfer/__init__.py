"""One download from many sources: plan, score, lanes, journal, assembly."""
