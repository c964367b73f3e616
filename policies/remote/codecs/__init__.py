"""The bytes of other people's protocols, both directions, without their packages.

bounds.py     what is refused before anything is built of a message
openpi.py     msgpack maps of one observation or one answer (openpi, starVLA)
vla_eval.py   msgpack envelopes: type, payload, seq, timestamp
groot.py      msgpack with arrays as .npy files, over ZMQ
rest.py       JSON with base64 arrays (json-numpy), over HTTP

A decoder takes whatever comes: it raises :class:`vla_bench.policies.remote.errors.MessageFault` with one sentence, or
returns plain Python values and arrays of numbers and text. Nothing is ever unpickled.
"""
