"""Found by fuzzing: files of a few kilobytes that HDF5 1.10.8 does not survive. Both are one byte off a valid one.

The valid one holds nothing but the attribute `format = "lsweep"`, a text of variable length, which HDF5 keeps in a
"global heap": at byte 2072 the text's size, at byte 2096 the size of what is left free behind it.
"""

from __future__ import annotations

import base64
import zlib

# The text claims 2^47 more bytes than it has: HDF5 copies them, SIGSEGV.
CRASHES = zlib.decompress(
    base64.b85decode(
        "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvf7$ng6P>=wn8KHCslwQFE6K4j?LA3)-hnTOxjH*8*$ki3ud~|z8!N>+4u8sj9Is(e)fYK+J"
        "P}RZGVE~ov6@;c&^mNU`-~hFcok0ZXnza0)+{6+F21!OnunqyZTR2eM#fIc~#?fdU1*2dT3?OiK_V;0AfEHNj<x~R$Lr!sdYH9&O"
        "{SE%nFdGG<U=)mkQ7{Td!6+C7qhJ(_f>AIEh8h3>kZCca"
    )
)
# Of free space a smaller piece is left than its own header: HDF5 steps through it for ever.
HANGS = zlib.decompress(
    base64.b85decode(
        "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvf7$ng6P>=wn8KHCslwQFE6K4j?LA3)-hnTOxjH*8*$ki3ud~|z8!N>+4u8sj9Is(e)fYK+J"
        "P}RZGVE~ov6@;c&^mNU`-~hFcok0ZXnza0)+{6+F21!OnunqyZTR2eM#fIc~#?fdU1*2dT3?OiK_V;0AfEHNj<rEO)6ql!_79iB$"
        "U>OawQ7{Td!6+C7qhJ(_f>AIEM!_f;1*2f70RZrQF&F"
    )
)
