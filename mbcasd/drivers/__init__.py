"""Live, replay and simulation: three clocks for one engine."""
