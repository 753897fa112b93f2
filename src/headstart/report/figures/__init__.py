"""Figures of the report, one module per theme; each function takes plain data and gives inline SVG."""
