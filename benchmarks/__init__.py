"""Measurements, as ratios against peers or limits; ``make bench`` runs them all."""
