"""Files in and out: the store, vendor readers, streaming ingest, export.

Import from the modules themselves: this package stays empty, because the child process that reads a
vendor file imports it and must stay small.
"""
