"""What Sacred's modules have and no other module of this library has: one module for each of Sacred's."""
