"""What a run would cost: pure arithmetic on its config, its model's shape and measured rates."""
