"""A stage of Parlor in Python: takes envelopes off its topic, writes their bodies in capitals, passes them on.

    pip install confluent-kafka
    python3 stage.py --brokers localhost:9092 --topic parlor.shout
"""

import argparse
import json

from confluent_kafka import Consumer, Producer

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--brokers", default="localhost:9092")
parser.add_argument("--topic", default="parlor.shout")
args = parser.parse_args()

common = {"bootstrap.servers": args.brokers}
# The partitioner of Java's clients, which Parlor has too: a sender's messages stay together, and so in order.
producer = Producer(common | {"enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 1})
# One group for the stage, named like its topic; positions move when we say so.
consumer = Consumer(common | {"group.id": args.topic, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                              "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000})
consumer.subscribe([args.topic])


def acknowledged(error, _record):
    if error:
        raise SystemExit(f"the next stage did not get a message: {error}")  # it comes again at the next start


while True:
    records = [record for record in consumer.consume(num_messages=100, timeout=1) if not record.error()]
    for record in records:
        envelope = json.loads(record.value())
        envelope["messageBody"] = envelope["messageBody"].upper()
        envelope["eventDestinations"] = envelope["eventDestinations"][1:]  # this stage is done: the next is first
        producer.produce(envelope["eventDestinations"][0], json.dumps(envelope), str(envelope["senderId"]),
                         on_delivery=acknowledged)
    if records:
        producer.flush()  # the next stage has all of them; only now are they finished here
        consumer.commit(asynchronous=False)
