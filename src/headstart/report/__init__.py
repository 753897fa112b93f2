"""Reading run folders and writing what a person sees: one HTML file that opens offline."""
