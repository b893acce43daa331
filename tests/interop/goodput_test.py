"""Our sender against Linux's CUBIC over links that are equally bad: the short form of goodput.py, with a loose promise."""

import time

import junit
from bad_link import Link, LinuxSender, OurSender, connected

WAYS = ("delay=10ms,loss=1%,rate=100Mb/s,queue=1000", "delay=10ms")
SECONDS = 4


class Goodput(junit.Case):
    def test_ours_is_at_least_half_of_the_kernels_where_one_frame_in_100_is_lost(self):
        """At the same time, each over a link of its own: what else the machine does slows both."""
        senders = [OurSender("release", "192.0.2.11"), LinuxSender("192.0.2.12")]
        with connected(senders[0]) as ours, connected(senders[1]) as linux, \
                Link([senders[0].port], ours.port, *WAYS) as one, Link([senders[1].port], linux.port, *WAYS) as other:
            for sender in senders:
                sender.begins()
            flows = [ours.next_flow(), linux.next_flow()]
            time.sleep(SECONDS + 0.2)
            rates = [flow.megabits(flow.began, flow.began + SECONDS) for flow in flows]
            self.assertEqual(senders[1].facts()["congestion"], "cubic")
            for sink in (ours, linux):
                sink.ends_flows()
            said = [link.stop() for link in (one, other)]
        print(f"         {rates[0]:.2f} Mb/s, Linux {rates[1]:.2f}", flush=True)
        for report in said:
            self.assertGreater(report["to_b"]["lost"], 5)
            self.assertEqual([device["oversized"] for device in report["devices"]], [0, 0])
        self.assertGreater(rates[0], rates[1] / 2)
