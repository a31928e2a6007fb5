# Frames of every shape for the guest at the other end of tap0: random bytes, and packets that are nearly right. The
# same seed makes the same frames. What a forger on the link may rightly do is left out: ARP for the host's address,
# and TCP with the next number of the connection from CLIENT to PORT.
import fcntl, random, socket, struct, sys, time

SEED, FRAMES, CLIENT, PORT = map(int, sys.argv[1:])
HOST, GUEST = socket.inet_aton("10.77.0.1"), socket.inet_aton("10.77.0.2")
ETH_P_ALL, SOL_PACKET, PACKET_VNET_HDR, SIOCGIFHWADDR = 3, 263, 15, 0x8927
NEEDS_CSUM, DATA_VALID = 1, 2
dice = random.Random(SEED)
guest_mac = bytes.fromhex("020000007702")

plain = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
plain.bind(("tap0", ETH_P_ALL))
plain.setblocking(False)
with_header = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
with_header.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
with_header.bind(("tap0", 0))
host_mac = fcntl.ioctl(plain, SIOCGIFHWADDR, struct.pack("256s", b"tap0"))[18:24]
numbers = None  # The connection's last sequence and acknowledgement number.


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(kind, payload, dst=guest_mac, src=None):
    return dst + (src or host_mac) + struct.pack("!H", kind) + payload


def ipv4(protocol, payload, src=HOST, dst=GUEST, ident=None, flags=0, offset=0, options=b"", length=None, ihl=None,
         version=4, ttl=64, right=True):
    length = 20 + len(options) + len(payload) if length is None else length
    ihl = 5 + len(options) // 4 if ihl is None else ihl
    ident = dice.getrandbits(16) if ident is None else ident
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | ihl, dice.getrandbits(8), length & 0xffff, ident,
                       flags << 13 | offset, ttl, protocol, 0, src, dst) + options
    sum_ = checksum(head) if right else dice.getrandbits(16)
    return head[:10] + struct.pack("!H", sum_) + head[12:] + payload


def transport(protocol, at, body, src=HOST, dst=GUEST):
    sum_ = checksum(src + dst + struct.pack("!BBH", 0, protocol, len(body)) + body)
    return body[:at] + struct.pack("!H", sum_) + body[at + 2:]


def noise(least, most):
    return dice.randbytes(dice.randint(least, most))


def address():
    return dice.choice([HOST, GUEST, noise(4, 4), b"\x7f\0\0\1", b"\xff" * 4, b"\0" * 4, b"\xe0\0\0\1",
                        socket.inet_aton("10.77.0.255"), socket.inet_aton("10.77.0.9")])


def garbage():
    return noise(14, 1514)


def addressed_garbage():
    kind = dice.choice([0x0800, 0x0806, 0x86dd, 0x8100, 0x88cc, dice.getrandbits(16)])
    body = noise(0, 1500)
    # Arp that makes sense could move the host's address, as on any link.
    return ethernet(kind, body if kind != 0x0806 else b"\0\7" + body[2:], dice.choice([guest_mac, b"\xff" * 6, noise(6, 6)]))


def arp():
    sender = dice.choice([socket.inet_aton("10.77.0.%d" % dice.randint(3, 254)), GUEST, b"\0" * 4, b"\xff" * 4])
    fixed = struct.pack("!HHBBH", dice.choice([1, 1, 6]), dice.choice([0x800, 0x800, 0x86dd]), dice.choice([6, 6, 8]),
                        dice.choice([4, 4, 16]), dice.randint(0, 9))
    body = fixed + noise(6, 6) + sender + noise(6, 6) + address()
    return ethernet(0x0806, body[:dice.choice([28, 28, dice.randint(0, 28)])], dice.choice([guest_mac, b"\xff" * 6]))


def headers():
    payload = noise(0, 200)
    return ethernet(0x0800, ipv4(
        dice.getrandbits(8), payload, address(), address(), flags=dice.randint(0, 7), offset=dice.choice([0, 0, dice.getrandbits(13)]),
        options=noise(0, 40)[:dice.randint(0, 10) * 4], ihl=dice.choice([None, None, dice.randint(0, 15)]),
        version=dice.choice([4, 4, 4, 6, 0]), ttl=dice.getrandbits(8), right=dice.random() < 0.8,
        length=dice.choice([None, None, dice.getrandbits(16), dice.randint(0, 40)]))[:dice.choice([9999, dice.randint(0, 60)])])


