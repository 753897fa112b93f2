"""report.json, schema 1, as the renderer reads it: anything may be absent, nothing may be of another kind.

The description for people is docs/run-folder.md. Unknown keys are ignored, so that a later writer of the same
schema may add some; a missing, null or not-a-number value takes the default here.
"""
