"""What the adapters of frameworks share: parameters, the way to the model, and the framework as a process."""
