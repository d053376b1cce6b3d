//! Sign-ins by device code (RFC 8628), polled by one replica at a time.
