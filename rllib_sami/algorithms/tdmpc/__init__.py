"""TD-MPC: planning with a model of latent states, and values beyond the plan."""
