"""One connection to one server, by protocol.

base.py        what a connection can do, and how one is made
websocket.py   openpi, starVLA
vla_eval.py    vla-eval
frames.py      a websocket's bytes, for either end
direct.py      its client's end
tls.py         whom a connection trusts
zmq.py         GR00T
http.py        X-VLA, OpenVLA
"""
