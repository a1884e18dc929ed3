"""Probes: each gathers one kind of fact when asked, and says `Unavailable` of what it could not see.

One file per kind: `sources`, `packages`, `git`, `host`, `cpu`, `gpu`; `gather` runs them side by side.
"""
