"""Replays the flights of 2013 through a real gateway, trains two versions and lets an experiment decide."""
