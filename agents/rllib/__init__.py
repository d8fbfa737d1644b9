"""PPO through RLlib: markets, nets and files as in `agents.ppo`, and processes or machines to share the work."""
