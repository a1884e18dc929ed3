"""A folder for PYTHONPATH: the module ``sacred`` in it lets `capture.compat` answer for Sacred."""
