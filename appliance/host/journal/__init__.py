"""The system log: systemd's journal through journalctl(1), or syslog's files where there is no journal."""
