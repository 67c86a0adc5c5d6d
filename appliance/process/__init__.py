"""Child processes: run to their end, streamed with back-pressure, or supervised as durable jobs."""
