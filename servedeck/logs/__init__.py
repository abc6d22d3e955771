"""Container logs: merged and resumed streams; buffer, search, filter, histogram, levels."""
