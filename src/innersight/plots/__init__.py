"""Every figure of every result: one file for each analysis, one registered function for each result."""
