"""One end of a soak on shared memory: `noise serve|connect ADDRESS BYTES` or `echo serve|connect ADDRESS`.

noise: bytes go both ways at once, and each end prints the SHA-256 of what it sent and of what it received.
echo: the server gives everything back, to as many clients as come; a client says `recovered` when its first block has come back
unharmed, and goes on until somebody kills it.
"""

import hashlib
import os
import socket
import struct
import sys
import threading

PORT = 5000
PIECE = 1 << 18
BLOCK = 1 << 16


def listen(address):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, PORT))
    listener.listen(16)
    return listener


def connect(address):
    while True:
        try:
            # The other end may not be there yet: a lost first segment would cost a second.
            connection = socket.create_connection((address, PORT), timeout=0.25)
            connection.settimeout(None)
            return connection
        except OSError:
            pass


def send(connection, count):
    noise, sha, number = bytearray(os.urandom(PIECE * 16)), hashlib.sha256(), 0
    while count:
        start = number % 16 * PIECE
        piece = memoryview(noise)[start : start + min(count, PIECE)]
        if len(piece) >= 8:
            # No piece is like another, so that none can stand for another.
            struct.pack_into("<Q", piece, 0, number)
        sha.update(piece)
        connection.sendall(piece)
        count -= len(piece)
        number += 1
    connection.shutdown(socket.SHUT_WR)
    print("sent", sha.hexdigest(), flush=True)


def receive(connection):
    sha, count, room = hashlib.sha256(), 0, bytearray(PIECE)
    while got := connection.recv_into(room):
        sha.update(memoryview(room)[:got])
        count += got
    print("received", sha.hexdigest(), count, flush=True)


def noise(connection, count):
    sender = threading.Thread(target=send, args=(connection, count))
    sender.start()
    receive(connection)
    sender.join()


def give_back(connection):
    try:
        while block := connection.recv(BLOCK):
            connection.sendall(block)
    except OSError:
        # The client was killed.
        pass
    connection.close()


def serve_echo(address):
    listener = listen(address)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=give_back, args=(connection,), daemon=True).start()


def ask_for_echo(address):
    connection, said = connect(address), False
    while True:
        block = os.urandom(BLOCK)
        connection.sendall(block)
        back = bytearray()
        while len(back) < BLOCK:
            got = connection.recv(BLOCK - len(back))
            if not got:
                sys.exit("the connection has ended")
            back += got
        if back != block:
            sys.exit("a block came back changed")
        if not said:
            print("recovered", flush=True)
            said = True


what, role, address = sys.argv[1:4]
if what == "noise":
    connection = listen(address).accept()[0] if role == "serve" else connect(address)
    noise(connection, int(sys.argv[4]))
elif role == "serve":
    serve_echo(address)
else:
    ask_for_echo(address)
