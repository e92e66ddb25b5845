"""Sends records with the Python clients that people use, two in one process: kafka-python and confluent-kafka.

Usage: send.py BOOTSTRAP TOPIC. Each line of standard input is CLIENT TAB TIMESTAMP(ms) TAB KEY TAB VALUE, with CLIENT
`k` or `c`; an empty line waits until both have delivered everything, and then prints how many that is. Partitioners are
the clients' own defaults, which differ: that is what this is for. Ends with an error at the first record undelivered.
"""

import sys

import confluent_kafka
import kafka


class KafkaPython:
    def __init__(self, bootstrap, topic):
        self.topic = topic
        # gzip, as some producers of the old pipeline have it.
        self.producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True, linger_ms=5, compression_type="gzip"
        )
        self.waiting = []

    def send(self, timestamp, key, value):
        self.waiting.append(self.producer.send(self.topic, value=value, key=key, timestamp_ms=timestamp))

    def flush(self):
        self.producer.flush(60)
        for future in self.waiting:
            future.get(60)
        self.waiting = []


class Confluent:
    def __init__(self, bootstrap, topic):
        self.topic = topic
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True}
        )
        self.failed = None

    def send(self, timestamp, key, value):
        self.producer.produce(self.topic, value=value, key=key, timestamp=timestamp, on_delivery=self.report)
        self.producer.poll(0)

    def report(self, error, _):
        if error is not None:
            self.failed = self.failed or error

    def flush(self):
        left = self.producer.flush(60)
        if self.failed is not None or left:
            sys.exit(f"confluent-kafka: {left} undelivered, first error {self.failed}")


def main(bootstrap, topic):
    clients = {b"k": KafkaPython(bootstrap, topic), b"c": Confluent(bootstrap, topic)}
    sent = 0
    print(f"kafka-python {kafka.__version__}, confluent-kafka {confluent_kafka.version()}", flush=True)
    for line in sys.stdin.buffer:
        line = line.rstrip(b"\n")
        if line:
            client, timestamp, key, value = line.split(b"\t", 3)
            clients[client].send(int(timestamp), key, value)
            sent += 1
        if not line:
            for client in clients.values():
                client.flush()
            print(sent, flush=True)
    for client in clients.values():
        client.flush()
    print(sent, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
