"""A simulated AWS account: moto's services, the real definition, the real functions, and a clock that tests move."""
