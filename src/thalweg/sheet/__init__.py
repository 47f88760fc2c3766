"""What is put on paper: worked passes and checked solutions."""

__all__: list[str] = []
