"""Types, graph, verifier, printer, primitive records, pytrees, source locations, errors."""
