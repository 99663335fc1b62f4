"""Facts about the functions of one binary: which a pattern means, what they take and give, where that stands."""
