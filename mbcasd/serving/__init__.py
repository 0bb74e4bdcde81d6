"""HTTP on TCP and on a Unix socket."""
