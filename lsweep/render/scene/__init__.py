"""Off-screen rendering of lit 3D scenes with PyVista: pictures and movies of planes."""
