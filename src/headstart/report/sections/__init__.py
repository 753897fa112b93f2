"""Sections of the report: each module turns a run folder into the plain values that its template shows."""
