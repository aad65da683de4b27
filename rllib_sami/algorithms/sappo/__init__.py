"""SaPPO: RLlib's PPO with a context encoder and the contrastive loss."""
