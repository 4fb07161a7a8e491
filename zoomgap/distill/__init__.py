"""Distillation: from what an agent looked at to a student that needs one glance."""
