"""Lineage: which files a run read and wrote, without being told.

An audit hook (`hook`) sees what Python opens, `children` what Python children open, `adapters` what libraries open past
Python, `watch` what anybody opens in watched folders, `urls` what is fetched. `classify` makes inputs and outputs of
what was seen, `digesting` and `manifests` say what was in them, `coverage` what could not be seen; `lineage` is the
front of it all. Nothing is imported here: a run pays for a part when it uses it.
"""
