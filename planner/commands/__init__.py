"""The commands of `planner`, each in a module of its name."""
