"""The attacker's side of a TAP device: frames of our own, and peers whose TCP is a script.

Peers live on addresses that the kernel does not have, behind a link address that is not its own, so that it neither
answers for them nor resets what they open.
"""

import collections
import random
import select
import socket
import time

import packets
from harness import DEVICE, SERVER, SERVER_V6
from packets import ACK, FIN, MASK, PSH, RST, SYN

VICTIM_MAC = "02:00:00:00:00:01"
ATTACKER_MAC = "02:00:00:00:00:66"
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
ALL_PROTOCOLS = 0x0003


def after(point, other):
    """How far `point` lies behind `other` on the circle of sequence numbers, signed."""
    distance = (point - other) & MASK
    return distance - (1 << 32) if distance >> 31 else distance


class Wire:
    """with Wire(victim) as wire: ..."""

    def __init__(self, victim):
        with victim.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((DEVICE, ALL_PROTOCOLS))
        self.socket.setblocking(False)
        self.peers = {}
        self.others = collections.deque()  # packets for no peer of ours
        self.frames = None  # a list: every frame is kept there too

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, frame):
        """Waits when the device is behind."""
        while True:
            try:
                self.socket.send(frame)
                return
            except (BlockingIOError, OSError) as error:
                if not isinstance(error, BlockingIOError) and error.errno != 105:  # ENOBUFS
                    raise
                self.pump(0.001)

    def send_ip(self, packet, source=ATTACKER_MAC, to=VICTIM_MAC, **more):
        self.send(packets.ethernet(packet, to, source, **more))

    def pump(self, seconds=0.0):
        """Reads what is there, waiting for the first frame at most so long; how many frames."""
        if seconds > 0:
            select.select([self.socket], [], [], seconds)
        count = 0
        while True:
            try:
                frame = self.socket.recv(65536)
            except BlockingIOError:
                return count
            count += 1
            if self.frames is not None:
                self.frames.append(frame)
            packet = packets.read(frame)
            if packet is None:
                continue
            packet.at = time.monotonic()
            peer = self.peers.get((packet.to, packet.to_port, packet.source_port))
            if peer is not None:
                peer.inbox.append(packet)
            else:
                self.others.append(packet)

    def passes(self, seconds):
        """Time goes by, and what arrives is sorted."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(min(left, 0.05))

    def forgets(self):
        self.pump()
        self.others.clear()
        for peer in self.peers.values():
            peer.inbox.clear()


class Peer:
    """One end of one connection, which does what it is told."""

    def __init__(self, wire, source="192.0.2.66", port=None, server=None, server_port=80, mss=1460, scale=7, sack=True,
                 stamps=True, window=65535, isn=None):
        self.wire, self.source, self.server_port = wire, source, server_port
        self.server = server or (SERVER_V6 if ":" in source else SERVER)
        self.port = port or random.randint(20000, 60000)
        self.mss, self.scale, self.sack, self.stamps, self.window = mss, scale, sack, stamps, window
        self.isn = random.getrandbits(32) if isn is None else isn
        self.seq, self.ack = self.isn, 0  # what we would send and acknowledge next
        self.echo, self.peer_closed = 0, False
        self.inbox = collections.deque()
        wire.peers[(source, self.port, server_port)] = self

    def stamp(self):
        return int(time.monotonic() * 1000) & MASK

    def frame(self, flags, text=b"", seq=None, ack=None, window=None, sack=(), options=None, stamp=None):
        if options is None:
            options = packets.timestamp_option(self.stamp() if stamp is None else stamp, self.echo) if self.stamps else b""
            options += packets.sack_option(sack) if sack else b""
        segment = packets.tcp_segment(self.source, self.server, self.port, self.server_port, flags,
                                      self.seq if seq is None else seq, self.ack if ack is None else ack,
                                      self.window if window is None else window, options, text)
        return packets.ethernet(packets.ip(segment, self.source, self.server), VICTIM_MAC, ATTACKER_MAC)

    def sends(self, flags, text=b"", **more):
        """Without `seq` it is the next of the stream."""
        self.wire.send(self.frame(flags, text, **more))
        if "seq" not in more:
            self.seq = (self.seq + len(text) + bool(flags & SYN) + bool(flags & FIN)) & MASK

    def sends_syn(self):
        options = packets.syn_options(self.mss, self.scale, self.sack, self.stamp() if self.stamps else None)
        self.wire.send(self.frame(SYN, seq=self.isn, ack=0, options=options))
        self.seq = (self.isn + 1) & MASK

    def hears(self, seconds=2.0, condition=lambda packet: True):
        """The next packet for us with which this holds; None: none came. Others are gone."""
        end = time.monotonic() + seconds
        while True:
            while self.inbox:
                packet = self.inbox.popleft()
                if packet.stamps:
                    self.echo = packet.stamps[0]
                if condition(packet):
                    return packet
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.wire.pump(left)

    def hears_all(self, seconds):
        """Everything that comes within this time."""
        self.wire.passes(seconds)
        got = list(self.inbox)
        self.inbox.clear()
        for packet in got:
            if packet.stamps:
                self.echo = packet.stamps[0]
        return got

    def asks_to_open(self):
        """SYN, and the SYN-ACK for it."""
        self.sends_syn()
        answer = self.hears(3, lambda p: p.flags & SYN)
        assert answer is not None, f"no SYN-ACK for {self.source}:{self.port}"
        assert answer.ack == self.seq, answer
        self.ack = (answer.seq + 1) & MASK
        return answer

    def opens(self, **more):
        answer = self.asks_to_open()
        self.sends(ACK, **more)
        return answer

    def asks(self, path="/", fields="", **more):
        self.sends(ACK | PSH, f"GET {path} HTTP/1.1\r\nHost: victim\r\n{fields}\r\n".encode(), **more)

    def reads(self, seconds=2.0, size=None):
        """An answer (or so many bytes), acknowledged as it comes; in order only."""
        got = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            packet = self.hears(end - time.monotonic())
            if packet is None:
                break
            if packet.seq == self.ack and packet.length:
                self.ack = (self.ack + packet.length) & MASK
                got += packet.text
                self.peer_closed = bool(packet.flags & FIN)
                self.sends(ACK)
            if size is not None and len(got) >= size:
                break
            if size is None and b"\r\n\r\n" in got:
                head, _, body = got.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(body) >= length:
                    break
        return got

    def closes_second(self, seconds=3):
        """The victim's FIN, if it has not come yet, and ours behind it."""
        if not self.peer_closed:
            fin = self.hears(seconds, lambda p: p.flags & FIN)
            assert fin is not None, "no FIN"
            self.ack, self.peer_closed = (fin.seq + fin.length) & MASK, True
        self.sends(ACK | FIN)

    def is_alive(self):
        """Whether the connection still answers a request."""
        self.inbox.clear()
        self.asks()
        return b" 200 " in self.reads(3)

    def resets(self):
        self.wire.send(self.frame(RST, seq=self.seq))
        self.wire.peers.pop((self.source, self.port, self.server_port), None)
