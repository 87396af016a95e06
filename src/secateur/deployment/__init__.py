"""From a network to a fast artifact: exporters, engines and the only timers."""
