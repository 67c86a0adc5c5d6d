"""
The database of the appliance: one SQLite file, owned by one thread.

`thread.Database` runs functions and commits them in groups, `schema` holds the tables, `migrate` makes the file
or brings an older one up to date, `audit.AuditLog` and `nonces.Nonces` stand on these, and `core` says when
SQLAlchemy is loaded. Errors are those of `errors`.
"""
