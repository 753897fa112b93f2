"""The command `headstart`: one thin file per command. Nothing heavy is imported until a verb runs."""
