"""Lit 3D scenes of planes with PyVista, off screen: pictures and movies."""
