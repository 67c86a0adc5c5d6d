"""What devices ask for: enrolment, their configuration and certificates, and that they are alive."""
