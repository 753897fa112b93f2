"""How good an attempt is without the target's labels: every validator, and the labels that were given on purpose."""
