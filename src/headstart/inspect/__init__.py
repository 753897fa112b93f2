"""What a finished model does with its inputs."""