def fragments():
    return ethernet(0x0800, ipv4(dice.choice([1, 6, 17, 99]), noise(0, 1480), ident=dice.randint(0, 40), flags=dice.choice([0, 1]),
                                 offset=dice.choice([0, 1, 2, 185, 370, 8189, 8191, dice.getrandbits(13)])))


def udp():
    body = struct.pack("!HHHH", dice.getrandbits(16), dice.choice([53, 7, dice.getrandbits(16)]),
                       dice.choice([8, 100, dice.getrandbits(16)]), 0) + noise(0, 300)
    return ethernet(0x0800, ipv4(17, transport(17, 6, body), dst=dice.choice([GUEST, GUEST, address()])))


def tcp():
    # Any ports but those of the transfer, which meets `blind`.
    source = dice.choice([0, PORT, dice.getrandbits(16)])
    port = dice.choice([PORT, PORT + 9, dice.getrandbits(16)])
    source += source == CLIENT
    options = noise(0, 40)
    options = options[:len(options) // 4 * 4]
    words = dice.choice([5 + len(options) // 4, dice.randint(0, 15)])
    body = struct.pack("!HHIIBBHHH", source, port, dice.getrandbits(32), dice.getrandbits(32), words << 4,
                       dice.getrandbits(8), dice.getrandbits(16), 0, dice.getrandbits(16)) + options + noise(0, 400)
    return ethernet(0x0800, ipv4(6, transport(6, 16, body)))


def icmp():
    inner = ipv4(dice.choice([1, 6, 17]), noise(0, 64), src=GUEST, dst=HOST, ihl=dice.choice([None, dice.randint(0, 15)]))
    body = struct.pack("!BBHHH", dice.choice([0, 3, 4, 5, 8, 11, 12, 13, 17, dice.getrandbits(8)]), dice.getrandbits(8) & 15,
                       0, dice.getrandbits(16), dice.choice([0, 68, 576, 1500, dice.getrandbits(16)]))
    body += dice.choice([inner, noise(0, 100)])
    return ethernet(0x0800, ipv4(1, body[:2] + struct.pack("!H", checksum(body)) + body[4:]))


def blind():
    """A guess at the living connection, far from what it expects next: reset, SYN, FIN, data, wild acknowledgements."""
    if numbers is None:
        return tcp()
    seq, ack = numbers
    wrong = (seq + dice.randint(1 << 28, 7 << 29)) & 0xffffffff
    flags = dice.choice([4, 4, 20, 2, 18, 1, 17, 16, 24, 41, 0, 63])
    body = struct.pack("!HHIIBBHHH", CLIENT, PORT, wrong, dice.choice([ack, dice.getrandbits(32)]), 5 << 4, flags,
                       dice.choice([0, 1, 65535]), 0, 0) + dice.choice([b"", noise(1, 500)])
    return ethernet(0x0800, ipv4(6, transport(6, 16, body)))


def offloaded():
    """A frame behind a virtio_net_hdr: the host passes on what it finds possible."""
    frame = dice.choice([udp, tcp, headers, fragments, icmp])()
    if dice.random() < 0.5:
        frame += noise(0, 20000)
    fields = lambda *usual: dice.choice([*usual, dice.getrandbits(16), 0])
    return struct.pack("=BBHHHH", dice.choice([0, NEEDS_CSUM, NEEDS_CSUM, DATA_VALID]), dice.choice([0, 1, 1, 3, 4, 5, 0x81]),
                       fields(54, 42), fields(1, 536, 1448), fields(34, 14), fields(16, 6)) + frame


def listen():
    """Notes the connection's numbers from what passes by."""
    global numbers
    for _ in range(20):
        try:
            frame = plain.recv(200)
        except BlockingIOError:
            return
        if frame[12:15] == b"\x08\0\x45" and frame[23:24] == b"\x06" and len(frame) >= 54:
            source, port, seq, ack = struct.unpack("!HHII", frame[34:46])
            if (source, port) == (CLIENT, PORT) and not frame[47] & 2:
                numbers = (seq, ack)


kinds = [garbage, addressed_garbage, arp, headers, fragments, udp, tcp, icmp, blind, blind]
sent = refused = 0
print("begins", flush=True)
while sent < FRAMES:
    if sent % 32 == 0:
        listen()
        time.sleep(0.002)
    try:
        if dice.random() < 0.15:
            with_header.send(offloaded())
        else:
            plain.send(dice.choice(kinds)()[:1514])
    except OSError:
        refused += 1
        if refused > 4 * FRAMES:
            sys.exit(f"the host refused {refused} frames")
        continue
    sent += 1
print(f"sent {sent}, connection {'seen' if numbers else 'missed'}", flush=True)
