"""Where the mesh is kept: tables, and how their values are written."""
