"""From a clearing to a plan of resizes that is safe at every instant."""
