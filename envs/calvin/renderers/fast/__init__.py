"""A software renderer that shows what PyBullet's OpenGL renderer shows, in a few milliseconds.

Read it in the order in which a frame is made:

- :mod:`.library` reads meshes (:mod:`.meshes`, :mod:`.hull`), simplifies them once (:mod:`.simplify`) and
  reads images (:mod:`.textures`);
- :mod:`.scene` packs a scene's visual shapes into flat arrays, :mod:`.posed` keeps them where the physics
  has them (:mod:`.kinematics`) and knows what is at rest;
- :mod:`.light` draws the shadow map, :mod:`.rasteriser` finds the triangle of each pixel (:mod:`.drawing`
  calls both for the parts of a scene), :mod:`.shading` gives it its colour;
- :mod:`.renderer` does all this for a frame and keeps what the next one can use.

Kernels are compiled by Numba (:mod:`.compiled`); importing this package alone does not import it.
"""
