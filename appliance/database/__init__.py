"""
The database of the appliance: one SQLite file, owned by one thread.

`thread.Database` runs functions and commits them in groups, `schema` holds the tables, `migrate` brings an
older file up to date, `audit.AuditLog` and `nonces.Nonces` stand on these. Errors are those of `errors`.
"""
