"""Stored episodes and samplers that draw batches from them."""
