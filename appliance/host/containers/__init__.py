"""Containers of whatever runtime there is, behind one interface (`runtime`); a folder for each way to speak to one."""
