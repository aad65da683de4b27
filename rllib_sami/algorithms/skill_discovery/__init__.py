"""Skill discovery: policies π(a | o, z) whose latent z, the skill, makes a body do many different things."""
