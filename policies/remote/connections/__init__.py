"""One connection to one server, by protocol.

base.py        what a connection can do, and how one is made
websocket.py   openpi, starVLA
vla_eval.py    vla-eval
zmq.py         GR00T
http.py        X-VLA, OpenVLA
"""
