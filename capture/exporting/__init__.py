"""Runs written in the form of others: a plain folder, an RO-Crate, another tracker's store."""
