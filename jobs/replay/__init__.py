"""The simulated retrieval funnel that replay_events puts in front of a real event log."""
