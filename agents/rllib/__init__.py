"""PPO through RLlib: the same markets, nets and files as `agents.ppo`, with processes and machines to share the work."""
