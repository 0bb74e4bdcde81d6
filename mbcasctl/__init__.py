"""The command: installs, shows, explains, proves, replays and load-tests MBCAS."""
