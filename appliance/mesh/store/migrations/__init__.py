"""
Alembic's environment. It runs in a child process, see `appliance.database.upgrade`.

A new revision is a file `versions/NNNN_name.py` with `revision`, `down_revision` and `upgrade()`. It
describes its own steps and never imports `schema`, which goes on changing. Tables lose their triggers in a
batch alter and need them created again. There is no downgrade: the way back is the backup of the file.
"""
