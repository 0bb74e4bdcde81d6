"""Socket, URL or record to one snapshot."""
