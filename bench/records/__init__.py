"""What a run leaves behind: the journal, the result set, its statistics and its tables."""
