"""Tests of the RLlib adapters."""
