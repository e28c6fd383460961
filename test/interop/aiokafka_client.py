"""aiokafka: asyncio clients, two members of a group."""
import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

B = os.environ["BOOTSTRAP"]


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=B)
    await admin.start()
    await admin.create_topics([NewTopic("aio", 4, 1)])
    async with AIOKafkaProducer(bootstrap_servers=B, enable_idempotence=True) as producer:
        await asyncio.gather(*[producer.send_and_wait("aio", b"v%d" % i, key=b"%d" % i) for i in range(500)])
    seen = []

    async def member():
        async with AIOKafkaConsumer("aio", bootstrap_servers=B, group_id="aiog", auto_offset_reset="earliest") as consumer:
            while len(seen) < 500:
                batches = await consumer.getmany(timeout_ms=300)
                for messages in batches.values():
                    seen.extend(m.value for m in messages)
            await consumer.commit()

    await asyncio.wait_for(asyncio.gather(member(), member()), 60)
    assert set(seen) == {b"v%d" % i for i in range(500)}, len(set(seen))
    await admin.delete_topics(["aio"])
    await admin.close()


asyncio.run(main())
print("ok")
