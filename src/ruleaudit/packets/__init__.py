"""Packet-set algebra: exact sets of bit vectors. Knows nothing of firewalls."""
