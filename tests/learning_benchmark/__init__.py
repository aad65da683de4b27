"""Tests of the learning benchmark."""
