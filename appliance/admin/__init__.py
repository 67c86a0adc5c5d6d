"""The admin surface: updates, settings, certificates, storage, backups."""
